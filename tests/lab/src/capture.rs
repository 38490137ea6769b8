//! What is on a wire, as lines for people: ARP and neighbour discovery, by a socket and a decoder of the lab's own.
//!
//! tcpdump would be the second view of choice, but it insists on becoming another user, whom a user namespace does
//! not have.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use nix::{
    errno::Errno,
    sys::{
        socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket, sockopt},
        time::{TimeVal, TimeValLike as _},
    },
};

use crate::host::Host;

/// How long a frame may take from a program to the wire, and how often is looked whether the capture ends.
const SETTLING: Duration = Duration::from_millis(100);

/// A frame that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Since the capture began.
    pub at: Duration,
    /// Who sent it to whom, and what it says.
    pub line: String,
}

impl Seen {
    /// True when the line contains all of these.
    pub fn says(&self, parts: &[&str]) -> bool {
        parts.iter().all(|part| self.line.contains(part))
    }
}

/// What is seen on an interface from now on, in both directions.
#[derive(Debug)]
pub struct Capture {
    ends: Arc<AtomicBool>,
    watcher: JoinHandle<Result<Vec<Seen>>>,
}

impl Host {
    /// Begins to watch an interface for ARP and neighbour discovery.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn capture(&self, interface: &str) -> Result<Capture> {
        let index = usize::try_from(self.index(interface)?)?;
        let open = || socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll);
        let socket = self.enter(open)??;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(20))?;
        // Room for a flood: what is dropped could be what is looked for.
        setsockopt(&socket, sockopt::RcvBufForce, &(16 << 20))
            .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &(16 << 20)))?;
        let ends = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&ends);
        let watcher = std::thread::spawn(move || watch(&socket, index, &is_over));
        Ok(Capture { ends, watcher })
    }
}

impl Capture {
    /// Ends the capture.
    ///
    /// # Errors
    /// The socket failed.
    pub fn end(self) -> Result<Vec<Seen>> {
        std::thread::sleep(SETTLING);
        self.ends.store(true, Ordering::Relaxed);
        self.watcher.join().map_err(|_| anyhow!("the watcher failed"))?
    }
}

/// The most of these frames within any second.
pub fn most_in_a_second(seen: &[Seen]) -> usize {
    let second = Duration::from_secs(1);
    let within = |begin: Duration| seen.iter().filter(|it| it.at >= begin && it.at < begin + second).count();
    seen.iter().map(|it| within(it.at)).max().unwrap_or(0)
}

fn watch(socket: &OwnedFd, index: usize, ends: &AtomicBool) -> Result<Vec<Seen>> {
    let begun = Instant::now();
    let mut buffer = vec![0; 2048];
    let mut seen = Vec::new();
    loop {
        match recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut buffer) {
            Ok((length, from)) if from.is_some_and(|from| from.ifindex() == index) => {
                let line = buffer.get(..length).and_then(line);
                seen.extend(line.map(|line| Seen { at: begun.elapsed(), line }));
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) if ends.load(Ordering::Relaxed) => return Ok(seen),
            Err(Errno::EAGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// A frame in words; none for what is neither ARP nor neighbour discovery.
fn line(frame: &[u8]) -> Option<String> {
    let (to, from, kind) = (mac(frame, 0)?, mac(frame, 6)?, frame.get(12..14)?);
    let said = match kind {
        [0x08, 0x06] => arp(frame.get(14..)?)?,
        [0x86, 0xdd] => discovery(frame.get(14..)?)?,
        _ => return None,
    };
    Some(format!("{from} > {to}: {said}"))
}

fn arp(packet: &[u8]) -> Option<String> {
    let kind = if packet.get(7)? == &1 { "request" } else { "reply" };
    let ip = |at: usize| Some(Ipv4Addr::from(*packet.get(at..)?.first_chunk::<4>()?));
    let (sender, target) = (ip(14)?, ip(24)?);
    Some(format!("arp {kind}, {sender} is {}, to {target} at {}", mac(packet, 8)?, mac(packet, 18)?))
}

fn discovery(packet: &[u8]) -> Option<String> {
    let ip = |bytes: &[u8], at: usize| Some(Ipv6Addr::from(*bytes.get(at..)?.first_chunk::<16>()?));
    let (from, to, body) = (ip(packet, 8)?, ip(packet, 24)?, packet.get(40..)?);
    if packet.get(6) != Some(&58) {
        return None;
    }
    let target = || ip(body, 8);
    let said = match body.first()? {
        135 => format!("solicitation of {}", target()?),
        136 => {
            let flags = body.get(4)?;
            let names = [(0x80, "router"), (0x40, "solicited"), (0x20, "override")];
            let names: Vec<&str> = names.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
            format!("advertisement of {}, flags {}", target()?, names.join("+"))
        }
        _ => return None,
    };
    let option = match body.get(24..26) {
        Some([kind @ (1 | 2), 1]) => format!(", option {kind} is {}", mac(body, 26)?),
        _ => String::new(),
    };
    let checksum = if is_sum_right(packet, body) { "" } else { ", WRONG CHECKSUM" };
    Some(format!("{from} > {to}: {said}{option}{checksum}"))
}

/// RFC 4443, section 2.3: over both addresses, the length, the protocol, and the message.
fn is_sum_right(packet: &[u8], body: &[u8]) -> bool {
    let length = u32::try_from(body.len()).unwrap_or_default();
    let mut bytes = packet.get(8..40).unwrap_or_default().to_vec();
    bytes.extend(length.to_be_bytes());
    bytes.extend(58_u32.to_be_bytes());
    bytes.extend(body);
    let words = bytes.chunks(2).map(|pair| match pair {
        [high, low] => u32::from(*high) << 8 | u32::from(*low),
        _ => pair.first().map_or(0, |high| u32::from(*high) << 8),
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum == 0xffff
}

fn mac(bytes: &[u8], at: usize) -> Option<String> {
    let octets: Vec<String> = bytes.get(at..at + 6)?.iter().map(|octet| format!("{octet:02x}")).collect();
    Some(octets.join(":"))
}
