//! GC: what belongs to no valid attachment of a network goes, on the node and in living Pods.

use std::collections::BTreeSet;

use coordinator_sdk::{ContainerId, InterfaceName};
use tracing::{info, warn};

use super::{
    AttachmentError, Places,
    add::PATIENCE,
    release::{self, Reason},
};
use crate::record::{Record, State, Store};

/// A GC.
#[derive(Debug)]
pub struct CollectCall {
    /// The network whose records are looked at; those of others are left alone.
    pub network: String,
    /// The attachments that stay.
    pub valid: BTreeSet<(ContainerId, InterfaceName)>,
    /// Where records are kept.
    pub places: Places,
}

/// Releases every attachment of the network that is not valid, and undoes what killed ADDs of it began; one that
/// fails does not keep the others.
///
/// # Errors
/// The records cannot be listed, or the first failure of a release.
pub fn collect(call: &CollectCall) -> Result<(), AttachmentError> {
    let store = Store::open(&call.places.state)?;
    let containers: Vec<ContainerId> = store.containers()?.collect();
    let mut failed = Ok(());
    for container in containers {
        if let Err(error) = collect_of(call, &store, &container) {
            warn!(%container, %error, "Not everything could be collected.");
            failed = failed.and(Err(error));
        }
    }
    failed
}

fn collect_of(call: &CollectCall, store: &Store, container: &ContainerId) -> Result<(), AttachmentError> {
    let lock = store.lock_container(container, PATIENCE)?;
    let mut records = lock.records()?;
    let is_orphan = |record: &Record| {
        record.network == call.network && !call.valid.contains(&(record.container.clone(), record.interface.clone()))
    };
    while let Some(at) = records.iter().position(is_orphan) {
        let record = records.remove(at);
        info!(%container, interface = %record.interface, "No valid attachment: removed.");
        release::release(store, &lock, &record, &mut records, None, Reason::Leaves)?;
    }
    // The lock is ours: whoever wrote an intent that is still here was killed.
    let is_interrupted = |record: &Record| record.network == call.network && record.state == State::Intent;
    while let Some(at) = records.iter().position(is_interrupted) {
        let intent = records.remove(at);
        info!(%container, interface = %intent.interface, "An ADD did not end: undone.");
        match records.iter().find(|record| record.interface == intent.interface) {
            Some(committed) => release::revert(store, &lock, &intent, committed)?,
            None => release::release(store, &lock, &intent, &mut records, None, Reason::Interrupted)?,
        }
    }
    Ok(())
}
