//! Giving objects back: the undo of a failed ADD, DEL, and cleaning up after a killed call.
//!
//! All three are one difference: from what is claimed to what was before. Shared objects of the node
//! go only under its lock, when no record claims them.

use std::collections::{BTreeMap, BTreeSet};

use coordinator_sdk::{ContainerId, Edit, InterfaceName, Key, Model, diff};
use coordinator_stages::{
    apply::{self, Failure, Manner, PodSide, Target},
    kernel::namespace::Namespace,
    observe::SideSocket,
};

use super::{AttachmentError, add::PATIENCE};
use crate::record::{ContainerLock, Record, Share, Store};

/// Removes what a record claims and no other one does, then the record.
///
/// The namespace is used when it is the recorded one; without it only the node is cleaned, which a
/// vanished Pod leaves nothing else of.
pub(super) fn release(
    store: &Store,
    lock: &ContainerLock<'_>,
    record: &Record,
    others: &[Record],
    namespace: Option<&Namespace>,
) -> Result<(), AttachmentError> {
    let mut keys = record.after.own_keys();
    for other in others {
        let claimed = other.after.own_keys();
        keys.retain(|key| !claimed.contains(key));
    }
    let is_recorded = |namespace: &Namespace| {
        let known = record.namespace.as_ref();
        known.is_some_and(|known| (known.device, known.inode) == namespace.identity())
    };
    let recorded = || {
        let path = record.namespace.as_ref().map(|known| known.path.clone())?;
        Namespace::open(&path).ok().filter(|found| is_recorded(found))
    };
    let reopened = match namespace.filter(|given| is_recorded(given)) {
        Some(_) => None,
        None => recorded(),
    };
    let namespace = namespace.filter(|given| is_recorded(given)).or(reopened.as_ref());
    let mut pod_socket = match namespace {
        Some(namespace) => Some(namespace.enter(SideSocket::open)??),
        None => None,
    };
    let mut node = SideSocket::open()?;
    let pod = namespace.zip(pod_socket.as_mut()).map(|(namespace, socket)| PodSide { namespace, socket });
    let raw_routes = BTreeMap::new();
    let mut target = Target { pod, node: &mut node, raw_routes: &raw_routes };
    let whose = (&record.container, &record.interface);
    let failures = bring_back(store, whose, &record.after, &record.before, &keys, &mut target)?;
    if !failures.is_empty() {
        return Err(AttachmentError::Remaining(failures));
    }
    lock.remove(record.interface.as_str())?;
    Ok(())
}

/// Brings the objects with these keys from `now` back to `before`, as far as the kernel has them.
pub(super) fn bring_back(
    store: &Store,
    whose: (&ContainerId, &InterfaceName),
    now: &Model,
    before: &Model,
    keys: &BTreeSet<Key>,
    target: &mut Target<'_>,
) -> Result<Vec<Failure>, AttachmentError> {
    let mut wanted = now.clone();
    wanted.restore(before, keys);
    let edits = diff(now, &wanted);
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
