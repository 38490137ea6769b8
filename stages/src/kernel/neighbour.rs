//! Permanent neighbours by netlink.

use std::net::IpAddr;

use coordinator_sdk::Mac;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
    route::RouteType,
};

use super::netlink::{Netlink, NetlinkError, Request};

/// The permanent neighbours on one link.
///
/// # Errors
/// As [`Netlink::dump`].
pub fn list(netlink: &mut Netlink, index: u32) -> Result<Vec<(IpAddr, Mac)>, NetlinkError> {
    let mut question = NeighbourMessage::default();
    // The kernel shows one link's, but looks at those of all namespaces.
    question.attributes.push(NeighbourAttribute::IfIndex(index));
    let answers = netlink.dump("neighbours", RouteNetlinkMessage::GetNeighbour(question))?;
    Ok(answers.into_iter().filter_map(|answer| parse(answer, index)).collect())
}

/// The question for one entry.
pub fn question(index: u32, ip: IpAddr) -> RouteNetlinkMessage {
    let mut message = message(index, ip);
    message.header.kind = RouteType::Unspec;
    RouteNetlinkMessage::GetNeighbour(message)
}

/// The permanent entry in an answer.
pub fn parse(message: RouteNetlinkMessage, index: u32) -> Option<(IpAddr, Mac)> {
    let RouteNetlinkMessage::NewNeighbour(message) = message else { return None };
    if message.header.state != NeighbourState::Permanent || message.header.ifindex != index {
        return None;
    }
    let mut ip = None;
    let mut mac = None;
    for attribute in message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => ip = Some(IpAddr::V4(v4)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => ip = Some(IpAddr::V6(v6)),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.as_slice().try_into().ok().map(Mac),
            _ => {}
        }
    }
    Some((ip?, mac?))
}

fn message(index: u32, ip: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.ifindex = index;
    message.header.kind = RouteType::Unicast;
    let destination = match ip {
        IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
        IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
    };
    message.attributes.push(NeighbourAttribute::Destination(destination));
    message
}

/// Adds a permanent neighbour, in place of an entry that was learned.
pub fn set(index: u32, ip: IpAddr, mac: Mac) -> Request {
    let mut message = message(index, ip);
    message.header.state = NeighbourState::Permanent;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    Request { message: RouteNetlinkMessage::NewNeighbour(message), flags: NLM_F_CREATE | NLM_F_REPLACE }
}

/// Removes a neighbour.
pub fn remove(index: u32, ip: IpAddr) -> Request {
    Request { message: RouteNetlinkMessage::DelNeighbour(message(index, ip)), flags: 0 }
}
