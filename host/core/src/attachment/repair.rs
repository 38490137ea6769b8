//! Repair: makes an attachment what its record says, by the very difference that CHECK names.
//!
//! Only objects that drifted are touched; what the record does not claim is nobody's business here.

use coordinator_sdk::{Drift, Edit, KnownRoute, diff, drifts};
use coordinator_stages::{
    apply::{self, Manner, PodSide, Target},
    kernel::namespace::Inside,
    observe::observe_known,
    sockets::{NodeSockets, PodSockets},
};

use super::{AttachmentError, CheckCall, add::PATIENCE, check::recorded, release::read_routes};
use crate::record::{Record, Share, Store};

/// How often the difference is taken: what comes back by itself may come late and differ once more.
const ATTEMPTS: usize = 3;

/// What a repair found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repaired {
    /// How the attachment had drifted.
    pub drifts: Vec<Drift>,
    /// What was done about it, in kernel order.
    pub edits: Vec<Edit>,
}

/// Repairs an attachment.
///
/// # Errors
/// There is no record of the attachment, the kernel refuses, or the attachment drifts on while it is repaired.
pub fn repair(call: &CheckCall) -> Result<Repaired, AttachmentError> {
    let store = Store::open(&call.places.state)?;
    let lock = store.lock_container(&call.request.container, PATIENCE)?;
    let record = recorded(call, lock.records()?)?;
    let mut node = NodeSockets::open()?;
    call.namespace.enter(|pod| {
        let mut repaired = Repaired::default();
        for attempt in 0..=ATTEMPTS {
            let (found, edits) = difference(&record, pod, &mut node)?;
            if attempt == 0 {
                repaired.drifts = found;
            }
            if edits.is_empty() {
                return Ok(repaired);
            }
            if attempt < ATTEMPTS {
                make(&store, &edits, pod, &mut node)?;
                repaired.edits.extend(edits);
            } else {
                let left = edits.iter().map(ToString::to_string).collect();
                return Err(AttachmentError::Drifting(left));
            }
        }
        Ok(repaired)
    })?
}

/// How the kernel differs from the record now.
fn difference(
    record: &Record,
    pod: &Inside<'_>,
    node: &mut NodeSockets,
) -> Result<(Vec<Drift>, Vec<Edit>), AttachmentError> {
    let lost: Vec<&KnownRoute> = record.lost().collect();
    let now = observe_known(pod, node, &record.after, &lost)?;
    let wanted = record.after.restricted(&record.after.own_keys());
    Ok((drifts(&now, &wanted), diff(&now, &wanted)))
}

fn make(store: &Store, edits: &[Edit], pod: &Inside<'_>, node: &mut NodeSockets) -> Result<(), AttachmentError> {
    let mut sockets = PodSockets::open(pod)?;
    let raw_routes = read_routes(&mut sockets.route)?;
    // Nobody may take the shared rules away while they are laid.
    let _shared = store.lock_node(Share::Shared, PATIENCE)?;
    let side = Some(PodSide { inside: pod, sockets: &mut sockets });
    let mut target = Target { pod: side, node: &mut node.route, raw_routes: &raw_routes };
    let failures = apply::apply(edits, &mut target, Manner::Lenient, None).failures;
    if failures.is_empty() { Ok(()) } else { Err(AttachmentError::Remaining(failures)) }
}
