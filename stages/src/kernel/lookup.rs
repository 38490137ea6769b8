//! Questions to the kernel's own forwarding table: where would this packet go?
//!
//! The kernel decides as it does for a real packet, by rules, tables, marks and the reverse path filter; nothing is
//! sent and nothing is learned from it (`RTM_GETROUTE`).

use std::net::IpAddr;

use coordinator_sdk::Family;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteType, RouteVia},
};

use super::netlink::{KernelError, Netlink, NetlinkError};

/// A packet that is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Its destination.
    pub to: IpAddr,
    /// Its source; absent when the kernel is to choose one.
    pub from: Option<IpAddr>,
    /// The link by which it comes in; absent for one that is sent from here.
    pub incoming: Option<u32>,
    /// Its mark.
    pub mark: u32,
}

/// What the kernel would do with it.
#[derive(Debug, Clone)]
pub struct Found {
    /// It is for this host itself.
    pub is_local: bool,
    /// The table that decided.
    pub table: u32,
    /// The link by which it leaves.
    pub link: Option<u32>,
    /// The router that it is sent to.
    pub gateway: Option<IpAddr>,
    /// The route that decided.
    pub route: RouteMessage,
}

/// Asks; a refusal says that the packet would be dropped.
///
/// # Errors
/// The conversation fails.
pub fn ask(netlink: &mut Netlink, packet: Packet) -> Result<Result<Found, KernelError>, NetlinkError> {
    let answer = netlink.get(question(packet, RouteFlags::empty()))?;
    let Some(way) = (match answer {
        Ok(messages) => messages.into_iter().find_map(route_of),
        Err(refusal) => return Ok(Err(refusal)),
    }) else {
        return Err(NetlinkError::Decode("no route in the answer".to_owned()));
    };
    let matched = netlink.get(question(packet, RouteFlags::FibMatch))?.ok();
    let route = matched.and_then(|messages| messages.into_iter().find_map(route_of));
    let mut found = Found {
        is_local: way.header.kind == RouteType::Local,
        table: u32::from(way.header.table),
        link: None,
        gateway: None,
        route: route.unwrap_or_else(|| way.clone()),
    };
    for attribute in &way.attributes {
        match attribute {
            RouteAttribute::Table(table) => found.table = *table,
            RouteAttribute::Oif(index) => found.link = Some(*index),
            RouteAttribute::Gateway(address) => found.gateway = ip_of(address),
            RouteAttribute::Via(RouteVia::Inet6(v6)) => found.gateway = Some(IpAddr::V6(*v6)),
            _ => {}
        }
    }
    Ok(Ok(found))
}

fn question(packet: Packet, flags: RouteFlags) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    let (family, length) = match Family::of(packet.to) {
        Family::Ipv4 => (AddressFamily::Inet, 32),
        Family::Ipv6 => (AddressFamily::Inet6, 128),
    };
    message.header.address_family = family;
    message.header.destination_prefix_length = length;
    // For IPv4 the table that decided must be asked for; for IPv6 it is always told, and the flag refused.
    message.header.flags = if packet.to.is_ipv4() { flags | RouteFlags::LookupTable } else { flags };
    message.attributes.push(RouteAttribute::Destination(packet.to.into()));
    if let Some(from) = packet.from {
        message.header.source_prefix_length = length;
        message.attributes.push(RouteAttribute::Source(from.into()));
    }
    message.attributes.extend(packet.incoming.map(RouteAttribute::Iif));
    if packet.mark != 0 {
        message.attributes.push(RouteAttribute::Mark(packet.mark));
    }
    RouteNetlinkMessage::GetRoute(message)
}

fn route_of(answer: RouteNetlinkMessage) -> Option<RouteMessage> {
    match answer {
        RouteNetlinkMessage::NewRoute(message) => Some(message),
        _ => None,
    }
}

fn ip_of(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_local_and_the_rest_is_out_of_reach() {
        super::super::isolated(|| {
            let mut netlink = Netlink::open().unwrap();
            let lo = super::super::link::by_name(&mut netlink, "lo").unwrap().unwrap();
            let up = coordinator_sdk::LinkEdit {
                up: Some(true),
                ..coordinator_sdk::LinkEdit::of(coordinator_sdk::Device::pod("lo"))
            };
            netlink.transact(&[super::super::link::set(lo.index, &up)]).unwrap().pop().unwrap().unwrap();
            for (local, far) in [("127.0.0.1", "203.0.113.1"), ("::1", "2001:db8::1")] {
                let packet = |to: &str| Packet { to: to.parse().unwrap(), from: None, incoming: None, mark: 0 };
                let found = ask(&mut netlink, packet(local)).unwrap().unwrap();
                assert_eq!((found.is_local, found.link), (true, Some(lo.index)), "{local}");
                assert!(ask(&mut netlink, packet(far)).unwrap().is_err(), "{far}");
            }
        });
    }
}
