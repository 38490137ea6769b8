//! Keeps SpiderCoordinator's status true.

use std::time::Duration;

use coordinator_objects::{
    Kind,
    coordinator::{Coordinator, NAME, PodCidrType, Situation, Status},
};
use ipnet::IpNet;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tracing::{debug, warn};

use super::{Leader, Watched, blocks, sources::plugin_of_node};
use crate::{
    api::{ApiError, Backoff, Leadership, MANAGER, Note, Regarding, Severity, objects},
    discovery::{CalicoPool, Known, overlay_pod_cidr, service_cidr},
};

/// How many changes of sources are gathered into one look: they tend to come together.
const GATHER: Duration = Duration::from_millis(200);

/// Writes the status whenever it is not what it should be.
pub struct Keeper {
    leader: Leader,
    leadership: watch::Receiver<Leadership>,
    watched: Watched,
    /// The disabled pools whose use is known, when they were looked at, and which of them are used.
    looked: Option<(Vec<CalicoPool>, Instant, Known<Vec<IpNet>>)>,
    backoff: Backoff,
}

impl Keeper {
    /// Begins to watch.
    pub fn new(leader: &Leader, leadership: watch::Receiver<Leadership>) -> Self {
        let backoff = Backoff::new(leader.rhythm.first, leader.rhythm.longest);
        Self { leader: leader.clone(), leadership, watched: Watched::new(leader), looked: None, backoff }
    }

    /// Looks and writes until it is dropped.
    pub async fn run(mut self) {
        loop {
            let pause = match self.look().await {
                Ok(pause) => {
                    self.backoff.reset();
                    pause
                }
                Err(error) => {
                    warn!(%error, "SpiderCoordinator's status cannot be written.");
                    self.backoff.wait(error.retry_after())
                }
            };
            tokio::select! {
                () = self.watched.changed() => sleep(GATHER).await,
                () = sleep(pause) => {}
            }
        }
    }

    /// One comparison; how long until the next one, when nothing changes.
    async fn look(&mut self) -> Result<Duration, ApiError> {
        self.look_at_pools().await;
        let used = self.looked.as_ref().map_or(Known::Unseen, |(_, _, used)| used.clone());
        let plugin = self.leader.cni_directory.as_deref().and_then(plugin_of_node);
        let troubles = self.watched.troubles(self.leader.grace);
        let sources = self.watched.sources(used, plugin);
        let is_overdue = self.watched.is_overdue(self.leader.grace);
        // Before that, what is waited for is looked at again in time to say so.
        let pause = if is_overdue { self.leader.resync } else { self.leader.grace.min(self.leader.resync) };
        let Some(coordinator) = self.watched.coordinator() else {
            debug!("There is no SpiderCoordinator default.");
            return Ok(pause);
        };
        let kind = coordinator.pod_cidr_type().unwrap_or(PodCidrType::None);
        let situation = Situation {
            previous: &coordinator.status,
            generation: coordinator.generation,
            problems: &coordinator.problems(),
            overlay: &overlay_pod_cidr(kind, &sources, &coordinator.given("overlayPodCIDR")),
            service: &service_cidr(&sources, &coordinator.given("serviceCIDR")),
            troubles: &troubles,
            is_overdue,
            now: &crate::api::now(),
        };
        match Status::next(&situation) {
            Some(status) if status != coordinator.status => self.write(&coordinator, &status).await?,
            _ => {}
        }
        Ok(pause)
    }

    /// Reads Calico's blocks when the disabled pools are others than before, or were looked at long ago.
    async fn look_at_pools(&mut self) {
        let disabled = self.watched.disabled_pools();
        if let Some((known, at, used)) = &self.looked
            && *known == disabled
            && matches!(used, Known::Seen(_))
            && (disabled.is_empty() || at.elapsed() < self.leader.resync)
        {
            return;
        }
        let used = if disabled.is_empty() {
            Known::Seen(Vec::new())
        } else {
            match blocks::used_pools(&self.leader.client, &disabled).await {
                Ok(used) => Known::Seen(used),
                Err(error) => {
                    warn!(%error, "Calico's blocks cannot be read.");
                    // What was known of the same pools is better than nothing.
                    let before = self.looked.take().filter(|(known, _, _)| *known == disabled);
                    before.map_or(Known::Unseen, |(_, _, used)| used)
                }
            }
        };
        self.looked = Some((disabled, Instant::now(), used));
    }

    /// Writes the status of the version that was seen; another one is looked at first.
    async fn write(&self, coordinator: &Coordinator, status: &Status) -> Result<(), ApiError> {
        let Some(remaining) = self.leadership.borrow().remaining() else { return Ok(()) };
        let api = objects(&self.leader.client, Kind::COORDINATOR, None);
        let body = json!({
            "apiVersion": Kind::COORDINATOR.api_version(),
            "kind": Kind::COORDINATOR.kind,
            "metadata": {"name": NAME, "resourceVersion": coordinator.resource_version},
            "status": status,
        });
        let parameters = PatchParams::apply(MANAGER).force();
        // When the leadership's time is over, so is the write's.
        let patch = Patch::Apply(&body);
        match timeout(remaining, api.patch_status(NAME, &parameters, &patch)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => match ApiError::from(error) {
                // The watch brings the newer version, and with it the next look.
                error if error.code() == Some(409) => return Ok(()),
                error => return Err(error),
            },
            Err(_) => return Err(ApiError::Late(remaining)),
        }
        if let Some(message) = status.turned_from(&coordinator.status) {
            let severity = if status.phase == Status::SYNCED { Severity::Normal } else { Severity::Warning };
            let reason = if status.phase == Status::SYNCED { "Synced" } else { "NotReady" };
            let regarding = Regarding::object(Kind::COORDINATOR, "", NAME, &coordinator.uid);
            self.leader.events.write(&regarding, &Note { severity, reason, message }).await;
        }
        Ok(())
    }
}
