//! What an attachment that ends takes along, and what it hands over to those of its Pod that stay.
//!
//! Attachments of one Pod share objects, and each record names all that its attachment relies on. An interface that
//! leaves takes everything that serves it alone, whoever made it; what the others need stays, in a form that does
//! not depend on it.

use std::{collections::BTreeSet, net::IpAddr};

use coordinator_sdk::{Device, Family, Key, KnownRoute, Model, PROTOCOL, TABLE_MAIN};
use coordinator_stages::raw_routes::RawRoutes;

use super::AttachmentError;
use crate::record::{ContainerLock, Record};

/// The record with all that serves its interface alone; the records of those that stay forget it.
pub(super) fn take_along(
    lock: &ContainerLock<'_>,
    record: &Record,
    others: &mut [Record],
) -> Result<Record, AttachmentError> {
    let device = Device::pod(record.interface.as_str());
    let mut taken = record.clone();
    let mut forgetful: Vec<&Record> = Vec::new();
    for other in others.iter_mut().filter(|other| other.interface != record.interface) {
        let keys = other.after.keys_of_link(&device, &record.addresses);
        // Its routes that others made go with it, and need not return any more.
        let goes = |known: &KnownRoute| known.route.leaves_only_by(&device.name);
        let goes_by_itself = |known: &KnownRoute| known.protocol != PROTOCOL && goes(known);
        if keys.is_empty() && !other.before.routes.iter().any(goes) && !other.after.routes.iter().any(goes_by_itself) {
            continue;
        }
        let more: BTreeSet<Key> = keys.difference(&taken.after.own_keys()).cloned().collect();
        taken.after.extend(other.after.restricted(&more));
        taken.before.extend(other.before.restricted(&more));
        other.after = other.after.without(&keys);
        other.after.routes.retain(|known| !goes_by_itself(known));
        other.before.routes.retain(|known| !goes(known));
        forgetful.push(other);
    }
    if !forgetful.is_empty() {
        // First: a killed call leaves a record that names them.
        lock.update(&taken)?;
        forgetful.into_iter().try_for_each(|other| lock.update(other))?;
    }
    Ok(taken)
}

/// What is wanted without an attachment.
///
/// A shared route whose source is one of the attachment's addresses would go with the address: it is handed
/// over to an attachment that stays, in the records of all that claim it.
pub(super) fn without(
    lock: &ContainerLock<'_>,
    record: &Record,
    others: &mut [Record],
) -> Result<Model, AttachmentError> {
    let mut keys = record.after.own_keys();
    // Its own default by router advertisement returns with the next one: laid by us, it would share the load with
    // another interface's.
    let returns_by_itself = |known: &&KnownRoute| {
        known.flags.from_router_advertisement && known.route.leaves_only_by(record.interface.as_str())
    };
    keys.extend(record.lost().filter(|known| !returns_by_itself(known)).map(Key::of_route));
    let mut wanted = record.after.clone();
    // The kernel may be as either record of an interrupted call says: each is given back whole.
    let stays = |other: &&mut Record| other.interface != record.interface;
    let heirs: Vec<IpAddr> = others.iter_mut().filter(stays).flat_map(|other| other.addresses.clone()).collect();
    let hand_over = |known: &mut KnownRoute| {
        let is_bound = known.route.source.is_some_and(|ip| record.addresses.contains(&ip));
        if is_bound {
            known.route.source = heirs.iter().find(|ip| Family::of(**ip) == known.route.family()).copied();
        }
        is_bound
    };
    for other in others.iter_mut().filter(stays) {
        let claimed = other.after.own_keys();
        keys.retain(|key| !claimed.contains(key));
        let is_claimed = |known: &KnownRoute| known.protocol == PROTOCOL && claimed.contains(&Key::of_route(known));
        for known in wanted.routes.iter_mut().filter(|known| is_claimed(known)) {
            hand_over(known);
        }
        let handed = other.after.routes.iter_mut().map(hand_over).filter(|is_bound| *is_bound).count();
        if handed > 0 {
            lock.update(other)?;
        }
    }
    wanted.restore(&record.before, &keys);
    Ok(wanted)
}

/// A moved route of the interface that leaves does not return to where one that stays has a route of the same key: it would
/// hide that one (IPv4) or share its packets (IPv6) until the interface is gone.
pub(super) fn give_way(record: &Record, routes: &RawRoutes, wanted: &mut Model) {
    let leaves = |known: &KnownRoute| known.route.leaves_only_by(record.interface.as_str());
    // What the record knows goes or stays as `wanted` says.
    let is_unknown = |known: &&KnownRoute| !record.after.routes.iter().any(|other| other.same(known));
    let others = routes.known().filter(is_unknown).chain(&wanted.routes).filter(|known| !leaves(known));
    let others: Vec<&KnownRoute> = others.collect();
    let gives_way = |lost: &&KnownRoute| leaves(lost) && others.iter().any(|other| other.route.has_key_of(&lost.route));
    let yielding: Vec<&KnownRoute> = record.lost().filter(gives_way).collect();
    wanted.routes.retain(|known| !yielding.iter().any(|lost| lost.same(known)));
}

/// The default route goes away with the interface that holds it in `main`: one that gave way to it is laid in
/// `main` again, as it was, and stays in its own table too.
pub(super) fn inherit_default(
    lock: &ContainerLock<'_>,
    record: &Record,
    others: &mut [Record],
    routes: &RawRoutes,
    wanted: &mut Model,
) -> Result<(), AttachmentError> {
    for family in Family::ALL {
        let holds = |known: &&KnownRoute| {
            known.route.table == TABLE_MAIN && known.route.is_default() && known.route.family() == family
        };
        let mut held = routes.known().filter(holds).peekable();
        let goes = |known: &KnownRoute| known.route.leaves_only_by(record.interface.as_str());
        let is_going = held.peek().is_some() && held.all(goes);
        // One that it inherited itself goes, too.
        if !is_going || wanted.routes.iter().any(|known| holds(&known) && !goes(known)) {
            continue;
        }
        for other in others.iter_mut().filter(|other| other.interface != record.interface) {
            let given: Vec<KnownRoute> = other.lost().filter(holds).cloned().collect();
            if !given.is_empty() {
                wanted.routes.extend(given.clone());
                other.after.routes.extend(given);
                lock.update(other)?;
                break;
            }
        }
    }
    Ok(())
}
