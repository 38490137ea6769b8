//! The difference of routes, of which a Pod has the most.

use super::Edit;
use crate::{KnownRoute, Model, PROTOCOL, Side};

/// So many routes may have come or gone in one place for the rest to be found side by side.
const MOST_APART: usize = 16;

/// The edits that bring the routes of one model to those of another.
pub(super) fn route_edits(
    before: &Model,
    after: &Model,
    goes_away: &impl Fn(Side, &str) -> bool,
    is_emptied: &impl Fn(Side, &str) -> bool,
    edits: &mut Vec<Edit>,
) {
    let is_dropped = |known: &KnownRoute| {
        let mut devices = known.route.next_hops.iter().filter_map(|hop| hop.device.as_deref());
        known.route.to.addr().is_ipv4() && devices.any(|device| is_emptied(known.route.side, device))
    };
    let (stays, was) = matched(&before.routes, &after.routes);
    let is_new: Vec<bool> =
        after.routes.iter().zip(&was).map(|(known, was)| was.is_none() || is_dropped(known)).collect();
    let new: Vec<(usize, &KnownRoute)> =
        after.routes.iter().enumerate().zip(&is_new).filter(|(_, is_new)| **is_new).map(|(route, _)| route).collect();
    // Of several routes with one key the kernel takes the first, and a new one becomes the last: those that
    // are to stand behind a new one are laid anew.
    let is_laid_anew = |at: usize, known: &KnownRoute| {
        let mut earlier = new.iter().take_while(|(other, _)| *other < at);
        known.protocol != PROTOCOL && earlier.any(|(_, other)| other.route.has_key_of(&known.route))
    };
    let goes_with_link = |known: &KnownRoute| {
        let mut devices = known.route.next_hops.iter().filter_map(|hop| hop.device.as_deref());
        devices.any(|device| goes_away(known.route.side, device))
    };
    let is_wanted = |known: &KnownRoute, stays: &Option<usize>| stays.is_some_and(|at| !is_laid_anew(at, known));
    let mut gone: Vec<&KnownRoute> = before
        .routes
        .iter()
        .zip(&stays)
        .filter(|(known, stays)| !is_wanted(known, stays) && !goes_with_link(known))
        .map(|(known, _)| known)
        .collect();
    for (at, (known, is_new)) in after.routes.iter().zip(&is_new).enumerate() {
        if !is_new && !is_laid_anew(at, known) {
            continue;
        }
        let is_origin = |old: &&KnownRoute| {
            known.route.side == Side::Pod
                && old.route.table != known.route.table
                && !old.flags.from_router_advertisement
                && old.is_like(known)
        };
        match gone.iter().position(is_origin) {
            Some(at) => {
                let (table, protocol) = (known.route.table, known.protocol);
                edits.push(Edit::MoveRoute { route: gone.remove(at).clone(), table, protocol });
            }
            None => edits.push(Edit::AddRoute(known.clone())),
        }
    }
    edits.extend(gone.into_iter().map(|known| Edit::RemoveRoute(known.clone())));
}

/// Where each route of one list stands in the other one, which says the same and has the same maker; both ways.
///
/// Most stand in both in one order: they are found side by side, and only the rest is looked for.
fn matched(before: &[KnownRoute], after: &[KnownRoute]) -> (Vec<Option<usize>>, Vec<Option<usize>>) {
    let (mut stays, mut was) = (vec![None; before.len()], vec![None; after.len()]);
    let (mut at, mut there) = (0, 0);
    let same = |at: usize, there: usize| {
        before.get(at).zip(after.get(there)).is_some_and(|(before, after)| before.same(after))
    };
    while at < before.len() && there < after.len() {
        if let (true, Some(stays), Some(was)) = (same(at, there), stays.get_mut(at), was.get_mut(there)) {
            (*stays, *was) = (Some(there), Some(at));
        } else if !same(at + 1, there + 1) {
            // Some are there no more, or some are new.
            if let Some(apart) = (1..=MOST_APART).find(|apart| same(at + apart, there)) {
                at += apart;
                continue;
            }
            if let Some(apart) = (1..=MOST_APART).find(|apart| same(at, there + apart)) {
                there += apart;
                continue;
            }
        }
        (at, there) = (at + 1, there + 1);
    }
    let find = |known: &KnownRoute, among: &[KnownRoute]| among.iter().position(|other| other.same(known));
    for (known, stays) in before.iter().zip(&mut stays).filter(|(_, stays)| stays.is_none()) {
        *stays = find(known, after);
    }
    for (known, was) in after.iter().zip(&mut was).filter(|(_, was)| was.is_none()) {
        *was = find(known, before);
    }
    (stays, was)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Route, TABLE_MAIN};

    /// Routes that are told apart by their tables.
    fn routes(tables: impl IntoIterator<Item = u32>) -> Vec<KnownRoute> {
        let to = "10.0.0.0/8".parse().unwrap();
        let route = |table| KnownRoute {
            id: 0,
            route: Route::direct(Side::Pod, table, to, "eth0"),
            protocol: PROTOCOL,
            flags: crate::RouteFlags::default(),
        };
        tables.into_iter().map(route).collect()
    }

    #[test]
    fn routes_are_found_wherever_they_stand() {
        let base: Vec<u32> = (1..60).collect();
        let mut changed: Vec<Vec<u32>> = vec![base.clone(), base.iter().rev().copied().collect(), Vec::new()];
        for at in [0, 1, 30, 57] {
            for count in [1, 2, 20, 40] {
                let mut fewer = base.clone();
                fewer.drain(at..(at + count).min(base.len()));
                let mut more = base.clone();
                more.splice(at..at, (0..).map(|number| 1000 + number).take(count));
                let mut other = base.clone();
                other.splice(at..at + 1, (0..).map(|number| 1000 + number).take(count));
                changed.extend([fewer, more, other]);
            }
        }
        for (before, after) in changed.iter().map(|it| (&base, it)).chain(changed.iter().map(|it| (it, &base))) {
            let (stays, was) = matched(&routes(before.iter().copied()), &routes(after.iter().copied()));
            let place = |table: &u32, among: &[u32]| among.iter().position(|other| other == table);
            assert_eq!(stays, before.iter().map(|table| place(table, after)).collect::<Vec<_>>(), "{after:?}");
            assert_eq!(was, after.iter().map(|table| place(table, before)).collect::<Vec<_>>(), "{after:?}");
        }
        assert_eq!(matched(&routes([TABLE_MAIN; 2]), &routes([TABLE_MAIN])), (vec![Some(0); 2], vec![Some(0)]));
    }
}
