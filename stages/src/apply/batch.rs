//! Edits that route netlink takes: one datagram, one acknowledgement each.

use std::collections::{BTreeMap, BTreeSet};

use coordinator_sdk::{Edit, KnownRoute, PROTOCOL, Side};

use super::Cause;
use crate::{
    kernel::{
        address, link, neighbour,
        netlink::{NetlinkError, Request},
        route::{self, RouteMessage},
        rule,
    },
    sockets::SideSocket,
};

/// A link number that no link has: deleting it is a request that the kernel refuses.
const NO_LINK: u32 = 0x7fff_ffff;

/// Sends the edits and returns what became of each.
pub(super) fn send(
    edits: &[Edit],
    socket: &mut SideSocket,
    raw_routes: &BTreeMap<u32, RouteMessage>,
    fault: Option<usize>,
) -> Vec<Result<(), Cause>> {
    match try_send(edits, socket, raw_routes, fault) {
        Ok(results) => results,
        Err(error) => vec![Err(error.into())],
    }
}

fn try_send(
    edits: &[Edit],
    socket: &mut SideSocket,
    raw_routes: &BTreeMap<u32, RouteMessage>,
    fault: Option<usize>,
) -> Result<Vec<Result<(), Cause>>, NetlinkError> {
    number_links(edits, socket)?;
    let mut requests = Vec::with_capacity(edits.len());
    let mut owners = Vec::with_capacity(edits.len());
    let mut results: Vec<Result<(), Cause>> = edits.iter().map(|_| Ok(())).collect();
    for (at, edit) in edits.iter().enumerate() {
        let made = match fault == Some(at) {
            true => Ok(vec![link::delete(NO_LINK)]),
            false => requests_for(edit, socket, raw_routes),
        };
        match (made, results.get_mut(at)) {
            (Ok(made), _) => {
                owners.extend(made.iter().map(|_| at));
                requests.extend(made);
            }
            (Err(cause), Some(result)) => *result = Err(cause),
            (Err(_), None) => {}
        }
    }
    for (at, answer) in owners.into_iter().zip(socket.netlink.transact(&requests)?) {
        if let (Err(error), Some(result @ Ok(()))) = (answer, results.get_mut(at)) {
            *result = Err(Cause::Kernel(error));
        }
    }
    Ok(results)
}

/// Asks for the numbers of links that were not seen before.
fn number_links(edits: &[Edit], socket: &mut SideSocket) -> Result<(), NetlinkError> {
    let mut names: BTreeSet<&str> = edits.iter().flat_map(links_of).collect();
    names.retain(|name| socket.names.index(name).is_none());
    let questions: Vec<_> =
        names.iter().map(|name| Request { message: link::question_by_name(name), flags: 0 }).collect();
    for answer in socket.netlink.transact(&questions)?.into_iter().flatten() {
        if let Some(found) = answer.into_iter().find_map(link::parse) {
            socket.names.insert(found.index, &found.name);
        }
    }
    Ok(())
}

fn links_of(edit: &Edit) -> Vec<&str> {
    match edit {
        Edit::RemoveNeighbour(entry) | Edit::AddNeighbour { entry, .. } => vec![&entry.device.name],
        Edit::RemoveAddress(address) | Edit::AddAddress(address) => vec![&address.device.name],
        Edit::SetLink { after, .. } => vec![&after.device.name],
        Edit::RemoveRoute(known) | Edit::AddRoute(known) | Edit::MoveRoute { route: known, .. } => {
            known.route.next_hops.iter().filter_map(|hop| hop.device.as_deref()).collect()
        }
        _ => Vec::new(),
    }
}

fn requests_for(
    edit: &Edit,
    socket: &SideSocket,
    raw_routes: &BTreeMap<u32, RouteMessage>,
) -> Result<Vec<Request>, Cause> {
    let index = |name: &String| socket.names.index(name).ok_or_else(|| Cause::NoLink(name.clone()));
    let message = |known: &KnownRoute| {
        route::message(&known.route, known.protocol, &socket.names).map_err(|missing| Cause::NoLink(missing.0))
    };
    let one = |request| Ok(vec![request]);
    match edit {
        Edit::SetLink { after, .. } => one(link::set(index(&after.device.name)?, after)),
        Edit::AddAddress(address) => one(address::add(index(&address.device.name)?, address.prefix)),
        Edit::RemoveAddress(address) => one(address::remove(index(&address.device.name)?, address.prefix)),
        Edit::AddNeighbour { entry, .. } => one(neighbour::set(index(&entry.device.name)?, entry.ip, entry.mac)),
        Edit::RemoveNeighbour(entry) => one(neighbour::remove(index(&entry.device.name)?, entry.ip)),
        Edit::AddRule(rule) => one(rule::add(rule)),
        Edit::RemoveRule(rule) => one(rule::remove(rule)),
        Edit::AddRoute(known) => match observed(known, raw_routes) {
            Some(raw) => one(route::add(route::replayed(raw))),
            None => one(route::add(message(known)?)),
        },
        Edit::RemoveRoute(known) => one(route::remove(message(known)?)),
        Edit::MoveRoute { route: known, table } => {
            let Some(raw) = raw_routes.get(&known.id) else { return Err(Cause::NoLink(known.route.to.to_string())) };
            Ok(vec![route::add(route::moved(raw, *table)), route::remove(route::replayed(raw))])
        }
        _ => Ok(Vec::new()),
    }
}

/// The kernel's own message of a route that somebody else made and that returns.
fn observed<'r>(known: &KnownRoute, raw_routes: &'r BTreeMap<u32, RouteMessage>) -> Option<&'r RouteMessage> {
    let is_foreign_in_pod = known.protocol != PROTOCOL && known.route.side == Side::Pod;
    raw_routes.get(&known.id).filter(|_| is_foreign_in_pod)
}
