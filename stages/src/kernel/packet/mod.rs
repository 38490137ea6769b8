//! Frames on one link, unrouted: a packet socket that hears only what a filter in the kernel lets through.
//!
//! The filter is attached before the socket is bound, so no frame that nobody wants is ever queued. It is one of the
//! two modules with `unsafe`: the kernel's link-layer address and its multicast membership have no safe form in any
//! of our crates.
#![allow(unsafe_code, reason = "link-layer addresses and memberships can only be given to the kernel as memory")]

mod filter;

use std::{
    io::{self, ErrorKind, IoSlice},
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    time::Duration,
};

use coordinator_sdk::Mac;
use nix::{
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags, ppoll},
    sys::{
        socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, sendmsg, socketpair},
        time::TimeSpec,
    },
};
use socket2::{Domain, SockAddr, SockAddrStorage, Socket, Type};

pub use filter::Interest;

/// Why frames could not be sent or received.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} frames: {source}")]
pub struct PacketError {
    /// What was tried.
    verb: &'static str,
    /// What the kernel said.
    source: io::Error,
}

impl PacketError {
    fn new(verb: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self { verb, source }
    }
}

/// A packet socket on one link of the namespace in which it was opened.
#[derive(Debug)]
pub struct PacketSocket {
    socket: Socket,
    index: libc::c_int,
    /// How it goes away; closed after it, as fields are dropped in their order.
    way_out: Option<(OwnedFd, OwnedFd)>,
}

impl PacketSocket {
    /// Opens a socket in the calling thread's namespace that only sends.
    ///
    /// # Errors
    /// The kernel gives none, or there is no such link.
    pub fn sender(index: u32) -> Result<Self, PacketError> {
        let opened = Self::open(index)?;
        opened.bind(0)?;
        Ok(opened)
    }

    /// Opens a socket that also hears what `interest` names, and joins the multicast groups of these addresses.
    ///
    /// Every tap of the link is shown to it, also frames that a device above takes; frames of another VLAN, to other
    /// hosts and from this one the filter holds back.
    ///
    /// # Errors
    /// The kernel gives none, or there is no such link.
    pub fn listener(index: u32, interest: &Interest, groups: &[Mac]) -> Result<Self, PacketError> {
        let opened = Self::open(index)?;
        opened.socket.attach_filter(&interest.program()).map_err(PacketError::new("filter"))?;
        opened.bind(libc::ETH_P_ALL)?;
        for group in groups {
            opened.join(*group)?;
        }
        Ok(opened)
    }

    fn open(index: u32) -> Result<Self, PacketError> {
        let index = libc::c_int::try_from(index)
            .map_err(|_| PacketError { verb: "address", source: ErrorKind::InvalidInput.into() })?;
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), None);
        let way_out = socketpair(AddressFamily::Unix, SockType::Datagram, None, SockFlag::SOCK_CLOEXEC);
        Ok(Self { socket: socket.map_err(PacketError::new("open a socket for"))?, index, way_out: way_out.ok() })
    }

    /// Protocol 0 receives nothing.
    fn bind(&self, protocol: libc::c_int) -> Result<(), PacketError> {
        let protocol = u16::try_from(protocol).unwrap_or_default().to_be();
        let mut storage = SockAddrStorage::zeroed();
        // SAFETY: the storage is large enough and aligned for a `sockaddr_ll`, whose values are all bit patterns.
        let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
        address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or_default();
        address.sll_protocol = protocol;
        address.sll_ifindex = self.index;
        let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or_default();
        // SAFETY: the storage holds an initialised `sockaddr_ll` of this length.
        let address = unsafe { SockAddr::new(storage, length) };
        self.socket.bind(&address).map_err(PacketError::new("bind a socket for"))
    }

    fn join(&self, group: Mac) -> Result<(), PacketError> {
        let mut address = [0; 8];
        for (slot, octet) in address.iter_mut().zip(group.0) {
            *slot = octet;
        }
        let kind = u16::try_from(libc::PACKET_MR_MULTICAST).unwrap_or_default();
        let request = libc::packet_mreq { mr_ifindex: self.index, mr_type: kind, mr_alen: 6, mr_address: address };
        let length = libc::socklen_t::try_from(size_of_val(&request)).unwrap_or_default();
        // SAFETY: the kernel reads `length` bytes, which are those of `request`, and keeps no pointer.
        let outcome = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_ADD_MEMBERSHIP,
                (&raw const request).cast(),
                length,
            )
        };
        Errno::result(outcome).map(drop).map_err(|errno| PacketError::new("join a group of")(errno.into()))
    }

    /// Sends a frame. One for which the link has no room is lost, as it could be on the wire.
    ///
    /// # Errors
    /// The link is down or gone.
    pub fn send(&self, frame: &[u8]) -> Result<(), PacketError> {
        loop {
            match self.socket.send(frame) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::EAGAIN)) => return Ok(()),
                Err(error) => return Err(PacketError::new("send")(error)),
            }
        }
    }

    /// Takes the next frame that has come, as much of it as fits; none when all were taken.
    ///
    /// # Errors
    /// The link is down or gone.
    pub fn receive<'b>(&self, buffer: &'b mut [u8]) -> Result<Option<&'b [u8]>, PacketError> {
        loop {
            match io::Read::read(&mut (&self.socket), buffer) {
                Ok(length) => return Ok(buffer.get(..length)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(PacketError::new("receive")(error)),
            }
        }
    }
}

impl Drop for PacketSocket {
    /// Closing a packet socket waits until every reader in the kernel has let go of it, 10 to 25 ms (tried). Whoever
    /// has the last reference waits: that is made the kernel's own collector of sockets that nobody can reach, by
    /// sending it, with the receiving end, to that end, and by closing the three only then. Before Linux 6.8 the
    /// collector works within the closing call, and nothing is gained or lost.
    fn drop(&mut self) {
        let Some((near, far)) = &self.way_out else { return };
        let both = [far.as_raw_fd(), self.socket.as_raw_fd()];
        let parcel = [ControlMessage::ScmRights(&both)];
        let _ = sendmsg::<UnixAddr>(near.as_raw_fd(), &[IoSlice::new(&[0])], &parcel, MsgFlags::empty(), None);
    }
}

/// Waits until one of the sockets has something to say, a signal comes, or the time is over.
///
/// # Errors
/// The kernel cannot wait.
pub fn wait(sockets: &[PacketSocket], time: Duration) -> Result<(), PacketError> {
    let mut waiting: Vec<PollFd<'_>> =
        sockets.iter().map(|it| PollFd::new(it.socket.as_fd(), PollFlags::POLLIN)).collect();
    match ppoll(&mut waiting, Some(TimeSpec::from_duration(time)), None) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(PacketError::new("wait for")(errno.into())),
    }
}

#[cfg(test)]
mod tests;
