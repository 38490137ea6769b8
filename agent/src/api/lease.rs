//! The leader's Lease: what `election` decides, written with the version that was seen, so that one write wins.

use std::time::Duration;

use jiff::Timestamp;
use kube::{Api, Client, api::PostParams, core::DynamicObject};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tracing::{debug, info, warn};

use super::{ApiError, Kind, objects, within};
use crate::election::{Election, Move, Record, Timing};

/// The Lease's name.
const NAME: &str = "coordinator-leader";

/// Whether this process leads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leadership {
    /// Until when it may act; absent when it may not.
    pub until: Option<Instant>,
    /// Who leads, as far as is known.
    pub holder: String,
}

impl Leadership {
    /// How long this process may still act.
    pub fn remaining(&self) -> Option<Duration> {
        let left = self.until?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }
}

/// Campaigns until nobody looks any more, and then gives the Lease back.
pub fn campaign(client: &Client, namespace: &str, identity: &str, timing: Timing) -> watch::Receiver<Leadership> {
    let (sender, receiver) = watch::channel(Leadership::default());
    let candidate = Candidate {
        api: objects(client, Kind::LEASE, Some(namespace)),
        namespace: namespace.to_owned(),
        identity: identity.to_owned(),
        election: Election::new(identity.to_owned(), timing),
        timing,
    };
    tokio::spawn(candidate.run(sender));
    receiver
}

struct Candidate {
    api: Api<DynamicObject>,
    namespace: String,
    identity: String,
    election: Election,
    timing: Timing,
}

impl Candidate {
    async fn run(mut self, sender: watch::Sender<Leadership>) {
        loop {
            if let Err(error) = self.step().await {
                warn!(%error, "The Lease cannot be looked at or written.");
            }
            let now = Leadership { until: self.election.leads_until(), holder: self.election.holder().to_owned() };
            sender.send_if_modified(|before| {
                let led = before.remaining().is_some();
                let leads = now.remaining().is_some();
                if led != leads {
                    info!(leads, holder = now.holder, "Leadership.");
                }
                let is_new = *before != now;
                *before = now;
                is_new
            });
            tokio::select! {
                () = sleep(super::spread(self.timing.retry)) => {}
                () = sender.closed() => return self.give_back().await,
            }
        }
    }

    async fn step(&mut self) -> Result<(), ApiError> {
        let begun = Instant::now();
        // A write that takes longer than leading lasts would come too late.
        let seen = within(self.api.get_opt(NAME)).await?;
        let record = seen.as_ref().map(record_of);
        match self.election.decide(record, begun) {
            Move::Follow => Ok(()),
            Move::Create => self.write(None, begun, 0).await,
            Move::Renew { transitions, .. } | Move::Take { transitions, .. } => {
                self.write(seen.as_ref(), begun, transitions).await
            }
        }
    }

    async fn write(&mut self, seen: Option<&DynamicObject>, begun: Instant, transitions: i64) -> Result<(), ApiError> {
        // The API takes six digits, no more and no fewer.
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        let was_ours = seen.is_some_and(|lease| record_of(lease).holder == self.identity);
        let acquired = seen.filter(|_| was_ours).and_then(|lease| lease.data.pointer("/spec/acquireTime").cloned());
        let spec = json!({
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self.timing.lease.as_secs(),
            "acquireTime": acquired.unwrap_or_else(|| Value::from(now.as_str())),
            "renewTime": now,
            "leaseTransitions": transitions,
        });
        let lease = self.object(seen, spec)?;
        let parameters = PostParams::default();
        let sent = async {
            match seen {
                Some(_) => within(self.api.replace(NAME, &parameters, &lease)).await,
                None => within(self.api.create(&parameters, &lease)).await,
            }
        };
        match timeout(self.timing.deadline, sent).await {
            Ok(Ok(written)) => {
                self.election.decide(Some(record_of(&written)), begun);
                self.election.wrote(begun);
                Ok(())
            }
            Ok(Err(error)) if error.code() == Some(409) => {
                debug!("Somebody else wrote the Lease first.");
                self.election.lost();
                Ok(())
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ApiError::Late(self.timing.deadline)),
        }
    }

    /// The Lease to write; it carries the version that was seen.
    fn object(&self, seen: Option<&DynamicObject>, spec: Value) -> Result<DynamicObject, ApiError> {
        let mut metadata = json!({"name": NAME, "namespace": self.namespace});
        if let (Some(version), Some(fields)) =
            (seen.and_then(|lease| lease.metadata.resource_version.clone()), metadata.as_object_mut())
        {
            fields.insert("resourceVersion".to_owned(), Value::from(version));
        }
        let lease =
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec});
        serde_json::from_value(lease).map_err(|error| ApiError::Senseless(error.to_string()))
    }

    /// So that the next one need not wait for a lease's length.
    async fn give_back(&mut self) {
        if !self.election.leads(Instant::now()) {
            return;
        }
        let Ok(Some(seen)) = within(self.api.get_opt(NAME)).await else { return };
        let record = record_of(&seen);
        if record.holder != self.identity {
            return;
        }
        let spec = json!({"holderIdentity": "", "leaseDurationSeconds": 1, "leaseTransitions": record.transitions});
        if let Ok(lease) = self.object(Some(&seen), spec) {
            let _ = within(self.api.replace(NAME, &PostParams::default(), &lease)).await;
        }
        self.election.lost();
    }
}

fn record_of(lease: &DynamicObject) -> Record {
    let spec = lease.data.get("spec").cloned().unwrap_or_default();
    Record {
        holder: spec.get("holderIdentity").and_then(Value::as_str).unwrap_or_default().to_owned(),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
        transitions: spec.get("leaseTransitions").and_then(Value::as_i64).unwrap_or_default(),
    }
}
