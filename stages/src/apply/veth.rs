//! The veth pair: made from the node with one end in the Pod, deleted only when it is ours.

use std::os::fd::AsFd;

use coordinator_sdk::{Edit, Side};

use super::{Cause, PodSide};
use crate::{
    kernel::{
        link,
        netlink::{Answer, Request},
    },
    sockets::SideSocket,
};

/// Makes the pair and claims both ends by their ifalias.
///
/// One datagram makes it and asks for it: the node's end names the number of the Pod's end.
pub(super) fn create(
    edit: &Edit,
    pod: &mut PodSide<'_>,
    node: &mut SideSocket,
    fault: Option<usize>,
) -> Result<(), Cause> {
    let Edit::CreateVeth { pair, alias } = edit else { return Ok(()) };
    if fault.is_some() {
        return Err(Cause::Injected);
    }
    let question = Request { message: link::question_by_name(&pair.node), flags: 0 };
    let mut answers =
        node.netlink.transact(&[link::create_veth(pair, pod.inside.namespace().as_fd()), question])?.into_iter();
    accepted(answers.next())?;
    let shown = answers.next().and_then(Result::ok).and_then(|found| found.into_iter().find_map(link::parse));
    let (index, peer) = match shown.map(|end| (end.index, end.lower)) {
        Some((index, Some(peer))) => (index, peer),
        _ => return Err(Cause::NoLink(pair.node.clone())),
    };
    node.names.insert(index, &pair.node);
    pod.sockets.route.names.insert(peer, &pair.pod);
    all_accepted(node.netlink.transact(&link::claim(index, alias))?)?;
    all_accepted(pod.sockets.route.netlink.transact(&link::claim(peer, alias))?)
}

/// Waits until the node's end carries packets.
///
/// That a link has a carrier is noticed by a worker of the kernel's, and until then it drops what is sent. A link that
/// is asked for is looked at there and then (seen on Linux 6.18).
pub(super) fn settle(edit: &Edit, node: &mut SideSocket) {
    if let Edit::CreateVeth { pair, .. } = edit {
        // Whatever the answer, the pair is made.
        let _ = node.netlink.get(link::question_by_name(&pair.node));
    }
}

/// Deletes a link whose ifalias is the recorded one, or that was made but not yet given it.
pub(super) fn delete(
    edit: &Edit,
    pod: Option<&mut PodSide<'_>>,
    node: &mut SideSocket,
    fault: Option<usize>,
) -> Result<(), Cause> {
    let Edit::DeleteLink { device, alias, mac } = edit else { return Ok(()) };
    if fault.is_some() {
        return Err(Cause::Injected);
    }
    let socket = match (device.side, pod) {
        (Side::Pod, Some(pod)) => &mut pod.sockets.route,
        (Side::Pod, None) => return Err(Cause::NoPod),
        (Side::Node, _) => node,
    };
    let Some(found) = link::by_name(&mut socket.netlink, &device.name)? else {
        return Err(Cause::NoLink(device.name.clone()));
    };
    let is_recorded = found.alias.is_some() && found.alias == *alias;
    let is_half_made = found.alias.is_none() && found.kind == "veth" && mac.is_some() && found.mac == *mac;
    if !is_recorded && !is_half_made {
        return Err(Cause::NotOurs(found.alias));
    }
    accepted(socket.netlink.transact(&[link::delete(found.index)])?.pop())
}

fn all_accepted(answers: Vec<Answer>) -> Result<(), Cause> {
    answers.into_iter().try_for_each(|answer| accepted(Some(answer)))
}

fn accepted(answer: Option<Answer>) -> Result<(), Cause> {
    match answer {
        Some(Err(error)) => Err(Cause::Kernel(error)),
        _ => Ok(()),
    }
}
