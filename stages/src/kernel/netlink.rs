//! A route netlink socket with the manners that the kernel's default lacks.
//!
//! Strict checking is on, errors carry the kernel's extended text, interrupted dumps are repeated,
//! and writes are pipelined: all requests go out in one datagram, of which only the last asks for an
//! acknowledgement. The kernel works in order and reports every refusal unasked, matched by its sequence
//! number. The socket belongs to the namespace in which it was opened.
//!
//! It is synchronous: the kernel does all the work of a request inside the `send` call, so there is
//! never anything to wait for. What is said is a type parameter: route messages here, netfilter's in
//! [`nftables`](super::nftables).

use std::{fmt, io, marker::PhantomData};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;

const HEADER: usize = 16;
const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;
/// How often a dump that the kernel changed under is begun anew.
const DUMP_ATTEMPTS: usize = 20;
/// Requests in one datagram: their answers must fit the socket's receive buffer.
const BATCH: usize = 64;

/// What the kernel said to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelError {
    /// The error number.
    pub errno: Errno,
    /// The extended acknowledgement's text, or nothing.
    pub text: String,
}

impl KernelError {
    /// True for an object that is there already.
    pub fn is_present(&self) -> bool {
        self.errno == Errno::EEXIST
    }

    /// True for an object that is not there (any more): ENOENT, ESRCH, ENODEV, EADDRNOTAVAIL.
    pub fn is_absent(&self) -> bool {
        matches!(self.errno, Errno::ENOENT | Errno::ESRCH | Errno::ENODEV | Errno::EADDRNOTAVAIL | Errno::ENXIO)
    }
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({})", self.errno, self.errno.desc())?;
        if !self.text.is_empty() {
            write!(f, ": {}", self.text)?;
        }
        Ok(())
    }
}

impl std::error::Error for KernelError {}

/// Why a conversation with the kernel failed as a whole.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The socket could not be opened or prepared.
    #[error("cannot open a netlink socket")]
    Open(#[source] io::Error),
    /// Sending or receiving failed.
    #[error("cannot talk to the kernel by netlink")]
    Talk(#[source] io::Error),
    /// An answer could not be read.
    #[error("cannot read the kernel's answer: {0}")]
    Decode(String),
    /// A dump was interrupted by changes again and again.
    #[error("the kernel's {0} changed during each of {DUMP_ATTEMPTS} dumps")]
    Interrupted(&'static str),
    /// The kernel refused a question.
    #[error("the kernel refused to show {what}")]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// What it said.
        source: KernelError,
    },
}

/// A family of messages that one kind of netlink socket carries.
pub trait Messages: NetlinkSerializable + NetlinkDeserializable + Clone + fmt::Debug {
    /// The socket's protocol number, `NETLINK_ROUTE` …
    const PROTOCOL: isize;
}

impl Messages for RouteNetlinkMessage {
    const PROTOCOL: isize = NETLINK_ROUTE;
}

/// A request and its flags beside `NLM_F_REQUEST`.
#[derive(Debug, Clone)]
pub struct Request<M = RouteNetlinkMessage> {
    /// The message.
    pub message: M,
    /// `NLM_F_CREATE`, `NLM_F_EXCL` …
    pub flags: u16,
}

/// The kernel's answer to one request: the objects it showed, or its refusal.
pub type Answer<M = RouteNetlinkMessage> = Result<Vec<M>, KernelError>;

/// Where the acknowledgement that ends a conversation stands: only the last request asks for it.
fn acknowledged(at: usize, count: usize) -> u16 {
    if at + 1 == count { NLM_F_ACK } else { 0 }
}

/// A netlink socket of the namespace in which it was opened.
#[derive(Debug)]
pub struct Netlink<M = RouteNetlinkMessage> {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
    messages: PhantomData<M>,
}

impl<M: Messages> Netlink<M> {
    /// Opens a socket in the calling thread's namespace.
    ///
    /// # Errors
    /// The kernel gives no socket.
    pub fn open() -> Result<Self, NetlinkError> {
        let open = || -> io::Result<Socket> {
            let mut socket = Socket::new(M::PROTOCOL)?;
            socket.set_ext_ack(true)?;
            socket.set_cap_ack(true)?;
            socket.set_netlink_get_strict_chk(true)?;
            socket.bind(&SocketAddr::new(0, 0))?;
            Ok(socket)
        };
        let socket = open().map_err(NetlinkError::Open)?;
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(65536), messages: PhantomData })
    }

    /// Asks for every object that `message` selects; `what` names them in errors.
    ///
    /// # Errors
    /// The kernel refuses, or its objects change faster than they can be read.
    pub fn dump(&mut self, what: &'static str, message: M) -> Result<Vec<M>, NetlinkError> {
        self.dump_where(what, message, |_| true)
    }

    /// As [`Netlink::dump`], but without those objects whose bytes nobody wants to look into.
    ///
    /// # Errors
    /// As [`Netlink::dump`].
    pub fn dump_where(
        &mut self,
        what: &'static str,
        message: M,
        is_wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<M>, NetlinkError> {
        for _ in 0..DUMP_ATTEMPTS {
            let first = self.send([(&message, NLM_F_DUMP)])?;
            let mut objects = Vec::new();
            let mut interrupted = false;
            let mut refused = None;
            let mut done = false;
            while !done {
                self.receive(|header, payload| {
                    if header.sequence_number != first {
                        return Ok(());
                    }
                    interrupted |= header.flags & NLM_F_DUMP_INTR != 0;
                    match header.message_type {
                        NLMSG_NOOP => {}
                        NLMSG_DONE | NLMSG_ERROR => {
                            done = true;
                            refused = refused.take().or(error_of(header, payload));
                        }
                        _ if is_wanted(payload) => objects.push(decode(header, payload)?),
                        _ => {}
                    }
                    Ok(())
                })?;
            }
            match refused {
                // A dump that does not fit or was overtaken answers so.
                Some(error) if error.errno == Errno::EINTR => {}
                Some(source) => return Err(NetlinkError::Refused { what, source }),
                None if !interrupted => return Ok(objects),
                None => {}
            }
        }
        Err(NetlinkError::Interrupted(what))
    }

    /// Sends requests in order, pipelined, and returns the answer to each.
    ///
    /// The kernel does not stop at the first one that it refuses: those after it are done all the
    /// same, and their answers say so.
    ///
    /// # Errors
    /// The conversation itself fails; what was done by then is not known.
    pub fn transact(&mut self, requests: &[Request<M>]) -> Result<Vec<Answer<M>>, NetlinkError> {
        let mut answers = Vec::with_capacity(requests.len());
        for batch in requests.chunks(BATCH) {
            let flags = |at, request: &Request<M>| request.flags | acknowledged(at, batch.len());
            let first = self.send(batch.iter().enumerate().map(|(at, it)| (&it.message, flags(at, it))))?;
            answers.extend(self.answers(first, batch.len(), |_| false)?);
        }
        Ok(answers)
    }

    /// Sends requests between the messages that begin and end a transaction: all are done, or none.
    ///
    /// # Errors
    /// The conversation itself fails; what was done by then is not known.
    pub fn transact_atomically(
        &mut self,
        begin: &M,
        requests: &[Request<M>],
        end: &M,
    ) -> Result<Result<(), KernelError>, NetlinkError> {
        let flags = |at, request: &Request<M>| request.flags | acknowledged(at, requests.len());
        let inner = requests.iter().enumerate().map(|(at, it)| (&it.message, flags(at, it)));
        let begun = self.send(std::iter::once((begin, 0)).chain(inner).chain(std::iter::once((end, 0))))?;
        // The frame is not acknowledged; when the kernel refuses it, nothing in it is answered.
        let frame = |sequence: u32| sequence == begun;
        let answers = self.answers(begun.wrapping_add(1), requests.len(), frame)?;
        Ok(answers.into_iter().collect::<Result<Vec<_>, _>>().map(drop))
    }

    /// Receives until the last of `count` requests from `first` on has ended. A refusal of a message that
    /// `is_frame` knows ends all of them.
    fn answers(
        &mut self,
        first: u32,
        count: usize,
        is_frame: impl Fn(u32) -> bool,
    ) -> Result<Vec<Answer<M>>, NetlinkError> {
        let mut answers: Vec<Answer<M>> = (0..count).map(|_| Ok(Vec::new())).collect();
        let mut is_open = count > 0;
        while is_open {
            self.receive(|header, payload| {
                if is_frame(header.sequence_number) {
                    if let Some(error) = error_of(header, payload) {
                        answers.iter_mut().for_each(|answer| *answer = Err(error.clone()));
                        is_open = false;
                    }
                    return Ok(());
                }
                let at = usize::try_from(header.sequence_number.wrapping_sub(first)).unwrap_or(usize::MAX);
                let Some(answer) = answers.get_mut(at) else { return Ok(()) };
                match header.message_type {
                    NLMSG_NOOP => {}
                    NLMSG_ERROR | NLMSG_DONE => {
                        is_open &= at + 1 != count;
                        if let Some(error) = error_of(header, payload) {
                            *answer = Err(error);
                        }
                    }
                    _ => {
                        if let Ok(objects) = answer {
                            objects.push(decode(header, payload)?);
                        }
                    }
                }
                Ok(())
            })?;
        }
        Ok(answers)
    }

    /// Asks for one object; a refusal is a value, since "there is none" is often the answer.
    ///
    /// # Errors
    /// The conversation itself fails.
    pub fn get(&mut self, message: M) -> Result<Answer<M>, NetlinkError> {
        let mut answers = self.transact(&[Request { message, flags: 0 }])?;
        answers.pop().ok_or_else(|| NetlinkError::Decode("no answer".to_owned()))
    }

    /// Writes messages, each with its flags, into one datagram; returns the first sequence number.
    fn send<'m>(&mut self, messages: impl IntoIterator<Item = (&'m M, u16)>) -> Result<u32, NetlinkError>
    where
        M: 'm,
    {
        let first = self.sequence.wrapping_add(1);
        let mut datagram = Vec::with_capacity(1024);
        for (message, flags) in messages {
            self.sequence = self.sequence.wrapping_add(1);
            let mut header = NetlinkHeader::default();
            header.flags = NLM_F_REQUEST | flags;
            header.sequence_number = self.sequence;
            let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message.clone()));
            message.finalize();
            let start = datagram.len();
            datagram.resize(start + message.buffer_len(), 0);
            if let Some(slot) = datagram.get_mut(start..) {
                message.serialize(slot);
            }
            datagram.resize(datagram.len().next_multiple_of(4), 0);
        }
        self.socket.send_to(&datagram, &SocketAddr::new(0, 0), 0).map_err(NetlinkError::Talk)?;
        Ok(first)
    }

    /// Receives one datagram from the kernel and shows each of its messages.
    fn receive(
        &mut self,
        mut each: impl FnMut(&NetlinkHeader, &[u8]) -> Result<(), NetlinkError>,
    ) -> Result<(), NetlinkError> {
        loop {
            self.buffer.clear();
            match self.socket.recv_from(&mut self.buffer, 0) {
                // Port 0 is the kernel; nobody else may answer.
                Ok((_, sender)) if sender.port_number() == 0 => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(NetlinkError::Talk(error)),
            }
        }
        let mut rest = self.buffer.as_slice();
        while rest.len() >= HEADER {
            let header = header_of(rest).ok_or_else(|| NetlinkError::Decode("short header".to_owned()))?;
            let length = usize::try_from(header.length).unwrap_or(0);
            let payload = rest.get(HEADER..length);
            let payload = payload.ok_or_else(|| NetlinkError::Decode(format!("message of {length} bytes")))?;
            each(&header, payload)?;
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(())
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn header_of(bytes: &[u8]) -> Option<NetlinkHeader> {
    let mut header = NetlinkHeader::default();
    header.length = u32_at(bytes, 0)?;
    header.message_type = u16_at(bytes, 4)?;
    header.flags = u16_at(bytes, 6)?;
    header.sequence_number = u32_at(bytes, 8)?;
    header.port_number = u32_at(bytes, 12)?;
    Some(header)
}

fn decode<M: Messages>(header: &NetlinkHeader, payload: &[u8]) -> Result<M, NetlinkError> {
    M::deserialize(header, payload).map_err(|error| NetlinkError::Decode(error.to_string()))
}

/// The refusal in an `NLMSG_ERROR` or `NLMSG_DONE`; absent for an acknowledgement.
///
/// Layout: a negative error number, for `NLMSG_ERROR` the request's header, then attributes.
fn error_of(header: &NetlinkHeader, payload: &[u8]) -> Option<KernelError> {
    let code = u32_at(payload, 0).map_or(0, u32::cast_signed);
    if code == 0 {
        return None;
    }
    let mut attributes = match header.message_type {
        NLMSG_ERROR if header.flags & NLM_F_CAPPED != 0 => payload.get(4 + HEADER..),
        NLMSG_ERROR => {
            let length = u32_at(payload, 4).and_then(|n| usize::try_from(n).ok()).unwrap_or(HEADER);
            payload.get(4 + length.next_multiple_of(4)..)
        }
        _ => payload.get(4..),
    };
    if header.flags & NLM_F_ACK_TLVS == 0 {
        attributes = None;
    }
    let mut text = String::new();
    while let Some((length, kind)) =
        attributes.and_then(|bytes| Some((usize::from(u16_at(bytes, 0)?), u16_at(bytes, 2)?)))
    {
        if length < 4 {
            break;
        }
        if kind == NLMSGERR_ATTR_MSG {
            let raw = attributes.and_then(|bytes| bytes.get(4..length)).unwrap_or_default();
            text = String::from_utf8_lossy(raw).trim_end_matches('\0').to_owned();
        }
        attributes = attributes.and_then(|bytes| bytes.get(length.next_multiple_of(4)..));
    }
    Some(KernelError { errno: Errno::from_raw(code.saturating_neg()), text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_route::link::{LinkAttribute, LinkMessage};

    fn link(name: &str) -> RouteNetlinkMessage {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        RouteNetlinkMessage::GetLink(message)
    }

    #[test]
    fn answers_are_matched_and_refusals_keep_their_text() {
        let mut netlink: Netlink = Netlink::open().unwrap();
        let ask = |name| Request { message: link(name), flags: 0 };
        let answers = netlink.transact(&[ask("lo"), ask("nonexistent"), ask("lo")]).unwrap();
        assert_eq!(answers.len(), 3);
        assert!(answers[0].is_ok() && answers[2].is_ok());
        assert_eq!(answers[1].as_ref().unwrap_err().errno, Errno::ENODEV);
        assert!(answers[1].as_ref().unwrap_err().is_absent());
    }

    #[test]
    fn a_dump_shows_the_loopback() {
        let mut netlink: Netlink = Netlink::open().unwrap();
        let links = netlink.dump("links", RouteNetlinkMessage::GetLink(LinkMessage::default())).unwrap();
        let named = |message: &RouteNetlinkMessage| match message {
            RouteNetlinkMessage::NewLink(link) => link.attributes.contains(&LinkAttribute::IfName("lo".to_owned())),
            _ => false,
        };
        assert!(links.iter().any(named));
    }
}
