//! Addresses by netlink.

use std::net::IpAddr;

use coordinator_sdk::AddressFlags;
use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags as KernelFlags, AddressMessage, AddressScope},
};

use super::netlink::{Netlink, NetlinkError, Request};

/// An address as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelAddress {
    /// The link's number.
    pub index: u32,
    /// Address and prefix length, host bits kept.
    pub prefix: IpNet,
    /// What the kernel says of it.
    pub flags: AddressFlags,
}

/// All addresses, in the kernel's order.
///
/// # Errors
/// As [`Netlink::dump`].
pub fn list(netlink: &mut Netlink) -> Result<Vec<KernelAddress>, NetlinkError> {
    let answers = netlink.dump("addresses", RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    Ok(answers.into_iter().filter_map(parse).collect())
}

fn parse(message: RouteNetlinkMessage) -> Option<KernelAddress> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    let mut local: Option<IpAddr> = None;
    let mut address: Option<IpAddr> = None;
    let mut flags = KernelFlags::empty();
    for attribute in message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(ip),
            AddressAttribute::Address(ip) => address = Some(ip),
            AddressAttribute::Flags(bits) => flags = bits,
            _ => {}
        }
    }
    // IFA_LOCAL is the own address where both are given; IFA_ADDRESS is then the other end.
    let prefix = IpNet::new(local.or(address)?, message.header.prefix_len).ok()?;
    Some(KernelAddress {
        index: message.header.index,
        prefix,
        flags: AddressFlags {
            tentative: flags.contains(KernelFlags::Tentative),
            dad_failed: flags.contains(KernelFlags::Dadfailed),
            deprecated: flags.contains(KernelFlags::Deprecated),
            dynamic: !flags.contains(KernelFlags::Permanent),
            temporary: prefix.addr().is_ipv6() && flags.contains(KernelFlags::Secondary),
            ..AddressFlags::default()
        },
    })
}

fn message(index: u32, prefix: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = if prefix.addr().is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = prefix.prefix_len();
    message.header.index = index;
    message.header.scope = if is_link_local(prefix.addr()) { AddressScope::Link } else { AddressScope::Universe };
    message.attributes = vec![AddressAttribute::Local(prefix.addr()), AddressAttribute::Address(prefix.addr())];
    message
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// Adds an address. A link-local one is for a link of ours, which is point to point: nobody else can have it, and
/// there is nothing to detect.
pub fn add(index: u32, prefix: IpNet) -> Request {
    let mut message = message(index, prefix);
    if prefix.addr().is_ipv6() && is_link_local(prefix.addr()) {
        message.attributes.push(AddressAttribute::Flags(KernelFlags::Nodad));
    }
    Request { message: RouteNetlinkMessage::NewAddress(message), flags: NLM_F_CREATE | NLM_F_EXCL }
}

/// Removes an address.
pub fn remove(index: u32, prefix: IpNet) -> Request {
    Request { message: RouteNetlinkMessage::DelAddress(message(index, prefix)), flags: 0 }
}
