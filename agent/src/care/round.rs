//! One look at every attachment of the node.

use std::{collections::BTreeSet, path::Path, time::Duration};

use coordinator_core::{
    attachment::{self, AttachmentError, CheckCall, DeleteCall, Namespace, Places},
    record::{Record, State, Store, StoreError},
};
use coordinator_sdk::{ContainerId, InterfaceName, Key, Request};
use tracing::{debug, warn};

use super::{Life, Name, life_of};

/// How long a container that a call works on is waited for; the next round comes.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is done about an attachment that drifted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Treatment {
    /// It is told.
    #[default]
    Tell,
    /// It is told, and made again as it was.
    Repair,
}

/// Where a round looks, and what it does.
struct At<'a> {
    places: &'a Places,
    namespaces: &'a Path,
    gone: &'a BTreeSet<Name>,
    treatment: Treatment,
}

/// What a round found and did.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Attachments whose namespace is there.
    pub living: usize,
    /// Living ones that are not as they were made.
    pub drifted: Vec<Drifted>,
    /// Attachments whose namespace is gone; the next round releases them.
    pub gone: BTreeSet<Name>,
    /// How many were released.
    pub released: usize,
    /// Attachments of which this process cannot tell.
    pub unknown: usize,
    /// Containers whose records cannot be read.
    pub unreadable: usize,
}

/// An attachment that is not as it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drifted {
    /// The container.
    pub container: ContainerId,
    /// The interface.
    pub interface: InterfaceName,
    /// The Pod's namespace, where it is known.
    pub pod_namespace: String,
    /// The Pod's name, where it is known.
    pub pod_name: String,
    /// True when it is again as it was made.
    pub is_repaired: bool,
    /// Each difference: the kind of object, and what was expected and found.
    pub differences: Vec<(&'static str, String)>,
}

/// Looks at every attachment; those that were `gone` a round before, and still are, are released.
///
/// # Errors
/// The records cannot be listed at all.
pub fn round(
    state: &Path,
    namespaces: &Path,
    gone: &BTreeSet<Name>,
    treatment: Treatment,
) -> Result<Outcome, AttachmentError> {
    let mut outcome = Outcome::default();
    if !state.exists() {
        return Ok(outcome);
    }
    let places = Places { state: state.to_owned(), ..Places::default() };
    let at = At { places: &places, namespaces, gone, treatment };
    let store = Store::open(state)?;
    let containers: Vec<ContainerId> = store.containers()?.collect();
    for container in containers {
        let records = match records_of(&store, &container) {
            Ok(records) => records,
            Err(error) if error.is_locked() => continue,
            Err(error) => {
                warn!(%container, %error, "A record cannot be read; the container's DEL removes it.");
                outcome.unreadable = outcome.unreadable.saturating_add(1);
                continue;
            }
        };
        let interrupted = State::interrupted(&records);
        for record in &records {
            look(record, interrupted.contains(&record.interface), &at, &mut outcome);
        }
    }
    Ok(outcome)
}

fn records_of(store: &Store, container: &ContainerId) -> Result<Vec<Record>, StoreError> {
    store.lock_container(container, PATIENCE)?.records()
}

fn look(record: &Record, is_interrupted: bool, at: &At<'_>, outcome: &mut Outcome) {
    let name = (record.container.clone(), record.interface.clone());
    match life_of(record.namespace.as_ref(), at.namespaces) {
        Life::Unknown => outcome.unknown = outcome.unknown.saturating_add(1),
        Life::Gone if at.gone.contains(&name) => match delete(record, at.places) {
            Ok(()) => outcome.released = outcome.released.saturating_add(1),
            Err(error) => {
                warn!(container = %record.container, %error, "It cannot be released yet.");
                outcome.gone.insert(name);
            }
        },
        Life::Gone => _ = outcome.gone.insert(name),
        Life::Living(path) => {
            outcome.living = outcome.living.saturating_add(1);
            // A call that did not end is the next call's business.
            if !is_interrupted {
                outcome.drifted.extend(check(record, &path, at.places, at.treatment));
            }
        }
    }
}

fn request(record: &Record) -> Request {
    Request {
        container: record.container.clone(),
        interface: record.interface.clone(),
        network: record.network.clone(),
        ..Request::default()
    }
}

/// As the runtime's DEL: under the container's lock the record is read anew, so nothing that came meanwhile is hurt.
fn delete(record: &Record, places: &Places) -> Result<(), AttachmentError> {
    attachment::delete(&DeleteCall { request: request(record), namespace: None, places: places.clone() })
}

fn check(record: &Record, path: &Path, places: &Places, treatment: Treatment) -> Option<Drifted> {
    let namespace = Namespace::open(path).ok()?;
    let call = CheckCall { request: request(record), namespace, places: places.clone() };
    let drifts = match attachment::check(&call) {
        Ok(drifts) if drifts.is_empty() => return None,
        Ok(drifts) => drifts,
        Err(error) => {
            // A DEL came first, or a call works on it.
            debug!(container = %record.container, %error, "Not checked.");
            return None;
        }
    };
    let is_repaired = treatment == Treatment::Repair
        && match attachment::repair(&call) {
            Ok(_) => true,
            Err(error) => {
                warn!(container = %record.container, %error, "It cannot be repaired.");
                false
            }
        };
    Some(Drifted {
        container: record.container.clone(),
        interface: record.interface.clone(),
        pod_namespace: record.about.pod_namespace.clone(),
        pod_name: record.about.pod_name.clone(),
        is_repaired,
        differences: drifts.iter().map(|drift| (kind_of(&drift.key), drift.to_string())).collect(),
    })
}

/// The kind of an object, as a metric's label.
fn kind_of(key: &Key) -> &'static str {
    match key {
        Key::Link(..) => "link",
        Key::Address(..) => "address",
        Key::Route(..) => "route",
        Key::Rule(..) => "rule",
        Key::Neighbour(..) => "neighbour",
        Key::Sysctl(..) => "sysctl",
        Key::Mark(..) => "mark",
    }
}
