//! The kernel objects that stages talk about, as values: links, addresses, routes, rules,
//! neighbours, sysctls and the marking of replies.
//!
//! Links are named, never numbered, so a value means the same before and after a link is made.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Mac;

/// The number of the routing table `main` (`RT_TABLE_MAIN`).
pub const TABLE_MAIN: u32 = 254;
/// The number of the routing table `local` (`RT_TABLE_LOCAL`).
pub const TABLE_LOCAL: u32 = 255;

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
    pub up: bool,
    /// The lower layer is up (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// The link has no neighbours to resolve.
    pub noarp: bool,
    /// It is the interface that this CNI call is about.
    pub attached: bool,
    /// It is the Pod's first interface (`podDefaultCniNic`).
    pub first: bool,
    /// It carries our ifalias.
    pub ours: bool,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Link {
    /// Where it is and what it is called.
    pub device: Device,
    /// `macvlan`, `veth`, …; empty for a physical link (`IFLA_INFO_KIND`).
    pub kind: String,
    /// Its hardware address, when that has six octets.
    pub mac: Option<Mac>,
    /// The address it was born with.
    pub permanent_mac: Option<Mac>,
    /// Bytes.
    pub mtu: u32,
    /// Smallest MTU the driver allows, bytes.
    pub min_mtu: u32,
    /// Largest MTU the driver allows, bytes; 0 when it does not say.
    pub max_mtu: u32,
    /// Packets.
    pub transmit_queue: u32,
    /// What is known beside this.
    pub flags: LinkFlags,
    /// The node's name of the other end, when that is on the node.
    pub peer: Option<String>,
    /// The node's name of the lower device, when that is on the node.
    pub parent: Option<String>,
    /// The kernel driver.
    pub driver: Option<String>,
    /// The PCI address.
    pub pci: Option<String>,
    /// The NUMA node.
    pub numa: Option<u32>,
    /// The RDMA device.
    pub rdma: Option<String>,
    /// The routing table that belongs to this interface.
    pub table: Option<u32>,
    /// The ifalias.
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
    pub tentative: bool,
    /// Duplicate address detection found another owner.
    pub dad_failed: bool,
    /// No longer preferred as a source.
    pub deprecated: bool,
    /// It has a lifetime.
    pub dynamic: bool,
    /// A privacy address.
    pub temporary: bool,
    /// It stands in `prevResult`.
    pub from_result: bool,
    /// The node's routes to the Pod choose it as their source.
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
    pub gateway: Option<IpAddr>,
    /// What is known beside this.
    pub flags: AddressFlags,
}

impl Address {
    /// The address without its prefix length.
    pub fn ip(&self) -> IpAddr {
        self.prefix.addr()
    }

    /// Neither link-local, loopback nor multicast: an address others can talk to.
    pub fn is_global(&self) -> bool {
        is_global(self.ip())
    }
}

/// Neither link-local, loopback, unspecified nor multicast.
pub(crate) fn is_global(ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !link_local && !ip.is_loopback() && !ip.is_multicast() && !ip.is_unspecified()
}

/// One way of a route.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct NextHop {
    /// The router, of either family (RFC 5549 routes have an IPv6 one).
    #[schemars(with = "Option<String>")]
    pub gateway: Option<IpAddr>,
    /// The interface, on the route's side.
    pub device: Option<String>,
    /// 1 for a lone one; `rtnh_hops + 1`.
    pub weight: u16,
    /// The gateway counts as directly reachable.
    pub onlink: bool,
}

/// What a route does with a packet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RouteKind {
    /// Sends it on.
    #[default]
    Unicast,
    /// Drops it in silence.
    Blackhole,
    /// Answers "host unreachable".
    Unreachable,
    /// Answers "administratively prohibited".
    Prohibit,
    /// Goes on with the next rule.
    Throw,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Route {
    /// Where it lives.
    pub side: Side,
    /// The table's number.
    pub table: u32,
    /// The destination.
    #[schemars(with = "String")]
    pub to: IpNet,
    /// What it does.
    pub kind: RouteKind,
    /// The priority; absent = the kernel's default (0 for IPv4, 1024 for IPv6).
    pub metric: Option<u32>,
    /// The preferred source.
    #[schemars(with = "Option<String>")]
    pub source: Option<IpAddr>,
    /// Scope `link` instead of `global` (IPv4 only).
    pub link_scope: bool,
    /// Bytes (`RTAX_MTU`).
    pub mtu: Option<u32>,
    /// Empty for kinds that send nothing.
    pub next_hops: Vec<NextHop>,
}

impl Route {
    /// A unicast route straight out of `device`, without a gateway.
    pub fn direct(side: Side, table: u32, to: IpNet, device: &str) -> Self {
        Self {
            side,
            table,
            to: to.trunc(),
            kind: RouteKind::Unicast,
            metric: None,
            source: None,
            link_scope: to.addr().is_ipv4(),
            mtu: None,
            next_hops: vec![NextHop { gateway: None, device: Some(device.to_owned()), weight: 1, onlink: false }],
        }
    }

    /// The family of the destination.
    pub fn family(&self) -> Family {
        Family::of(self.to.addr())
    }

    /// True when a next hop leaves by `device`.
    pub fn leaves_by(&self, device: &str) -> bool {
        self.next_hops.iter().any(|hop| hop.device.as_deref() == Some(device))
    }

    /// What the kernel tells routes apart by: side, table, destination and metric.
    pub fn key(&self) -> (Side, u32, IpNet, u32) {
        let default = if self.to.addr().is_ipv4() { 0 } else { 1024 };
        let metric = match (self.metric, self.family()) {
            (None | Some(0), Family::Ipv6) => default,
            (metric, _) => metric.unwrap_or(default),
        };
        (self.side, self.table, self.to.trunc(), metric)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind != RouteKind::Unicast {
            write!(f, "{:?} ", self.kind)?;
        }
        write!(f, "{}", self.to)?;
        for hop in &self.next_hops {
            if let Some(gateway) = hop.gateway {
                write!(f, " via {gateway}")?;
            }
            if let Some(device) = &hop.device {
                write!(f, " dev {device}")?;
            }
            if hop.onlink {
                f.write_str(" onlink")?;
            }
        }
        if let Some(source) = self.source {
            write!(f, " src {source}")?;
        }
        if let Some(metric) = self.metric {
            write!(f, " metric {metric}")?;
        }
        if let Some(mtu) = self.mtu {
            write!(f, " mtu {mtu}")?;
        }
        write!(f, " table {}", self.table)
    }
}

/// What is known of an observed route.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RouteFlags {
    /// It has our protocol number.
    pub ours: bool,
    /// An earlier stage proposed it; the kernel does not have it yet.
    pub planned: bool,
    /// A router advertisement made it.
    pub from_router_advertisement: bool,
    /// Its next hops stand in a nexthop object.
    pub nexthop_object: bool,
    /// The kernel made it for an address.
    pub connected: bool,
}

/// A route of the model. `id` names it; attributes not shown stay with the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KnownRoute {
    /// Names the route within one snapshot.
    pub id: u32,
    /// What it says.
    pub route: Route,
    /// Who made it (`rtm_protocol`).
    pub protocol: u8,
    /// What is known beside this.
    pub flags: RouteFlags,
}

/// Value and mask of a packet mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Mark {
    /// The bits to find …
    pub value: u32,
    /// … under this mask.
    pub mask: u32,
}

/// A routing policy rule that looks up a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Rule {
    /// Where it lives.
    pub side: Side,
    /// Its family.
    pub family: Family,
    /// Lower goes first.
    pub priority: u32,
    /// Only packets from here; absent = all.
    #[schemars(with = "Option<String>")]
    pub sources: Option<IpNet>,
    /// Only packets to here; absent = all.
    #[schemars(with = "Option<String>")]
    pub to: Option<IpNet>,
    /// Only packets with this mark.
    pub fwmark: Option<Mark>,
    /// Only packets that came in here.
    pub incoming: Option<String>,
    /// Only packets of sockets bound to this device.
    pub outgoing: Option<String>,
    /// The table to look up.
    pub table: u32,
}

impl Rule {
    /// The rule `from all lookup <table>`.
    pub fn all(side: Side, family: Family, priority: u32, table: u32) -> Self {
        Self { side, family, priority, sources: None, to: None, fwmark: None, incoming: None, outgoing: None, table }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}:", self.family, self.priority)?;
        match self.sources {
            Some(prefix) => write!(f, " from {prefix}")?,
            None => f.write_str(" from all")?,
        }
        if let Some(to) = self.to {
            write!(f, " to {to}")?;
        }
        if let Some(mark) = self.fwmark {
            write!(f, " fwmark {:#x}/{:#x}", mark.value, mark.mask)?;
        }
        if let Some(name) = &self.incoming {
            write!(f, " iif {name}")?;
        }
        if let Some(name) = &self.outgoing {
            write!(f, " oif {name}")?;
        }
        write!(f, " lookup {}", self.table)
    }
}

/// A rule of the model, with the protocol number of its maker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KnownRule {
    /// What it says.
    pub rule: Rule,
    /// Who made it (`FRA_PROTOCOL`).
    pub protocol: u8,
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
