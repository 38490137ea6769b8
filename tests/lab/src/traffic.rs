//! Real traffic: one TCP connection with some words in both directions, and which way it took.

use std::{
    collections::BTreeMap,
    fmt,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    os::fd::AsRawFd as _,
    time::Duration,
};

use anyhow::Result;
use nix::sys::{
    socket::{
        AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt::SendTimeout,
    },
    time::{TimeVal, TimeValLike as _},
};

use crate::host::Host;

/// Words in each direction; an interface that carried as many packets carried the connection.
const WORDS: u64 = 8;
/// How long a connection may take: longer than a lost first packet (1 s) would be a fault.
const PATIENCE: Duration = Duration::from_millis(900);

/// What became of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Who the server saw, or why there was no connection.
    pub seen: Result<IpAddr, String>,
    /// The watched host's interfaces by which packets came in.
    pub came_in: Vec<String>,
    /// The watched host's interfaces by which packets went out.
    pub went_out: Vec<String>,
}

impl Outcome {
    /// True when every word came back.
    pub fn is_answered(&self) -> bool {
        self.seen.is_ok()
    }

    /// True when both directions used the same interface of the watched host.
    pub fn is_symmetric(&self) -> bool {
        self.came_in == self.went_out
    }

    /// True when it was answered on the way on which it was asked.
    pub fn is_well(&self) -> bool {
        self.is_answered() && self.is_symmetric()
    }
}

/// Something a Pod's user would try.
pub struct Check<'l> {
    pub(crate) name: String,
    pub(crate) from: &'l Host,
    /// The address it is asked from; the kernel chooses when there is none.
    pub(crate) source: Option<IpAddr>,
    pub(crate) to: SocketAddr,
    /// Whose interfaces are looked at.
    pub(crate) watch: &'l Host,
}

impl Check<'_> {
    /// What it is called: who asks whom, and in which family.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tries it.
    ///
    /// # Errors
    /// The lab itself fails; no answer is an outcome.
    pub fn run(&self) -> Result<Outcome> {
        let before = self.watch.packets()?;
        let seen = self.from.enter(|| talk(self.source, self.to))?;
        let after = self.watch.packets()?;
        let carried = |count: fn(&(u64, u64)) -> u64| carried(&before, &after, count);
        Ok(Outcome { seen, came_in: carried(|packets| packets.0), went_out: carried(|packets| packets.1) })
    }
}

impl fmt::Display for Check<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.to)
    }
}

fn carried(
    before: &BTreeMap<String, (u64, u64)>,
    after: &BTreeMap<String, (u64, u64)>,
    count: fn(&(u64, u64)) -> u64,
) -> Vec<String> {
    let grew = |name: &String, now: &(u64, u64)| count(now) - before.get(name).map_or(0, count).min(count(now));
    after.iter().filter(|(name, now)| grew(name, now) >= WORDS).map(|(name, _)| name.clone()).collect()
}

/// Connects, learns who the server sees, and has every word echoed.
fn talk(source: Option<IpAddr>, to: SocketAddr) -> Result<IpAddr, String> {
    let words = || -> std::io::Result<String> {
        let mut stream = dial(source, to)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut peer = String::new();
        reader.read_line(&mut peer)?;
        for word in 0..WORDS {
            let word = [u8::try_from(word).unwrap_or(0)];
            stream.write_all(&word)?;
            let mut back = [0xff];
            reader.read_exact(&mut back)?;
            if back != word {
                return Err(std::io::Error::other("the echo differs"));
            }
        }
        Ok(peer)
    };
    let peer = words().map_err(|error| error.to_string())?;
    peer.trim().parse().map_err(|_| format!("the server says {peer:?}"))
}

/// Connects from an address, which the standard library cannot.
fn dial(source: Option<IpAddr>, to: SocketAddr) -> std::io::Result<TcpStream> {
    let Some(source) = source else { return TcpStream::connect_timeout(&to, PATIENCE) };
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // It bounds the time to connect (socket(7)).
    setsockopt(&socket, SendTimeout, &TimeVal::milliseconds(900))?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(source, 0)))?;
    connect(socket.as_raw_fd(), &SockaddrStorage::from(to))?;
    Ok(TcpStream::from(socket))
}

/// A table of checks and their outcomes, as text for people.
pub fn table(rows: &[(String, Outcome)]) -> String {
    let mut text = format!("{:<34}{:<12}{:<22}{}\n", "who asks whom", "answer", "way in / out", "seen as");
    for (name, outcome) in rows {
        let answer = match (outcome.is_answered(), outcome.is_symmetric()) {
            (true, true) => "yes",
            (true, false) => "ASYMMETRIC",
            (false, _) => "NO",
        };
        let names = |list: &[String]| if list.is_empty() { "-".to_owned() } else { list.join("+") };
        let way = format!("{} / {}", names(&outcome.came_in), names(&outcome.went_out));
        let seen = outcome.seen.as_ref().map_or_else(Clone::clone, ToString::to_string);
        text.push_str(&format!("{name:<34}{answer:<12}{way:<22}{seen}\n"));
    }
    text
}
