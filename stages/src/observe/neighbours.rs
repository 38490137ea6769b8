//! Permanent neighbours, asked for one by one: the kernel keeps those of all namespaces in one table, so
//! listing a Pod's would cost as much as listing the node's.

use std::net::IpAddr;

use coordinator_sdk::{Address, Device, Family, Neighbour, POD_VETH, Side};

use super::{ObserveError, Question, node::NodeView, pod::PodView};
use crate::{
    kernel::{
        neighbour,
        netlink::{NetlinkError, Request},
    },
    sockets::SideSocket,
};

/// The entries that an attachment may make, on both sides, where they are there.
pub(super) fn read(
    pod: &mut PodView,
    node: &mut SideSocket,
    seen: &NodeView,
    question: &Question<'_>,
) -> Result<Vec<Neighbour>, ObserveError> {
    let ips = |addresses: &[Address], is_asked: &dyn Fn(&Address) -> bool| -> Vec<IpAddr> {
        addresses.iter().filter(|address| address.is_global() && is_asked(address)).map(Address::ip).collect()
    };
    let of_node = ips(&seen.model.addresses, &|_| true);
    let of_attached = ips(&pod.model.addresses, &|address| address.device.name == question.attached);
    let in_pod = |source| ObserveError::Netlink { side: Side::Pod, source };
    let on_node = |source| ObserveError::Netlink { side: Side::Node, source };

    let mut found = ask(&mut pod.sockets.route, &Device::pod(POD_VETH), &of_node).map_err(in_pod)?;
    if question.lists_neighbours {
        let attached = Device::pod(question.attached);
        let route = &mut pod.sockets.route;
        if let Some(index) = route.names.index(&attached.name) {
            let entries = neighbour::list(&mut route.netlink, index).map_err(in_pod)?;
            found.extend(entries.into_iter().map(|(ip, mac)| Neighbour { device: attached.clone(), ip, mac }));
        }
    }
    let first = pod.model.link(&Device::pod(question.first)).and_then(|link| link.peer.clone());
    if first.is_some() {
        // Such a pair stands for `veth0` in the families in which it has no address.
        let first = Device::pod(question.first);
        let of_first = ips(&pod.model.addresses, &|address| address.device == first);
        let is_lacking = |ip: &&IpAddr| !of_first.iter().any(|known| Family::of(*known) == Family::of(**ip));
        let beside: Vec<IpAddr> = of_node.iter().filter(is_lacking).copied().collect();
        found.extend(ask(&mut pod.sockets.route, &first, &beside).map_err(in_pod)?);
    }
    for name in [Some(question.node_veth.to_owned()), first].into_iter().flatten() {
        found.extend(ask(node, &Device::node(name), &of_attached).map_err(on_node)?);
    }
    Ok(found)
}

/// The permanent entries of a link for some addresses; none when there is no such link.
fn ask(socket: &mut SideSocket, device: &Device, ips: &[IpAddr]) -> Result<Vec<Neighbour>, NetlinkError> {
    let Some(index) = socket.names.index(&device.name) else { return Ok(Vec::new()) };
    let questions: Vec<_> =
        ips.iter().map(|ip| Request { message: neighbour::question(index, *ip), flags: 0 }).collect();
    let answers = socket.netlink.transact(&questions)?.into_iter().flatten().flatten();
    let entries = answers.filter_map(|answer| neighbour::parse(answer, index));
    Ok(entries.map(|(ip, mac)| Neighbour { device: device.clone(), ip, mac }).collect())
}
