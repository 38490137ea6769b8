//! Routes by netlink: between the SDK's values and the kernel's messages, both ways.
//!
//! A route that is moved keeps its message: attributes that [`Route`] does not show (metrics,
//! congestion control, nexthop object, weights) are replayed as they were observed.

mod siblings;

use std::net::IpAddr;

use coordinator_sdk::{Family, KnownRoute, NextHop, PROTOCOL, Route, RouteFlags, RouteKind, Side};
use ipnet::IpNet;
use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{
        RouteAddress, RouteAttribute, RouteFlags as KernelFlags, RouteHeader, RouteMetric, RouteNextHop as KernelHop,
        RouteNextHopFlags, RouteProtocol, RouteScope, RouteType, RouteVia,
    },
};

/// A route as the kernel tells it, with every attribute: kept to be replayed, not to be looked into.
pub use netlink_packet_route::route::RouteMessage;

use super::{
    link::LinkNames,
    netlink::{KernelError, Netlink, NetlinkError, Request},
};

/// A route names a link that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no link {0}")]
pub struct NoSuchLink(pub String);

/// The unicast and discarding routes of one table, or of all but `local` when none is named.
///
/// # Errors
/// As [`Netlink::dump`].
pub fn list(netlink: &mut Netlink, family: Family, table: Option<u32>) -> Result<Vec<RouteMessage>, NetlinkError> {
    listed(netlink, family, table, |_| true)
}

/// As [`list`] of all tables, but of those `aside` (below 252) the default routes only.
///
/// # Errors
/// As [`Netlink::dump`].
pub fn list_beside(netlink: &mut Netlink, family: Family, aside: &[u32]) -> Result<Vec<RouteMessage>, NetlinkError> {
    let is_aside = |header: &RouteHeader| aside.contains(&u32::from(header.table));
    listed(netlink, family, None, |header| header.destination_prefix_length == 0 || !is_aside(header))
}

fn listed(
    netlink: &mut Netlink,
    family: Family,
    table: Option<u32>,
    is_looked_at: impl Fn(&RouteHeader) -> bool,
) -> Result<Vec<RouteMessage>, NetlinkError> {
    let mut question = RouteMessage::default();
    question.header.address_family = kernel_family(family);
    question.attributes.extend(table.map(RouteAttribute::Table));
    // Most of what is delivered to the host itself, and copies for one destination, need not even be decoded.
    let is_wanted = |payload: &[u8]| {
        RouteHeader::parse(payload).map_or(true, |header| is_of_interest(&header) && is_looked_at(&header))
    };
    let answers = match netlink.dump_where("routes", RouteNetlinkMessage::GetRoute(question), is_wanted) {
        // A table that was never used: the kernel says so only under strict checking.
        Err(NetlinkError::Refused { source, .. }) if table.is_some() && source.is_absent() => return Ok(Vec::new()),
        answers => answers?,
    };
    let mut routes = Vec::with_capacity(answers.len());
    for message in answers.into_iter().filter_map(route_of) {
        match siblings::hops_of(&message) {
            None => routes.push(message),
            Some(hops) => routes.extend(hops.iter().map(|hop| siblings::alone(&message, hop))),
        }
    }
    Ok(routes)
}

fn is_of_interest(header: &RouteHeader) -> bool {
    !header.flags.contains(KernelFlags::Cloned)
        && matches!(
            header.kind,
            RouteType::Unicast | RouteType::BlackHole | RouteType::Unreachable | RouteType::Prohibit | RouteType::Throw
        )
}

fn route_of(answer: RouteNetlinkMessage) -> Option<RouteMessage> {
    match answer {
        RouteNetlinkMessage::NewRoute(message) => Some(message),
        _ => None,
    }
}

fn question(to: IpAddr, out: Option<u32>, flags: KernelFlags) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = kernel_family(Family::of(to));
    message.header.destination_prefix_length = if to.is_ipv4() { 32 } else { 128 };
    // For IPv4 the table that decided must be asked for; for IPv6 it is always told, and the flag refused.
    message.header.flags = if to.is_ipv4() { flags | KernelFlags::LookupTable } else { flags };
    message.attributes.push(RouteAttribute::Destination(to.into()));
    message.attributes.extend(out.map(RouteAttribute::Oif));
    RouteNetlinkMessage::GetRoute(message)
}

/// How the kernel reaches an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The table that decided.
    pub table: u32,
    /// The link it leaves by.
    pub link: Option<u32>,
    /// The routers it may go through; empty when the address is on-link.
    pub gateways: Vec<IpAddr>,
    /// The source address that the kernel chooses.
    pub source: Option<IpAddr>,
    /// False for a local, blackhole … answer.
    pub is_unicast: bool,
}

/// Asks which way the kernel takes to `to`.
///
/// # Errors
/// The conversation fails; "no route" is an answer.
pub fn way(netlink: &mut Netlink, to: IpAddr, out: Option<u32>) -> Result<Result<Way, KernelError>, NetlinkError> {
    Ok(netlink.get(way_question(to, out))?.map(|messages| way_in(&messages)))
}

/// The question which way a packet to `to` takes, optionally out of one link.
pub fn way_question(to: IpAddr, out: Option<u32>) -> RouteNetlinkMessage {
    question(to, out, KernelFlags::empty())
}

/// The question for the route itself that a packet to `to` takes, with all its next hops.
pub fn match_question(to: IpAddr) -> RouteNetlinkMessage {
    question(to, None, KernelFlags::FibMatch)
}

/// The way in the kernel's answer.
pub fn way_in(answer: &[RouteNetlinkMessage]) -> Way {
    let found = answer.iter().find_map(|message| match message {
        RouteNetlinkMessage::NewRoute(route) => Some(way_of(route)),
        _ => None,
    });
    found.unwrap_or_else(|| way_of(&RouteMessage::default()))
}

/// The route in the kernel's answer.
pub fn route_in(answer: Vec<RouteNetlinkMessage>) -> Option<RouteMessage> {
    answer.into_iter().find_map(route_of)
}

fn way_of(message: &RouteMessage) -> Way {
    let mut way = Way {
        table: table_of(message),
        link: None,
        gateways: Vec::new(),
        source: None,
        is_unicast: message.header.kind == RouteType::Unicast,
    };
    let mut gateways = Vec::new();
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => way.link = Some(*index),
            RouteAttribute::PrefSource(address) => way.source = ip_of(address),
            RouteAttribute::MultiPath(hops) => {
                gateways.extend(hops.iter().filter_map(|hop| gateway_of(&hop.attributes)));
            }
            _ => {}
        }
    }
    gateways.extend(gateway_of(&message.attributes));
    way.gateways = gateways;
    way
}

fn kernel_family(family: Family) -> AddressFamily {
    match family {
        Family::Ipv4 => AddressFamily::Inet,
        Family::Ipv6 => AddressFamily::Inet6,
    }
}

fn ip_of(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

fn table_of(message: &RouteMessage) -> u32 {
    let wide = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    wide.unwrap_or(u32::from(message.header.table))
}

fn gateway_of(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(address) => ip_of(address),
        RouteAttribute::Via(RouteVia::Inet(v4)) => Some(IpAddr::V4(*v4)),
        RouteAttribute::Via(RouteVia::Inet6(v6)) => Some(IpAddr::V6(*v6)),
        _ => None,
    })
}

/// The numbers of the links that a route leaves by.
pub fn links_of(message: &RouteMessage) -> Vec<u32> {
    let of = |attribute: &RouteAttribute| match attribute {
        RouteAttribute::Oif(index) => vec![*index],
        RouteAttribute::MultiPath(hops) => hops.iter().map(|hop| hop.interface_index).collect(),
        _ => Vec::new(),
    };
    message.attributes.iter().flat_map(of).collect()
}

/// The SDK's view of an observed route.
pub fn known(message: &RouteMessage, id: u32, side: Side, names: &LinkNames) -> KnownRoute {
    let header = &message.header;
    let family = if header.address_family == AddressFamily::Inet { Family::Ipv4 } else { Family::Ipv6 };
    let mut route = Route {
        side,
        table: table_of(message),
        to: family.default_prefix(),
        kind: kind_of(header.kind),
        metric: None,
        source: None,
        link_scope: family == Family::Ipv4 && header.scope == RouteScope::Link,
        mtu: None,
        next_hops: Vec::new(),
    };
    let name = |index: u32| names.name(index).map(str::to_owned);
    let mut device = None;
    let mut object = false;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => {
                let prefix = ip_of(address).and_then(|ip| IpNet::new(ip, header.destination_prefix_length).ok());
                route.to = prefix.unwrap_or(route.to);
            }
            RouteAttribute::Priority(metric) => route.metric = Some(*metric),
            RouteAttribute::PrefSource(address) => route.source = ip_of(address),
            RouteAttribute::Oif(index) => device = name(*index),
            RouteAttribute::NhId(_) => object = true,
            RouteAttribute::Metrics(metrics) => {
                route.mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            RouteAttribute::MultiPath(hops) => {
                route.next_hops.extend(hops.iter().map(|hop| NextHop {
                    gateway: gateway_of(&hop.attributes),
                    device: name(hop.interface_index),
                    weight: u16::from(hop.hops).saturating_add(1),
                    onlink: hop.flags.contains(RouteNextHopFlags::Onlink),
                }));
            }
            _ => {}
        }
    }
    let gateway = gateway_of(&message.attributes);
    if route.next_hops.is_empty() && (device.is_some() || gateway.is_some()) {
        let onlink = header.flags.contains(KernelFlags::Onlink);
        route.next_hops.push(NextHop { gateway, device, weight: 1, onlink });
    }
    let protocol = u8::from(header.protocol);
    let flags = RouteFlags {
        ours: protocol == PROTOCOL,
        planned: false,
        from_router_advertisement: header.protocol == RouteProtocol::Ra,
        nexthop_object: object,
        connected: header.protocol == RouteProtocol::Kernel,
    };
    KnownRoute { id, route: route.normal(), protocol, flags }
}

fn kind_of(kind: RouteType) -> RouteKind {
    match kind {
        RouteType::BlackHole => RouteKind::Blackhole,
        RouteType::Unreachable => RouteKind::Unreachable,
        RouteType::Prohibit => RouteKind::Prohibit,
        RouteType::Throw => RouteKind::Throw,
        _ => RouteKind::Unicast,
    }
}

fn header_for(route: &Route, protocol: u8) -> RouteHeader {
    let kind = match route.kind {
        RouteKind::Unicast => RouteType::Unicast,
        RouteKind::Blackhole => RouteType::BlackHole,
        RouteKind::Unreachable => RouteType::Unreachable,
        RouteKind::Prohibit => RouteType::Prohibit,
        RouteKind::Throw => RouteType::Throw,
    };
    RouteHeader {
        address_family: kernel_family(route.family()),
        destination_prefix_length: route.to.prefix_len(),
        // Tables above 255 travel in RTA_TABLE only.
        table: u8::try_from(route.table).unwrap_or(0),
        protocol: RouteProtocol::from(protocol),
        scope: if route.link_scope { RouteScope::Link } else { RouteScope::Universe },
        kind,
        ..RouteHeader::default()
    }
}

/// The kernel's message for a route.
///
/// # Errors
/// A next hop names a link that is not in `names`.
pub fn message(route: &Route, protocol: u8, names: &LinkNames) -> Result<RouteMessage, NoSuchLink> {
    let index = |name: &String| names.index(name).ok_or_else(|| NoSuchLink(name.clone()));
    let mut message = RouteMessage::default();
    message.header = header_for(route, protocol);
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Table(route.table));
    if route.to.prefix_len() > 0 {
        attributes.push(RouteAttribute::Destination(route.to.addr().into()));
    }
    attributes.extend(route.metric.map(RouteAttribute::Priority));
    attributes.extend(route.source.map(|ip| RouteAttribute::PrefSource(ip.into())));
    attributes.extend(route.mtu.map(|mtu| RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)])));
    match route.next_hops.as_slice() {
        [hop] if hop.weight <= 1 => {
            attributes.extend(hop.gateway.map(|gateway| gateway_attribute(route, gateway)));
            if let Some(name) = &hop.device {
                attributes.push(RouteAttribute::Oif(index(name)?));
            }
            if hop.onlink {
                message.header.flags |= KernelFlags::Onlink;
            }
        }
        hops => {
            let mut out = Vec::new();
            for hop in hops {
                let mut kernel = KernelHop::default();
                kernel.hops = u8::try_from(hop.weight.saturating_sub(1)).unwrap_or(u8::MAX);
                kernel.interface_index = hop.device.as_ref().map(index).transpose()?.unwrap_or(0);
                kernel.attributes.extend(hop.gateway.map(|gateway| gateway_attribute(route, gateway)));
                if hop.onlink {
                    kernel.flags |= RouteNextHopFlags::Onlink;
                }
                out.push(kernel);
            }
            if !out.is_empty() {
                attributes.push(RouteAttribute::MultiPath(out));
            }
        }
    }
    Ok(message)
}

/// A gateway of the route's own family, or of the other one (RFC 5549).
fn gateway_attribute(route: &Route, gateway: IpAddr) -> RouteAttribute {
    match (route.to.addr().is_ipv4(), gateway) {
        (true, IpAddr::V6(v6)) => RouteAttribute::Via(RouteVia::Inet6(v6)),
        (false, IpAddr::V4(v4)) => RouteAttribute::Via(RouteVia::Inet(v4)),
        (_, gateway) => RouteAttribute::Gateway(gateway.into()),
    }
}

/// An observed message as it must be to make the same route again: volatile state is dropped.
pub fn replayed(observed: &RouteMessage) -> RouteMessage {
    let mut message = observed.clone();
    message.header.flags &= KernelFlags::Onlink;
    message.attributes.retain(|attribute| {
        !matches!(attribute, RouteAttribute::CacheInfo(_) | RouteAttribute::Expires(_) | RouteAttribute::MfcStats(_))
    });
    for attribute in &mut message.attributes {
        if let RouteAttribute::MultiPath(hops) = attribute {
            hops.iter_mut().for_each(|hop| hop.flags &= RouteNextHopFlags::Onlink);
        }
    }
    // Next hops in an object must not be given beside it.
    if message.attributes.iter().any(|attribute| matches!(attribute, RouteAttribute::NhId(_))) {
        message.attributes.retain(|attribute| {
            !matches!(
                attribute,
                RouteAttribute::Oif(_)
                    | RouteAttribute::Gateway(_)
                    | RouteAttribute::Via(_)
                    | RouteAttribute::MultiPath(_)
            )
        });
        message.header.flags = KernelFlags::empty();
    }
    message
}

/// An observed message in another table and of another maker.
pub fn in_table(observed: &RouteMessage, table: u32, protocol: u8) -> RouteMessage {
    let mut message = replayed(observed);
    message.header.table = u8::try_from(table).unwrap_or(0);
    message.header.protocol = RouteProtocol::from(protocol);
    message.attributes.retain(|attribute| !matches!(attribute, RouteAttribute::Table(_)));
    message.attributes.push(RouteAttribute::Table(table));
    message
}

/// Adds a route, if there is none with its key.
pub fn add(message: RouteMessage) -> Request {
    Request { message: RouteNetlinkMessage::NewRoute(message), flags: NLM_F_CREATE | NLM_F_EXCL }
}

/// Adds a route behind others with its key, of which the kernel takes the first.
pub fn append(message: RouteMessage) -> Request {
    Request { message: RouteNetlinkMessage::NewRoute(message), flags: NLM_F_CREATE | NLM_F_APPEND }
}

/// Removes a route; the message names table, destination, metric, next hop and protocol.
pub fn remove(message: RouteMessage) -> Request {
    Request { message: RouteNetlinkMessage::DelRoute(message), flags: 0 }
}
