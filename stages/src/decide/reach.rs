//! Whom the node must reach and whom the Pod must: the addresses that the underlay stages share.

use std::net::IpAddr;

use coordinator_sdk::{Address, Device, Facts, Family, Side};

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
/// prefix of the parent device: any other address in the Pod is its owner's word only.
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

/// The first address of the attached interface in a family: the source of what the Pod sends.
pub(super) fn source(facts: &Facts, family: Family) -> Option<IpAddr> {
    facts.attached_addresses().into_iter().map(Address::ip).find(|ip| Family::of(*ip) == family)
}

/// The node's end of the veth pair, when the pair is there or planned.
pub(super) fn node_end(facts: &Facts) -> Device {
    Device::node(super::node_veth_name(&facts.request.container))
}
