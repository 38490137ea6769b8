//! The kernel objects that stages talk about, as values: links, addresses, neighbours, sysctls and
//! the marking of replies. Routes and rules stand in `route.rs`.
//!
//! Links are named, never numbered, so a value means the same before and after a link is made.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Mac, Mark, is_default};

/// The network namespace in which an object lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The container's namespace.
    Pod,
    /// The namespace in which the plugin is called.
    Node,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pod => "pod",
            Self::Node => "node",
        })
    }
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// Both families, IPv4 first.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// The family of an address.
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }

    /// The prefix that holds every address of the family.
    pub fn default_prefix(self) -> IpNet {
        match self {
            Self::Ipv4 => IpNet::V4(ipnet::Ipv4Net::default()),
            Self::Ipv6 => IpNet::V6(ipnet::Ipv6Net::default()),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        })
    }
}

/// A link by side and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Device {
    /// Where the link lives.
    pub side: Side,
    /// Its name there.
    pub name: String,
}

impl Device {
    /// A link of the Pod.
    pub fn pod(name: impl Into<String>) -> Self {
        Self { side: Side::Pod, name: name.into() }
    }

    /// A link of the node.
    pub fn node(name: impl Into<String>) -> Self {
        Self { side: Side::Node, name: name.into() }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.side, self.name)
    }
}

/// What is known of a link beside its state. All false unless seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LinkFlags {
    /// Administratively up.
    #[serde(skip_serializing_if = "is_default")]
    pub up: bool,
    /// The lower layer is up (`IFF_LOWER_UP`).
    #[serde(skip_serializing_if = "is_default")]
    pub carrier: bool,
    /// The link has no neighbours to resolve.
    #[serde(skip_serializing_if = "is_default")]
    pub noarp: bool,
    /// It is the interface that this CNI call is about.
    #[serde(skip_serializing_if = "is_default")]
    pub attached: bool,
    /// It is the Pod's first interface (`podDefaultCniNic`).
    #[serde(skip_serializing_if = "is_default")]
    pub first: bool,
    /// It carries our ifalias.
    #[serde(skip_serializing_if = "is_default")]
    pub ours: bool,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Link {
    /// Where it is and what it is called.
    pub device: Device,
    /// `macvlan`, `veth`, …; empty for a physical link (`IFLA_INFO_KIND`).
    #[serde(default, skip_serializing_if = "is_default")]
    pub kind: String,
    /// Its hardware address, when that has six octets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// The address it was born with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permanent_mac: Option<Mac>,
    /// Bytes.
    pub mtu: u32,
    /// Smallest MTU the driver allows, bytes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub min_mtu: u32,
    /// Largest MTU the driver allows, bytes; 0 when it does not say.
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_mtu: u32,
    /// Packets.
    #[serde(default, skip_serializing_if = "is_default")]
    pub transmit_queue: u32,
    /// What is known beside this.
    #[serde(default, skip_serializing_if = "is_default")]
    pub flags: LinkFlags,
    /// The node's name of the other end, when that is on the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The node's name of the lower device, when that is on the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The kernel driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// The PCI address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pci: Option<String>,
    /// The NUMA node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numa: Option<u32>,
    /// The RDMA device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rdma: Option<String>,
    /// The routing table that belongs to this interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// The ifalias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
}

impl Link {
    /// A link of which only the name is known.
    pub fn named(device: Device) -> Self {
        Self {
            device,
            kind: String::new(),
            mac: None,
            permanent_mac: None,
            mtu: 1500,
            min_mtu: 0,
            max_mtu: 0,
            transmit_queue: 0,
            flags: LinkFlags::default(),
            peer: None,
            parent: None,
            driver: None,
            pci: None,
            numa: None,
            rdma: None,
            table: None,
            alias: None,
        }
    }
}

/// What is known of an address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AddressFlags {
    /// Duplicate address detection has not ended.
    #[serde(skip_serializing_if = "is_default")]
    pub tentative: bool,
    /// Duplicate address detection found another owner.
    #[serde(skip_serializing_if = "is_default")]
    pub dad_failed: bool,
    /// No longer preferred as a source.
    #[serde(skip_serializing_if = "is_default")]
    pub deprecated: bool,
    /// It has a lifetime.
    #[serde(skip_serializing_if = "is_default")]
    pub dynamic: bool,
    /// A privacy address.
    #[serde(skip_serializing_if = "is_default")]
    pub temporary: bool,
    /// It stands in `prevResult`.
    #[serde(skip_serializing_if = "is_default")]
    pub from_result: bool,
    /// The node's routes to the Pod choose it as their source.
    #[serde(skip_serializing_if = "is_default")]
    pub route_source: bool,
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Address {
    /// The interface.
    pub device: Device,
    /// Address and prefix length; host bits are kept.
    #[schemars(with = "String")]
    pub prefix: IpNet,
    /// The gateway that `prevResult` names for it.
    #[schemars(with = "Option<String>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// What is known beside this.
    #[serde(default, skip_serializing_if = "is_default")]
    pub flags: AddressFlags,
}

impl Address {
    /// The address without its prefix length.
    pub fn ip(&self) -> IpAddr {
        self.prefix.addr()
    }

    /// An address that others can talk to, on a network with others.
    pub fn is_in_subnet(&self) -> bool {
        self.is_global() && self.prefix.prefix_len() < self.prefix.max_prefix_len()
    }

    /// Neither link-local, loopback nor multicast: an address others can talk to.
    pub fn is_global(&self) -> bool {
        is_global(self.ip())
    }
}

/// Neither link-local, loopback, unspecified nor multicast.
pub fn is_global(ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !link_local && !ip.is_loopback() && !ip.is_multicast() && !ip.is_unspecified()
}

/// A permanent neighbour entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Neighbour {
    /// The interface on which the neighbour is.
    pub device: Device,
    /// Its address.
    #[schemars(with = "String")]
    pub ip: IpAddr,
    /// Its hardware address.
    pub mac: Mac,
}

/// A kernel parameter below `/proc/sys`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Sysctl {
    /// Where it lives.
    pub side: Side,
    /// `net/ipv4/conf/all/rp_filter`: with slashes, since interface names may hold dots.
    pub key: String,
    /// The value as the kernel prints it, without the line end.
    pub value: String,
}

/// Replies to connections that came in by `device` carry packet mark `bit` and follow `table`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct ReplyMark {
    /// The interface by which the connections come in.
    pub device: Device,
    /// Which bit of the packet mark and conntrack mark is ours, 0 to 31.
    pub bit: u8,
    /// The table that marked packets look up.
    pub table: u32,
}

impl ReplyMark {
    /// The mark as value and mask: one bit, so that marks of others survive.
    pub fn mark(&self) -> Mark {
        let value = 1_u32.checked_shl(u32::from(self.bit)).unwrap_or(0);
        Mark { value, mask: value }
    }
}
