//! Router advertisements (RFC 4861 section 4.2), as a router's daemon would send them.

use std::{
    net::{Ipv6Addr, SocketAddrV6},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use crate::host::Host;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Seconds.
const LIFETIME: u16 = 1800;
const PAUSE: Duration = Duration::from_millis(20);
/// How long somebody may take to hear it.
const PATIENCE: Duration = Duration::from_secs(10);

impl Host {
    /// Says on an interface that this host is a router, and that `prefix` (64 bits long) is on the link, until
    /// `is_heard`.
    ///
    /// # Errors
    /// It cannot be sent, or nobody hears it.
    pub fn advertise(&self, interface: &str, prefix: &str, mut is_heard: impl FnMut() -> Result<bool>) -> Result<()> {
        let prefix: Ipv6Addr = prefix.parse()?;
        let text = self.run("cat", &["/proc/net/dev_mcast"])?;
        let index = index_in(&text, interface).with_context(|| format!("there is no link {interface}"))?;
        let socket = self.enter(|| Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)))??;
        // Receivers drop what could have come through a router.
        socket.set_multicast_hops_v6(255)?;
        socket.set_multicast_if_v6(index)?;
        let begun = Instant::now();
        while !is_heard()? {
            ensure!(begun.elapsed() < PATIENCE, "nobody hears the advertisement on {interface}");
            let to = SocketAddrV6::new(ALL_NODES, 0, 0, index);
            socket.send_to(&message(prefix), &to.into()).context("cannot advertise")?;
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

/// The number of a link in `/proc/net/dev_mcast`, whose lines begin with number and name.
fn index_in(text: &str, interface: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let index = words.next()?.parse().ok()?;
        (words.next()? == interface).then_some(index)
    })
}

/// An advertisement with one prefix, which is on the link and not for addresses. The kernel adds the checksum.
fn message(prefix: Ipv6Addr) -> Vec<u8> {
    let mut bytes = vec![134, 0, 0, 0, 64, 0];
    bytes.extend(LIFETIME.to_be_bytes());
    // Reachable time and retransmission timer: not specified.
    bytes.extend([0; 8]);
    // Prefix information: on-link, one hour.
    bytes.extend([3, 4, 64, 0x80]);
    bytes.extend(3600_u32.to_be_bytes());
    bytes.extend(3600_u32.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(prefix.octets());
    bytes
}
