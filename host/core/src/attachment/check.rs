//! CHECK: whether an attachment is as its record says.

use coordinator_sdk::{Drift, KnownRoute, Request, drifts};
use coordinator_stages::{kernel::namespace::Namespace, observe::observe_known, sockets::NodeSockets};

use super::{AttachmentError, Places, add::PATIENCE};
use crate::record::{Record, State, Store};

/// A CHECK. It needs the record and the kernel only.
#[derive(Debug)]
pub struct CheckCall {
    /// Whom it is about.
    pub request: Request,
    /// The Pod's namespace.
    pub namespace: Namespace,
    /// Where records are kept.
    pub places: Places,
}

/// Compares the kernel with the record; each difference is named.
///
/// # Errors
/// There is no record of the attachment in this namespace, or the kernel cannot be read.
pub fn check(call: &CheckCall) -> Result<Vec<Drift>, AttachmentError> {
    let store = Store::open(&call.places.state)?;
    let lock = store.lock_container(&call.request.container, PATIENCE)?;
    let record = recorded(call, lock.records()?)?;
    let mut node = NodeSockets::open()?;
    // What was moved away must not be back, or packets leave by it.
    let lost: Vec<&KnownRoute> = record.lost().collect();
    let now = call.namespace.enter(|pod| observe_known(pod, &mut node, &record.after, &lost))??;
    Ok(drifts(&now, &record.after.restricted(&record.after.own_keys())))
}

/// The attachment's record, when one was committed in this namespace and no killed call stands beside it.
pub(super) fn recorded(call: &CheckCall, records: Vec<Record>) -> Result<Record, AttachmentError> {
    let interrupted = State::interrupted(&records);
    let record = records.into_iter().find(|record| {
        record.interface == call.request.interface
            && record.namespace.as_ref().is_some_and(|known| known.is(&call.namespace))
    });
    let record = record.filter(|record| !interrupted.contains(&record.interface));
    record.ok_or_else(|| AttachmentError::NotAttached { interface: call.request.interface.to_string() })
}
