//! The life of an attachment: added, undone when that fails, deleted.
//!
//! The order is the one idea of the project: observe, decide, one difference, apply. What was
//! touched is recorded before the first write, so a process killed at any instruction leaves enough
//! for the next call to clean up. Nothing here knows the CNI protocol.

mod add;
mod asking;
mod check;
mod collect;
mod delete;
mod heirs;
mod look;
mod outlook;
mod plan;
mod ready;
mod release;
mod repair;
mod sweep;

use std::path::PathBuf;

use coordinator_sdk::{Mac, Mode, Request, Settings, VethPair};
pub use coordinator_stages::{
    apply::{Failure, Fault},
    kernel::namespace::{Namespace, NamespaceError},
    observe::ResultAddress,
};
use coordinator_stages::{
    kernel::{netlink::NetlinkError, packet::PacketError},
    observe::ObserveError,
    sockets::SocketError,
};

pub use add::{add, add_with_fault};
pub use check::{CheckCall, check};
pub use collect::{CollectCall, collect};
pub use delete::delete;
pub use look::look;
pub use plan::{Planned, plan};
pub use ready::ready;
pub use repair::{Repaired, repair};
pub use sweep::{Sweep, sweep};

use crate::{conflict_report, pipeline::Pipeline, record::StoreError, runner::RunError};

/// Where the plugin keeps its records.
#[derive(Debug, Clone)]
pub struct Places {
    /// The directory of records and locks.
    pub state: PathBuf,
    /// The socket of our agent, which is told of conflicts when it is there.
    pub agent: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self { state: PathBuf::from("/run/coordinator"), agent: PathBuf::from(conflict_report::SOCKET) }
    }
}

/// An ADD, checked and resolved.
#[derive(Debug)]
pub struct AddCall {
    /// Whom it is about.
    pub request: Request,
    /// What is asked for.
    pub settings: Settings,
    /// The Pod's namespace.
    pub namespace: Namespace,
    /// The attached interface's addresses in `prevResult`.
    pub addresses: Vec<ResultAddress>,
    /// The stages to run.
    pub pipeline: Pipeline,
    /// Where records are kept.
    pub places: Places,
}

impl AddCall {
    /// Whether a stage may give the attached interface another hardware address: the kernel then flushes neighbours.
    fn may_alter_mac(&self) -> bool {
        let by_guest = || self.pipeline.all_guests().any(|(_, guest)| guest.may("pod.link"));
        self.settings.pod_mac_prefix.is_some() || by_guest()
    }
}

/// A DEL. It needs the record and the kernel only.
#[derive(Debug)]
pub struct DeleteCall {
    /// Whom it is about.
    pub request: Request,
    /// The Pod's namespace, when its path still leads to it.
    pub namespace: Option<Namespace>,
    /// Where records are kept.
    pub places: Places,
}

/// What an ADD made, as far as its result shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// The attached interface's hardware address, when policy set it.
    pub mac: Option<Mac>,
    /// The veth pair, when the Pod has one.
    pub veth: Option<VethPair>,
    /// How the attachment is served.
    pub mode: Mode,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// Why an attachment could not be added or deleted.
#[derive(Debug, thiserror::Error)]
pub enum AttachmentError {
    /// The stages came to no end; nothing was changed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The kernel's state could not be read; nothing was changed.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// The kernel refused an edit; everything was undone.
    #[error("stage {stage}: {failure}")]
    Apply {
        /// The stage that asked for the edit.
        stage: String,
        /// Edit and cause.
        failure: Failure,
    },
    /// The kernel refused an edit, and undoing failed too; the record is kept for DEL.
    #[error("{first}; and not everything could be undone: {}", join(.rest))]
    Undo {
        /// What began it.
        first: Box<AttachmentError>,
        /// What could not be undone.
        rest: Vec<Failure>,
    },
    /// The kernel's state changed twice while the attachment was made; everything was undone.
    #[error("the network changed while it was being set up: {0}")]
    Unsteady(Failure),
    /// Other calls changed the container's attachments whenever the wire was asked; everything was undone.
    #[error("other calls changed the pod's attachments while this one asked the wire")]
    Changed,
    /// The attachment was deleted before it was made.
    #[error("the attachment was deleted while its addresses were being looked for on the wire")]
    Overtaken,
    /// The wire cannot be asked; nothing was changed.
    #[error("stage probe cannot ask on {interface}")]
    Packets {
        /// The interface.
        interface: String,
        /// Why.
        source: PacketError,
    },
    /// There is no record of the attachment.
    #[error("no attachment of interface {interface} is recorded for this container and namespace")]
    NotAttached {
        /// The interface.
        interface: String,
    },
    /// The attachment is not as it is wanted, however often it was repaired.
    #[error("the attachment drifts on while it is repaired: {}", .0.join("; "))]
    Drifting(Vec<String>),
    /// Some of what the attachment made could not be removed; the record is kept.
    #[error("cannot remove everything: {}", join(.0))]
    Remaining(Vec<Failure>),
    /// A record could not be read or written, or a lock was not free in time.
    #[error(transparent)]
    Records(#[from] StoreError),
    /// The Pod's namespace cannot be used.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// A socket of the Pod cannot be opened.
    #[error(transparent)]
    Sockets(#[from] SocketError),
    /// A netlink socket cannot be opened.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

fn join(failures: &[Failure]) -> String {
    failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
