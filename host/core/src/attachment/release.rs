//! Giving objects back: the undo of a failed ADD, DEL, and cleaning up after a killed call.
//!
//! All three are one difference: from what is claimed to what was before. Shared objects of the node
//! go only under its lock, when no record claims them.

use std::net::IpAddr;

use coordinator_sdk::{
    ContainerId, Edit, Family, InterfaceName, Key, KnownRoute, Model, POD_VETH, PROTOCOL, TABLE_MAIN, diff,
};
use coordinator_stages::{
    apply::{self, Failure, Manner, PodSide, Target},
    kernel::{link, namespace::Namespace},
    observe::alias_prefix,
    raw_routes::RawRoutes,
    sockets::{PodSockets, SideSocket},
};

use super::{AttachmentError, add::PATIENCE};
use crate::record::{ContainerLock, Record, Share, Store};

/// Why an attachment is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Its interface leaves the Pod.
    Leaves,
    /// A call was killed; the interface stays.
    Interrupted,
}

/// Removes what a record claims and no other one does, gives back what it moved, then removes the record.
///
/// The namespace is used when it is the recorded one; without it only the node is cleaned, which a
/// vanished Pod leaves nothing else of.
pub(super) fn release(
    store: &Store,
    lock: &ContainerLock<'_>,
    record: &Record,
    others: &mut [Record],
    namespace: Option<&Namespace>,
    reason: Reason,
) -> Result<(), AttachmentError> {
    let mut wanted = without(lock, record, others)?;
    let reopened = match namespace.filter(|given| is_recorded(record, given)) {
        Some(_) => None,
        None => find(record),
    };
    let namespace = namespace.filter(|given| is_recorded(record, given)).or(reopened.as_ref());
    let mut node = SideSocket::open()?;
    let whose = (&record.container, &record.interface);
    let failures = match namespace {
        Some(namespace) => namespace.enter(|inside| {
            let mut sockets = PodSockets::open(inside)?;
            let raw_routes = raw_routes(&mut sockets.route, record, others)?;
            if reason == Reason::Leaves {
                inherit_default(lock, record, others, &raw_routes, &mut wanted)?;
            }
            let pod = Some(PodSide { inside, sockets: &mut sockets });
            let mut target = Target { pod, node: &mut node, raw_routes: &raw_routes };
            bring_back(store, whose, &record.after, &wanted, &mut target)
        })??,
        None => {
            let mut target = Target { pod: None, node: &mut node, raw_routes: &RawRoutes::default() };
            bring_back(store, whose, &record.after, &wanted, &mut target)?
        }
    };
    if !failures.is_empty() {
        return Err(AttachmentError::Remaining(failures));
    }
    lock.remove(record)?;
    Ok(())
}

/// What is wanted without an attachment.
///
/// A shared route whose source is one of the attachment's addresses would go with the address: it is handed
/// over to an attachment that stays, in the records of all that claim it.
fn without(lock: &ContainerLock<'_>, record: &Record, others: &mut [Record]) -> Result<Model, AttachmentError> {
    let mut keys = record.after.own_keys();
    keys.extend(record.lost().map(Key::of_route));
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

/// The default route goes away with the interface that holds it in `main`: one that gave way to it is laid in
/// `main` again, as it was, and stays in its own table too.
fn inherit_default(
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
        let is_going = held.peek().is_some() && held.all(|known| known.route.leaves_only_by(record.interface.as_str()));
        if !is_going || wanted.routes.iter().any(|known| holds(&known)) {
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

/// What the kernel knows of routes that return, or are handed over, beside what the record says.
fn raw_routes(pod: &mut SideSocket, record: &Record, others: &[Record]) -> Result<RawRoutes, AttachmentError> {
    if record.lost().next().is_none() && others.is_empty() {
        return Ok(RawRoutes::default());
    }
    for seen in link::list(&mut pod.netlink)? {
        pod.names.insert(seen.index, &seen.name);
    }
    Ok(RawRoutes::read(pod, &Family::ALL)?)
}

fn is_recorded(record: &Record, namespace: &Namespace) -> bool {
    record.namespace.as_ref().is_some_and(|known| (known.device, known.inode) == namespace.identity())
}

/// The recorded namespace: by its path, else by a process that lives in it.
///
/// The kernel gives a number anew when a namespace has gone, so one that is found by its number alone
/// must hold a link that bears the container's name.
fn find(record: &Record) -> Option<Namespace> {
    let known = record.namespace.as_ref()?;
    let by_path = Namespace::open(&known.path).ok().filter(|found| is_recorded(record, found));
    by_path.or_else(|| {
        let found = Namespace::of_a_process((known.device, known.inode))?;
        let is_ours = found.enter(|_| holds_link_of(record)).ok()?;
        is_ours.then_some(found)
    })
}

fn holds_link_of(record: &Record) -> bool {
    let Ok(mut socket) = SideSocket::open() else { return false };
    let veth = link::by_name(&mut socket.netlink, POD_VETH).ok().flatten();
    let alias = veth.and_then(|veth| veth.alias).unwrap_or_default();
    alias.starts_with(&alias_prefix(&record.container))
}

/// Brings what is `now` to what is `wanted`, as far as the kernel has it.
pub(super) fn bring_back(
    store: &Store,
    whose: (&ContainerId, &InterfaceName),
    now: &Model,
    wanted: &Model,
    target: &mut Target<'_>,
) -> Result<Vec<Failure>, AttachmentError> {
    let edits = diff(now, wanted);
    let (shared, own): (Vec<Edit>, Vec<Edit>) = edits.into_iter().partition(|edit| edit.key().is_shared_on_node());
    let mut failures = Vec::new();
    if !shared.is_empty() {
        let _alone = store.lock_node(Share::Exclusive, PATIENCE)?;
        let mut unclaimed = Vec::new();
        for edit in shared {
            let key = edit.key();
            if !store.any_other(whose, |record| record.after.own_keys().contains(&key))? {
                unclaimed.push(edit);
            }
        }
        failures.extend(apply::apply(&unclaimed, target, Manner::Lenient, None).failures);
    }
    failures.extend(apply::apply(&own, target, Manner::Lenient, None).failures);
    Ok(failures)
}
