//! DEL: what no other attachment claims goes, and what was moved returns.

use coordinator_stages::kernel::namespace::Namespace;
use tracing::{info, warn};

use super::{
    AttachmentError, DeleteCall,
    add::PATIENCE,
    release::{self, Reason},
};
use crate::record::{Record, State, Store};

/// Deletes an attachment. Without a record there is nothing of ours left, and nothing is done.
///
/// # Errors
/// Something could not be removed; the record is kept, so that DEL can be repeated.
pub fn delete(call: &DeleteCall) -> Result<(), AttachmentError> {
    let store = Store::open(&call.places.state)?;
    let lock = store.lock_container(&call.request.container, PATIENCE)?;
    let mut records = lock.usable_records()?;
    let namespace: Option<&Namespace> = call.namespace.as_ref();
    // A record of a killed ADD goes with the first DEL of its container.
    let interrupted = State::interrupted(&records);
    let is_due =
        |record: &Record| record.interface == call.request.interface || interrupted.contains(&record.interface);
    if !records.iter().any(is_due) {
        info!("Nothing is recorded for this attachment.");
    }
    while let Some(at) = records.iter().position(is_due) {
        let record = records.remove(at);
        if record.state == State::Intent {
            warn!(interface = %record.interface, "Cleaning up after an ADD that did not end.");
        }
        let leaves = record.interface == call.request.interface;
        let reason = if leaves { Reason::Leaves } else { Reason::Interrupted };
        release::release(&store, &lock, &record, &mut records, namespace, reason)?;
    }
    Ok(())
}
