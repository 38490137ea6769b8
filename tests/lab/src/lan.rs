//! More hosts on the lab's LANs, frames that nobody's kernel would send, and what can be seen on a wire.

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Read as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use coordinator_stages::kernel::packet::PacketSocket;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    host::{Host, PORT},
    node::Lab,
};

/// How long a frame may take from the kernel to the program that shows it.
const SETTLING: Duration = Duration::from_millis(200);

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

    /// Begins to watch an interface.
    ///
    /// # Errors
    /// tcpdump cannot be started.
    pub fn capture(&self, interface: &str, filter: &str) -> Result<Capture> {
        let arguments = ["-i", interface, "-n", "-e", "-tt", "-l", "-v", "--immediate-mode", filter];
        let start = || Command::new("tcpdump").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = self.enter(start)?.context("cannot start tcpdump")?;
        let mut said = BufReader::new(child.stderr.take().context("the child has a standard error")?);
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            ensure!(said.read_line(&mut line)? > 0, "tcpdump ended");
        }
        // Nobody reads the rest: it is too little to fill the pipe.
        Ok(Capture { child, _said: said })
    }
}

/// What is seen on an interface from now on.
#[derive(Debug)]
pub struct Capture {
    child: Child,
    _said: BufReader<std::process::ChildStderr>,
}

impl Capture {
    /// Ends the capture; a line for each frame, as tcpdump shows it, with its time in seconds first.
    ///
    /// # Errors
    /// tcpdump fails.
    pub fn end(mut self) -> Result<Vec<String>> {
        std::thread::sleep(SETTLING);
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGTERM)?;
        let mut text = String::new();
        self.child.stdout.take().context("the child has a standard output")?.read_to_string(&mut text)?;
        self.child.wait()?;
        // A frame's further lines are indented.
        let mut lines: Vec<String> = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            match lines.last_mut() {
                Some(last) if line.starts_with([' ', '\t']) => {
                    last.push(' ');
                    last.push_str(line.trim());
                }
                _ => lines.push(line.to_owned()),
            }
        }
        Ok(lines)
    }
}

/// The most frames within any second, of captured lines.
pub fn most_in_a_second<'l>(lines: impl Iterator<Item = &'l String>) -> usize {
    let times: Vec<f64> = lines.filter_map(|line| line.split(' ').next()?.parse().ok()).collect();
    let within = |begin: f64| times.iter().filter(|time| **time >= begin && **time < begin + 1.0).count();
    times.iter().map(|time| within(*time)).max().unwrap_or(0)
}
