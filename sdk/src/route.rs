//! Routes and the policy rules that lead to their tables, as values.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Family, Side, is_default};

/// The number of the routing table `main` (`RT_TABLE_MAIN`).
pub const TABLE_MAIN: u32 = 254;
/// The number of the routing table `local` (`RT_TABLE_LOCAL`).
pub const TABLE_LOCAL: u32 = 255;

/// One way of a route.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct NextHop {
    /// The router, of either family (RFC 5549 routes have an IPv6 one).
    #[schemars(with = "Option<String>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The interface, on the route's side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// 1 for a lone one; `rtnh_hops + 1`.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: u16,
    /// The gateway counts as directly reachable.
    #[serde(default, skip_serializing_if = "is_default")]
    pub onlink: bool,
}

/// The weight of a lone next hop.
fn one() -> u16 {
    1
}

fn is_one(weight: &u16) -> bool {
    *weight == one()
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
    #[serde(default, skip_serializing_if = "is_default")]
    pub kind: RouteKind,
    /// The priority; absent = the kernel's default (0 for IPv4, 1024 for IPv6).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// The preferred source.
    #[schemars(with = "Option<String>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// Scope `link` instead of `global` (IPv4 only).
    #[serde(default, skip_serializing_if = "is_default")]
    pub link_scope: bool,
    /// Bytes (`RTAX_MTU`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Empty for kinds that send nothing.
    #[serde(default, skip_serializing_if = "is_default")]
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

    /// True for `0.0.0.0/0` and `::/0`.
    pub fn is_default(&self) -> bool {
        self.to.prefix_len() == 0
    }

    /// True when all that it sends leaves by `device`.
    pub fn leaves_only_by(&self, device: &str) -> bool {
        !self.next_hops.is_empty() && self.next_hops.iter().all(|hop| hop.device.as_deref() == Some(device))
    }

    /// True when a next hop leaves by `device`.
    pub fn leaves_by(&self, device: &str) -> bool {
        self.next_hops.iter().any(|hop| hop.device.as_deref() == Some(device))
    }

    /// What the kernel tells routes apart by: side, table, destination and metric.
    pub fn key(&self) -> (Side, u32, IpNet, u32) {
        (self.side, self.table, self.to.trunc(), self.effective_metric())
    }

    fn effective_metric(&self) -> u32 {
        self.metric.filter(|metric| *metric != 0).unwrap_or(self.default_metric())
    }

    /// True when both have one [`Route::key`].
    pub fn has_key_of(&self, other: &Self) -> bool {
        // What differs most often is looked at first.
        (self.table, self.side, self.to.prefix_len()) == (other.table, other.side, other.to.prefix_len())
            && self.to.network() == other.to.network()
            && self.effective_metric() == other.effective_metric()
    }

    /// The one form of all that mean the same to the kernel: no host bits, and no metric that it would
    /// choose itself.
    #[must_use]
    pub fn normal(mut self) -> Self {
        let default = self.default_metric();
        self.metric = self.metric.filter(|metric| *metric != 0 && *metric != default);
        self.to = self.to.trunc();
        self
    }

    /// The routes that the kernel keeps for this one: an IPv6 route with several next hops is one for each.
    pub fn siblings(&self) -> Vec<Self> {
        match self.family() == Family::Ipv6 && self.next_hops.len() > 1 {
            true => self.next_hops.iter().map(|hop| Self { next_hops: vec![hop.clone()], ..self.clone() }).collect(),
            false => vec![self.clone()],
        }
    }

    fn default_metric(&self) -> u32 {
        if self.to.addr().is_ipv4() { 0 } else { 1024 }
    }

    /// True when a next hop is a router, which must be reachable by another route.
    pub fn has_gateway(&self) -> bool {
        self.next_hops.iter().any(|hop| hop.gateway.is_some())
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
    #[serde(skip_serializing_if = "is_default")]
    pub ours: bool,
    /// An earlier stage proposed it; the kernel does not have it yet.
    #[serde(skip_serializing_if = "is_default")]
    pub planned: bool,
    /// A router advertisement made it.
    #[serde(skip_serializing_if = "is_default")]
    pub from_router_advertisement: bool,
    /// Its next hops stand in a nexthop object.
    #[serde(skip_serializing_if = "is_default")]
    pub nexthop_object: bool,
    /// The kernel made it for an address.
    #[serde(skip_serializing_if = "is_default")]
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
    #[serde(default, skip_serializing_if = "is_default")]
    pub flags: RouteFlags,
}

/// Value and mask of a packet mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Mark {
    /// The bits to find …
    pub value: u32,
    /// … under this mask.
    pub mask: u32,
}

/// A routing policy rule that looks up a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Rule {
    /// Where it lives.
    pub side: Side,
    /// Its family.
    pub family: Family,
    /// Lower goes first.
    pub priority: u32,
    /// Only packets from here; absent = all.
    #[schemars(with = "Option<String>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sources: Option<IpNet>,
    /// Only packets to here; absent = all.
    #[schemars(with = "Option<String>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<IpNet>,
    /// Only packets with this mark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fwmark: Option<Mark>,
    /// Only packets that came in here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incoming: Option<String>,
    /// Only packets of sockets bound to this device.
    #[serde(skip_serializing_if = "Option::is_none")]
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

impl KnownRoute {
    /// True when both say the same and have one maker; ids and flags do not count.
    pub fn same(&self, other: &Self) -> bool {
        // What differs most often is looked at first.
        self.route.table == other.route.table && self.protocol == other.protocol && self.route == other.route
    }

    /// True when both say the same but for the table, whoever made them: one is the other, moved or copied.
    pub fn is_like(&self, other: &Self) -> bool {
        let (mine, theirs) = (&self.route, &other.route);
        mine.to == theirs.to
            && (mine.side, mine.to, mine.kind, mine.metric, mine.source, mine.link_scope, mine.mtu)
                == (theirs.side, theirs.to, theirs.kind, theirs.metric, theirs.source, theirs.link_scope, theirs.mtu)
            && mine.next_hops == theirs.next_hops
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
