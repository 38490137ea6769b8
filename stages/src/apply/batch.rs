//! Edits that route netlink takes: one datagram, and an answer for each.

use std::collections::BTreeSet;

use coordinator_sdk::{Edit, Family, Key, KnownRoute, PROTOCOL, Route, Side};

use super::Cause;
use crate::{
    kernel::{
        address, link, neighbour,
        netlink::{NetlinkError, Request},
        route::{self, RouteMessage},
        rule,
    },
    raw_routes::RawRoutes,
    sockets::SideSocket,
};

/// No link's number: deleting it is a request that the kernel refuses, with an error that nothing else explains.
const NO_LINK: u32 = 0;

/// Sends the edits and returns what became of each.
pub(super) fn send(
    edits: &[Edit],
    socket: &mut SideSocket,
    raw_routes: &RawRoutes,
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
    raw_routes: &RawRoutes,
    fault: Option<usize>,
) -> Result<Vec<Result<(), Cause>>, NetlinkError> {
    number_links(edits, socket)?;
    let mut requests = Vec::with_capacity(edits.len());
    let mut owners = Vec::with_capacity(edits.len());
    let mut keys = BTreeSet::new();
    let mut results: Vec<Result<(), Cause>> = edits.iter().map(|_| Ok(())).collect();
    for (at, edit) in edits.iter().enumerate() {
        let made = match fault == Some(at) {
            true => Ok(vec![link::delete(NO_LINK)]),
            false => requests_for(edit, socket, raw_routes, &mut keys),
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
    raw_routes: &RawRoutes,
    keys: &mut BTreeSet<Key>,
) -> Result<Vec<Request>, Cause> {
    let index = |name: &String| socket.names.index(name).ok_or_else(|| Cause::NoLink(name.clone()));
    let message = |known: &KnownRoute| {
        let mut known = known.clone();
        // The hops stand in an object, which the request must not repeat.
        if known.flags.nexthop_object {
            known.route.next_hops.clear();
        }
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
        Edit::AddRoute(known) => one(laid(known, raw_routes.message(known).map_or_else(|| message(known), Ok)?, keys)),
        Edit::RemoveRoute(known) => {
            // Whatever its source is by now.
            let built =
                || message(&KnownRoute { route: Route { source: None, ..known.route.clone() }, ..known.clone() });
            one(route::remove(raw_routes.observed(known).map_or_else(built, Ok)?))
        }
        Edit::MoveRoute { route: known, table, protocol } => {
            let mut there = known.clone();
            (there.route.table, there.protocol) = (*table, *protocol);
            let added = raw_routes.message(&there).map_or_else(|| message(&there), Ok)?;
            let removed = raw_routes.observed(known).map_or_else(|| message(known), Ok)?;
            Ok(vec![laid(&there, added, keys), route::remove(removed)])
        }
        _ => Ok(Vec::new()),
    }
}

/// What somebody else made and that returns may have others with its key beside it, and so may an IPv6 route, for
/// which each next hop is a route of its own; all else has none.
fn laid(known: &KnownRoute, message: RouteMessage, laid: &mut BTreeSet<Key>) -> Request {
    let is_first = laid.insert(Key::of_route(known));
    let returns = known.protocol != PROTOCOL && known.route.side == Side::Pod;
    let is_sibling = !is_first && known.route.family() == Family::Ipv6;
    if returns || is_sibling { route::append(message) } else { route::add(message) }
}
