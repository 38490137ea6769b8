//! Whom the node must reach and whom the Pod must: the addresses that the underlay stages share.

use std::net::IpAddr;

use coordinator_sdk::{
    Address, Device, Facts, Family, KnownRoute, Mode, NextHop, POD_VETH, REPLY_TABLE, Route, Side, TABLE_MAIN,
};
use ipnet::IpNet;

/// Interfaces of container engines and CNI plugins on the node: their addresses are not the node's.
const FOREIGN: [&str; 13] = [
    "docker",
    "cbr",
    "dummy",
    "virbr",
    "lxcbr",
    "veth",
    "lo",
    "cali",
    "flannel",
    "kube-ipvs",
    "cni",
    "vx-submariner",
    "cilium",
];

/// The attached interface's addresses that the node may send to the Pod.
///
/// Those of `prevResult`, and addresses that the Pod made itself (SLAAC) when they lie in an on-link
/// prefix of the parent device: any other address in the Pod is its owner's word only. None of a family in which
/// an overlay Pod has no way to the node.
pub(super) fn served(facts: &Facts) -> Vec<&Address> {
    let parent = facts.attached_link().and_then(|link| link.parent.as_deref());
    let is_on_link = |address: &Address| {
        let mut on_parent = facts
            .model
            .addresses
            .iter()
            .filter(|known| known.device.side == Side::Node && Some(known.device.name.as_str()) == parent);
        on_parent.any(|known| known.prefix.contains(&address.ip()))
    };
    let mut addresses = facts.attached_addresses();
    addresses.retain(|a| a.flags.from_result || a.flags.dynamic && !a.flags.temporary && is_on_link(a));
    // To an overlay Pod that knows no way back, what the node sent would be lost.
    let is_two_way = |family| facts.mode() != Mode::Overlay || through_node(facts, family).is_some();
    addresses.retain(|address| is_two_way(Family::of(address.ip())));
    addresses
}

/// The node's addresses of one family: sources of its routes to the Pod first, then all others.
pub(super) fn of_node(facts: &Facts, family: Family) -> Vec<IpAddr> {
    let addresses = facts.model.addresses.iter().filter(|address| {
        address.device.side == Side::Node && Family::of(address.ip()) == family && address.is_global()
    });
    let is_usable = |a: &&Address| !a.flags.tentative && !a.flags.deprecated && !a.flags.dad_failed;
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    for address in addresses.filter(is_usable) {
        let name = address.device.name.as_str();
        if address.flags.route_source {
            first.push(address.ip());
        } else if name != "lo" && !FOREIGN.iter().any(|prefix| *prefix != "lo" && name.starts_with(prefix)) {
            rest.push(address.ip());
        }
    }
    first.extend(rest);
    let mut unique = Vec::new();
    first.retain(|ip| {
        !unique.contains(ip) && {
            unique.push(*ip);
            true
        }
    });
    first
}

/// The source of what the Pod sends through `veth0`, which has no address: the first interface's address,
/// or the attached one's when the first has none of the family. To a first interface that leads to the node
/// itself the node would answer there.
pub(super) fn source(facts: &Facts, family: Family) -> Option<IpAddr> {
    let first = facts.settings.pod_default_cni_nic.as_str();
    let first = (!is_of_overlay(facts, first)).then(|| Device::pod(first));
    let mut of_both = first
        .into_iter()
        .chain([facts.attached()])
        .flat_map(|device| facts.pod_addresses().filter(move |address| address.device == device).map(Address::ip));
    of_both.find(|ip| Family::of(*ip) == family)
}

/// True for one end of a pair, made by another CNI, whose other end is on the node.
pub(super) fn leads_to_node(facts: &Facts, interface: &str) -> bool {
    let link = facts.model.link(&Device::pod(interface));
    link.is_some_and(|link| matches!(link.kind.as_str(), "veth" | "netkit") && link.peer.is_some() && !link.flags.ours)
}

/// True for an interface that leads to the node and is the way there. A pair that we are called for is none: it leads to
/// a bridge of the node, as Open vSwitch's does, and the way to the node is `veth0`.
pub(super) fn is_of_overlay(facts: &Facts, interface: &str) -> bool {
    let mut ours = facts.others.iter().map(|other| &other.interface).chain([&facts.request.interface]);
    let is_ours = ours.any(|name| name.as_str() == interface);
    leads_to_node(facts, interface) && (facts.mode() == Mode::Overlay || !is_ours)
}

/// The Pod's interface that leads to the node: `veth0`, or an overlay Pod's first interface.
pub(super) fn exit(facts: &Facts) -> Device {
    match facts.mode() {
        Mode::Overlay => Device::pod(facts.settings.pod_default_cni_nic.as_str()),
        _ => Device::pod(POD_VETH),
    }
}

/// The node's end of [`exit`].
pub(super) fn node_end(facts: &Facts) -> Device {
    let of_first = || facts.model.link(&exit(facts)).and_then(|link| link.peer.clone()).map(Device::node);
    let ours = || Device::node(super::node_veth_name(&facts.request.container));
    if facts.mode() == Mode::Overlay { of_first().unwrap_or_else(ours) } else { ours() }
}

/// Whether the node's addresses are neighbours by [`exit`]: by `veth0` always, and by an overlay Pod's first interface
/// in a family in which the overlay gave it no address, and so no router either. Both ends must speak the family then.
pub(super) fn is_beside(facts: &Facts, family: Family) -> bool {
    if facts.mode() != Mode::Overlay {
        return true;
    }
    let exit = exit(facts);
    let has_address = facts.pod_addresses().any(|address| address.device == exit && Family::of(address.ip()) == family);
    let is_silent = |device: Device| {
        let key = format!("net/ipv6/conf/{}/disable_ipv6", device.name);
        family == Family::Ipv6 && facts.model.sysctl(device.side, &key) == Some("1")
    };
    !has_address && !is_silent(exit) && !is_silent(node_end(facts))
}

/// The way through the node, in `main`: next hops and MTU are to be taken over. Its destination is the default.
///
/// Beside a node, an address of it is the router, a permanent neighbour: the one that an earlier attachment
/// took, while the node has it, else the first. By an overlay Pod's first interface it is otherwise that interface's
/// default route, wherever it stands.
pub(super) fn through_node(facts: &Facts, family: Family) -> Option<Route> {
    let exit = exit(facts).name;
    let mut way = Route { link_scope: false, ..Route::direct(Side::Pod, TABLE_MAIN, family.default_prefix(), &exit) };
    if !is_beside(facts, family) {
        let default = default_of(facts, &exit, family)?;
        (way.next_hops, way.mtu) = (default.route.next_hops.clone(), default.route.mtu);
    } else {
        let addresses = of_node(facts, family);
        let taken = router_taken(facts, &exit, family).filter(|ip| addresses.contains(ip));
        let gateway = taken.or(addresses.first().copied());
        way.next_hops = vec![NextHop { gateway: Some(gateway?), device: Some(exit), weight: 1, onlink: false }];
    }
    Some(way)
}

/// What is reached through the node, each with the reason: the node's own addresses, then the configured prefixes.
pub(super) fn behind_node(facts: &Facts, family: Family) -> Vec<(IpNet, String)> {
    let settings = &facts.settings;
    let lists = [
        ("overlayPodCIDR", &settings.overlay_pod_cidr),
        ("serviceCIDR", &settings.service_cidr),
        ("hijackCIDR", &settings.hijack_cidr),
    ];
    let own = of_node(facts, family).into_iter().map(IpNet::from);
    let mut all: Vec<_> =
        own.map(|to| (to, "the node must not be looked for on the Pod's own network".to_owned())).collect();
    for (name, prefixes) in lists {
        for prefix in prefixes.iter().filter(|prefix| Family::of(prefix.addr()) == family) {
            if all.iter().all(|(to, _)| to != prefix) {
                all.push((prefix.trunc(), format!("{name} is reached through the node")));
            }
        }
    }
    all
}

/// The router of the way back that an earlier attachment laid.
fn router_taken(facts: &Facts, exit: &str, family: Family) -> Option<IpAddr> {
    let mut replies = facts.model.routes_of(Side::Pod).filter(|known| {
        let route = &known.route;
        known.flags.ours && route.table == REPLY_TABLE && route.is_default() && route.family() == family
    });
    replies.find(|known| known.route.leaves_only_by(exit))?.route.next_hops.first()?.gateway
}

/// An interface's default route: in `main`, else in a table that it was moved to.
fn default_of<'f>(facts: &'f Facts, interface: &str, family: Family) -> Option<&'f KnownRoute> {
    let mut defaults: Vec<&KnownRoute> = facts.model.routes_of(Side::Pod).collect();
    defaults.retain(|known| {
        known.route.is_default() && known.route.family() == family && known.route.leaves_only_by(interface)
    });
    defaults.sort_by_key(|known| (known.route.table != TABLE_MAIN, known.route.metric));
    defaults.first().copied()
}
