//! Giving objects back: the undo of a failed ADD, DEL, and cleaning up after a killed call.
//!
//! All three are one difference: from what is claimed to what was before. Shared objects of the node
//! go only under its lock, when no record claims them.

use std::collections::BTreeSet;

use coordinator_sdk::{Edit, Family, Key, Model, POD_VETH, diff};
use coordinator_stages::{
    apply::{self, Failure, Manner, PodSide, Target},
    kernel::{link, namespace::Namespace},
    observe::alias_prefix,
    raw_routes::RawRoutes,
    sockets::{PodSockets, SideSocket},
};

use super::{AttachmentError, add::PATIENCE, heirs};
use crate::record::{ContainerLock, Record, Share, Store};

/// Why an attachment is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Its interface leaves the Pod.
    Leaves,
    /// A call was killed; the interface stays.
    Interrupted,
}

/// Whether the Pod's routes must be known with all their attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Routes {
    Read,
    Unread,
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
    let taken;
    let record = match reason {
        Reason::Leaves => {
            taken = heirs::take_along(lock, record, others)?;
            &taken
        }
        Reason::Interrupted => record,
    };
    let mut wanted = heirs::without(lock, record, others)?;
    // A Pod with one interface has no routes that return.
    let routes = match record.lost().next().is_some() || !others.is_empty() {
        true => Routes::Read,
        false => Routes::Unread,
    };
    let failures = reach(record, namespace, routes, |target| {
        if reason == Reason::Leaves && target.pod.is_some() {
            heirs::give_way(record, target.raw_routes, &mut wanted);
            heirs::inherit_default(lock, record, others, target.raw_routes, &mut wanted)?;
        }
        bring_back((store, lock), record, &record.after, &wanted, target)
    })?;
    if failures.is_empty() { Ok(()) } else { Err(AttachmentError::Remaining(failures)) }
}

/// Brings an attachment whose repeated ADD was killed back to what its committed record says.
pub(super) fn revert(
    store: &Store,
    lock: &ContainerLock<'_>,
    intent: &Record,
    committed: &Record,
) -> Result<(), AttachmentError> {
    let claims = |record: &Record| -> BTreeSet<Key> {
        record.after.own_keys().into_iter().chain(record.lost().map(Key::of_route)).collect()
    };
    let (begun, kept) = (claims(intent), claims(committed));
    let mut now = intent.after.clone();
    now.extend(committed.after.restricted(&kept.difference(&begun).cloned().collect()));
    let mut wanted = now.clone();
    wanted.restore(&intent.before, &begun.difference(&kept).cloned().collect());
    wanted.restore(&committed.after, &committed.after.own_keys());
    // The call may have given up, or dropped on its way, anything that it does not claim: all of it is laid again
    // where it is not there, and links are taken for what they were before.
    now = now.differing_from(&committed.after);
    for link in now.links.iter_mut().filter(|link| !begun.contains(&Key::Link(link.device.clone()))) {
        if let Some(old) = committed.before.link(&link.device) {
            *link = old.clone();
        }
    }
    let work = |target: &mut Target<'_>| bring_back((store, lock), intent, &now, &wanted, target);
    let failures = reach(intent, None, Routes::Read, work)?;
    if failures.is_empty() { Ok(()) } else { Err(AttachmentError::Remaining(failures)) }
}

/// Does something to the recorded Pod, when its namespace is still there, and to the node.
fn reach<T: Send>(
    record: &Record,
    namespace: Option<&Namespace>,
    routes: Routes,
    work: impl FnOnce(&mut Target<'_>) -> Result<T, AttachmentError> + Send,
) -> Result<T, AttachmentError> {
    let given = namespace.filter(|given| is_recorded(record, given));
    let reopened = if given.is_some() { None } else { find(record) };
    let mut node = SideSocket::open()?;
    let Some(namespace) = given.or(reopened.as_ref()) else {
        return work(&mut Target { pod: None, node: &mut node, raw_routes: &RawRoutes::default() });
    };
    namespace.enter(|inside| {
        let mut sockets = PodSockets::open(inside)?;
        let raw_routes = match routes {
            Routes::Read => read_routes(&mut sockets.route)?,
            Routes::Unread => RawRoutes::default(),
        };
        let pod = Some(PodSide { inside, sockets: &mut sockets });
        work(&mut Target { pod, node: &mut node, raw_routes: &raw_routes })
    })?
}

/// What the kernel knows of routes that return, or are handed over, beside what the record says.
pub(super) fn read_routes(pod: &mut SideSocket) -> Result<RawRoutes, AttachmentError> {
    for seen in link::list(&mut pod.netlink)? {
        pod.names.insert(seen.index, &seen.name);
    }
    Ok(RawRoutes::read(pod, &Family::ALL)?)
}

fn is_recorded(record: &Record, namespace: &Namespace) -> bool {
    record.namespace.as_ref().is_some_and(|known| known.is(namespace))
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

/// Brings what is `now` to what is `wanted`, as far as the kernel has it, and removes the record when nothing
/// stands in the way.
///
/// What the node's Pods share goes last, together with the record: of several that end at once, one sees that it
/// is the last.
pub(super) fn bring_back(
    (store, lock): (&Store, &ContainerLock<'_>),
    record: &Record,
    now: &Model,
    wanted: &Model,
    target: &mut Target<'_>,
) -> Result<Vec<Failure>, AttachmentError> {
    let edits = diff(now, wanted);
    let (shared, own): (Vec<Edit>, Vec<Edit>) = edits.into_iter().partition(|edit| edit.key().is_shared_on_node());
    let mut failures = apply::apply(&own, target, Manner::Lenient, None).failures;
    if !failures.is_empty() {
        return Ok(failures);
    }
    if !shared.is_empty() {
        let _alone = store.lock_node(Share::Exclusive, PATIENCE)?;
        let whose = (&record.container, &record.interface);
        let mut unclaimed = Vec::new();
        for edit in shared {
            if !store.is_claimed_beside(whose, &edit.key())? {
                unclaimed.push(edit);
            }
        }
        failures.extend(apply::apply(&unclaimed, target, Manner::Lenient, None).failures);
        if failures.is_empty() {
            lock.remove(record)?;
        }
        return Ok(failures);
    }
    lock.remove(record)?;
    Ok(failures)
}
