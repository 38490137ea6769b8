//! GC: what belongs to no valid attachment of a network goes, on the node and in living Pods.

use std::collections::BTreeSet;

use coordinator_sdk::{ContainerId, InterfaceName};
use tracing::{info, warn};

use super::{
    AttachmentError, Places,
    add::PATIENCE,
    release::{self, Reason},
};
use crate::record::Store;

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

/// Releases every attachment of the network that is not valid; one that fails does not keep the others.
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
    let is_orphan = |record: &crate::record::Record| {
        record.network == call.network && !call.valid.contains(&(record.container.clone(), record.interface.clone()))
    };
    while let Some(at) = records.iter().position(is_orphan) {
        let record = records.remove(at);
        info!(%container, interface = %record.interface, "No valid attachment: removed.");
        release::release(store, &lock, &record, &mut records, None, Reason::Leaves)?;
    }
    Ok(())
}
