//! The agent's care for the attachments of its node: runtimes call neither GC nor CHECK, so it does.
//!
//! A round looks at every record. Where the Pod's namespace is gone, and was gone a round before, the attachment is
//! released, exactly as a DEL of it would; where it lives, the kernel is compared with the record, and what drifted is
//! counted, logged, told on the Pod, and repaired where that is asked for. It needs the node's network namespace and `/run/coordinator`, and no API: what
//! is released is decided by the kernel alone.

mod life;
mod round;

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use coordinator_objects::Kind;
use coordinator_sdk::{ContainerId, InterfaceName};
use tracing::{error, info, warn};

use crate::{
    api::{Events, Note, Regarding, Severity},
    metrics::Metrics,
};

pub use life::{Life, life_of};
pub use round::{Drifted, Outcome, Treatment, round};

/// What a round needs.
#[derive(Clone)]
pub struct Care {
    /// The plugin's records.
    pub state: PathBuf,
    /// Where the runtime keeps network namespaces, as this process sees it.
    pub namespaces: PathBuf,
    /// The time between two rounds.
    pub every: Duration,
    /// What is done about drift.
    pub treatment: Treatment,
    /// Where Events go.
    pub events: Arc<Events>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// An attachment by its two names.
pub type Name = (ContainerId, InterfaceName);

impl Care {
    /// Goes round for ever.
    pub async fn run(&self) {
        let mut gone = BTreeSet::new();
        loop {
            tokio::time::sleep(crate::api::spread(self.every)).await;
            let (state, namespaces, before) = (self.state.clone(), self.namespaces.clone(), gone.clone());
            let treatment = self.treatment;
            // The kernel is asked synchronously.
            match tokio::task::spawn_blocking(move || round(&state, &namespaces, &before, treatment)).await {
                Ok(Ok(outcome)) => {
                    self.tell(&outcome).await;
                    gone = outcome.gone;
                }
                Ok(Err(error)) => warn!(%error, "The records cannot be looked at."),
                Err(error) => error!(%error, "A round ended early."),
            }
        }
    }

    /// Counts, logs and tells what a round found.
    pub async fn tell(&self, outcome: &Outcome) {
        for (state, count) in [
            ("living", outcome.living),
            ("drifted", outcome.drifted.len()),
            ("gone", outcome.gone.len()),
            ("unknown", outcome.unknown),
            ("unreadable", outcome.unreadable),
        ] {
            self.metrics.attachments(state, count);
        }
        self.metrics.released.inc_by(u64::try_from(outcome.released).unwrap_or_default());
        if outcome.released > 0 {
            info!(count = outcome.released, "Attachments of vanished pods were released.");
        }
        for drifted in &outcome.drifted {
            for (kind, _) in &drifted.differences {
                self.metrics.drift(kind);
            }
            let lines: Vec<&str> = drifted.differences.iter().map(|(_, line)| line.as_str()).collect();
            let end = if drifted.is_repaired { "; it was repaired" } else { "" };
            let message = format!("interface {} is not as it was made: {}{end}", drifted.interface, lines.join("; "));
            warn!(container = %drifted.container, message, "Drift.");
            if drifted.pod_name.is_empty() {
                continue;
            }
            let uid = self.events.uid(Kind::POD, &drifted.pod_namespace, &drifted.pod_name).await;
            let regarding = Regarding::object(Kind::POD, &drifted.pod_namespace, &drifted.pod_name, &uid);
            let note = Note { severity: Severity::Warning, reason: "NetworkDrift", message };
            self.events.write(&regarding, &note).await;
        }
    }
}
