//! More hosts on the lab's LANs, and frames that nobody's kernel would send.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use coordinator_stages::kernel::packet::PacketSocket;

use crate::{
    host::{Host, PORT},
    node::Lab,
};

impl Lab {
    /// A host on a LAN, with one interface `eth0`.
    ///
    /// # Errors
    /// A host of that name exists.
    pub fn neighbour(&self, name: &str, lan: u8, addresses: &[&str]) -> Result<Host> {
        let host = Host::create(name)?;
        host.without_duplicate_detection()?;
        self.router.ip(&[
            &format!("link add {name} type veth peer name eth0 netns {name}"),
            &format!("link set {name} master lan{lan} up"),
        ])?;
        let mut lines: Vec<String> = addresses
            .iter()
            .map(|address| match address.contains(':') {
                true => format!("address add {address} dev eth0 nodad"),
                false => format!("address add {address} dev eth0"),
            })
            .collect();
        lines.push("link set eth0 up".to_owned());
        host.ip(&lines.iter().map(String::as_str).collect::<Vec<_>>())?;
        for (host, interface) in [(&self.router, name), (&host, "eth0")] {
            host.await_carrier(interface)?;
        }
        Ok(host)
    }

    /// Rules for what the bridge of a LAN forwards, such as `numgen random mod 5 == 0 drop`; they replace earlier ones.
    ///
    /// # Errors
    /// nftables refuses.
    pub fn wire_rules(&self, rules: &[&str]) -> Result<()> {
        let rules: String = rules.iter().map(|rule| format!("add rule bridge wire forward {rule}\n")).collect();
        let script = format!(
            "add table bridge wire\ndelete table bridge wire\nadd table bridge wire\n\
             add chain bridge wire forward {{ type filter hook forward priority 0; }}\n{rules}"
        );
        self.router.run_with("nft", &["-f", "-"], &script).map(drop)
    }
}

impl Host {
    /// Waits until an interface carries frames.
    ///
    /// # Errors
    /// It does not within ten seconds.
    pub fn await_carrier(&self, interface: &str) -> Result<()> {
        for _ in 0..1000 {
            if self.run("ip", &["-oneline", "link", "show", "dev", interface])?.contains("state UP") {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(anyhow!("{interface} on {} does not come up", self.name))
    }

    /// Waits until no address of an interface is tentative: duplicate address detection takes its second.
    pub(crate) fn await_addresses(&self, interface: &str) -> Result<()> {
        for _ in 0..1000 {
            if self.run("ip", &["address", "show", "dev", interface, "tentative"])?.trim().is_empty() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(anyhow!("an address of {interface} on {} stays tentative", self.name))
    }

    /// Whether a host answers within the time, if only by refusing the connection.
    ///
    /// # Errors
    /// The namespace is gone.
    pub fn reaches(&self, ip: &str, within: Duration) -> Result<bool> {
        let address = SocketAddr::new(ip.parse()?, PORT);
        let outcome = self.enter(|| TcpStream::connect_timeout(&address, within))?;
        Ok(match outcome {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::ConnectionRefused,
        })
    }

    /// The hardware address of an interface.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn mac(&self, interface: &str) -> Result<String> {
        let line = self.run("ip", &["-oneline", "link", "show", "dev", interface])?;
        let mut words = line.split_whitespace().skip_while(|word| *word != "link/ether").skip(1);
        Ok(words.next().context("it has no hardware address")?.to_owned())
    }

    /// The number of an interface.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn index(&self, interface: &str) -> Result<u32> {
        let line = self.run("ip", &["-oneline", "link", "show", "dev", interface])?;
        Ok(line.split(':').next().unwrap_or_default().trim().parse()?)
    }

    /// A socket that sends frames as they are.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn frames(&self, interface: &str) -> Result<PacketSocket> {
        let index = self.index(interface)?;
        Ok(self.namespace().enter(|_| PacketSocket::sender(index))??)
    }
}
