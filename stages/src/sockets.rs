//! The open sockets of one call: what is observed and what is applied goes through the same ones.
//!
//! A process opens each once and keeps it to its end: the kernel makes whoever closes an nftables
//! socket wait until all that was deleted by it is gone.

use crate::kernel::{
    link::LinkNames,
    namespace::{Inside, Namespace, NamespaceError},
    netlink::{Netlink, NetlinkError},
    nftables::{NftError, Nftables},
};

/// Why sockets could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Route netlink.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// nftables.
    #[error(transparent)]
    Nftables(#[from] NftError),
    /// The node's own namespace.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
}

/// A route netlink socket of one side and the numbers of the links seen there.
#[derive(Debug)]
pub struct SideSocket {
    /// The socket.
    pub netlink: Netlink,
    /// Numbers and names.
    pub names: LinkNames,
}

impl SideSocket {
    /// Opens a socket in the calling thread's namespace.
    ///
    /// # Errors
    /// As [`Netlink::open`].
    pub fn open() -> Result<Self, NetlinkError> {
        Ok(Self { netlink: Netlink::open()?, names: LinkNames::default() })
    }
}

/// The node's sockets, and which namespace it is.
#[derive(Debug)]
pub struct NodeSockets {
    /// The node's namespace.
    pub namespace: Namespace,
    /// Links, addresses, routes, rules and neighbours.
    pub route: SideSocket,
}

impl NodeSockets {
    /// Opens them in the calling thread's namespace, which is the node's.
    ///
    /// # Errors
    /// As [`Netlink::open`], or `/proc` is not mounted.
    pub fn open() -> Result<Self, SocketError> {
        Ok(Self { namespace: Namespace::current()?, route: SideSocket::open()? })
    }
}

/// A Pod's sockets.
#[derive(Debug)]
pub struct PodSockets {
    /// Links, addresses, routes, rules and neighbours.
    pub route: SideSocket,
    /// Reply marks.
    pub nftables: Nftables,
}

impl PodSockets {
    /// Opens them in the namespace that the calling thread has entered.
    ///
    /// # Errors
    /// As [`Netlink::open`].
    pub fn open(_: &Inside<'_>) -> Result<Self, SocketError> {
        Ok(Self { route: SideSocket::open()?, nftables: Nftables::open()? })
    }
}
