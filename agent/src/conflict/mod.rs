//! What happens after an address conflict: the plugin tells, the agent decides, and says so on the Pod.
//!
//! `report` is what the plugin sends, `socket` where it arrives, `decision` what follows, `release` who is told to give
//! the addresses back.

mod decision;
mod release;
mod report;
mod socket;

use std::{path::PathBuf, sync::Arc};

use coordinator_objects::Kind;
use kube::Client;
use tracing::{info, warn};

use crate::{
    api::{Events, Note, Regarding, Severity, objects, within},
    metrics::Metrics,
};

pub use coordinator_core::conflict_report::{Conflict, ConflictReport, SOCKET};
pub use decision::{Decision, Owner};
pub use release::{ReleaseError, release};
pub use report::parse;
pub use socket::{SocketError, bind, serve};

/// What handling a report needs.
pub struct Desk {
    /// The API.
    pub client: Client,
    /// Where Events go.
    pub events: Arc<Events>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The socket of Spiderpool's agent, who gives out and takes back addresses.
    pub spiderpool: PathBuf,
    /// `SPIDERPOOL_ENABLED_RELEASE_CONFLICT_IPS`.
    pub is_release_enabled: bool,
}

impl Desk {
    /// Decides on a report, has the addresses given back or not, and writes an Event on the Pod.
    pub async fn handle(&self, report: &ConflictReport) {
        let (decision, uid) = match self.owner(report).await {
            Ok(Some((owner, uid))) => (Decision::of(&owner, self.is_release_enabled), uid),
            Ok(None) => (Decision::Keep("the pod is gone".to_owned()), report.pod_uid.clone()),
            Err(error) => (Decision::Keep(format!("its owner is not known: {error}")), report.pod_uid.clone()),
        };
        let outcome = match &decision {
            Decision::Keep(reason) => format!("its addresses are kept: {reason}"),
            Decision::Release => match release(&self.spiderpool, report, &uid).await {
                Ok(true) => "its addresses were given back, so that the next try gets others".to_owned(),
                Ok(false) => "nobody here gives addresses back: Spiderpool's agent does not run".to_owned(),
                Err(error) => format!("its addresses could not be given back: {error}"),
            },
        };
        self.metrics.conflict(if decision == Decision::Release { "release" } else { "keep" });
        let message = format!("{}; {outcome}", report::told(report));
        info!(pod = report.pod_name, namespace = report.pod_namespace, message, "Address conflict.");
        if report.pod_name.is_empty() {
            return;
        }
        let regarding = Regarding::object(Kind::POD, &report.pod_namespace, &report.pod_name, &uid);
        self.events.write(&regarding, &Note { severity: Severity::Warning, reason: "AddressConflict", message }).await;
    }

    /// The Pod's owner and uid; nothing when the Pod is gone, or is another one of that name.
    async fn owner(&self, report: &ConflictReport) -> Result<Option<(Owner, String)>, crate::api::ApiError> {
        if report.pod_name.is_empty() {
            return Ok(None);
        }
        let api = objects(&self.client, Kind::POD, Some(&report.pod_namespace));
        let Some(pod) = within(api.get_metadata_opt(&report.pod_name)).await? else { return Ok(None) };
        let uid = pod.metadata.uid.unwrap_or_default();
        if !report.pod_uid.is_empty() && report.pod_uid != uid {
            warn!(pod = report.pod_name, "Another pod has the name now.");
            return Ok(None);
        }
        let owners = pod.metadata.owner_references.unwrap_or_default();
        let controller = owners.iter().find(|owner| owner.controller == Some(true));
        let owner = controller.map(|owner| Owner {
            api_version: owner.api_version.clone(),
            kind: owner.kind.clone(),
            name: owner.name.clone(),
        });
        Ok(Some((owner.unwrap_or_default(), uid)))
    }
}
