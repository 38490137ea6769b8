//! An IPv6 route with several next hops is several routes for the kernel, all with one key, shown as one.
//!
//! One of them can be removed, and another one added, without the others.

use netlink_packet_route::{
    AddressFamily,
    route::{RouteAttribute, RouteFlags, RouteMessage, RouteNextHop, RouteNextHopFlags},
};

/// The next hops of what is several routes.
pub(super) fn hops_of(message: &RouteMessage) -> Option<&[RouteNextHop]> {
    let is_object = || message.attributes.iter().any(|attribute| matches!(attribute, RouteAttribute::NhId(_)));
    if message.header.address_family != AddressFamily::Inet6 {
        return None;
    }
    let hops = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) if hops.len() > 1 => Some(hops.as_slice()),
        _ => None,
    });
    hops.filter(|_| !is_object())
}

/// One of these routes.
pub(super) fn alone(message: &RouteMessage, hop: &RouteNextHop) -> RouteMessage {
    let mut message = message.clone();
    message.attributes.retain(|attribute| !matches!(attribute, RouteAttribute::MultiPath(_)));
    if hop.hops > 0 {
        message.attributes.push(RouteAttribute::MultiPath(vec![hop.clone()]));
    } else {
        if hop.flags.contains(RouteNextHopFlags::Onlink) {
            message.header.flags |= RouteFlags::Onlink;
        }
        message.attributes.push(RouteAttribute::Oif(hop.interface_index));
        message.attributes.extend(hop.attributes.iter().cloned());
    }
    message
}
