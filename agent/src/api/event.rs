//! Events: one sentence on an object that a person reads with `kubectl describe`.
//!
//! The same sentence on the same object is one Event that counts, and is written at most once in ten minutes, so
//! that a node in trouble does not bury the API. An Event that cannot be written is logged and fails nothing.

use std::{
    collections::HashMap,
    hash::{Hash as _, Hasher as _},
    time::Duration,
};

use coordinator_objects::Kind;
use jiff::Timestamp;
use kube::{
    Client,
    api::{Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use serde_json::{Value, json};
use tokio::{sync::Mutex, time::Instant};
use tracing::{info, warn};

use super::{objects, within};

/// How long the same Event is not written again.
const QUIET: Duration = Duration::from_secs(600);

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Somebody may want to know.
    Normal,
    /// Somebody should look.
    Warning,
}

/// What an Event is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Regarding {
    /// The kind's `apiVersion`.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The namespace; empty for an object of the whole cluster.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The unique id, where it is known.
    pub uid: String,
}

impl Regarding {
    /// An object of a kind.
    pub fn object(kind: Kind, namespace: &str, name: &str, uid: &str) -> Self {
        let (namespace, name, uid) = (namespace.to_owned(), name.to_owned(), uid.to_owned());
        Self { api_version: kind.api_version(), kind: kind.kind.to_owned(), namespace, name, uid }
    }
}

/// What an Event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// How bad it is.
    pub severity: Severity,
    /// One word for programs.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// Writes Events.
pub struct Events {
    client: Client,
    /// Who writes: the node's name.
    host: String,
    written: Mutex<HashMap<u64, Instant>>,
}

/// The API refuses longer messages.
const LONGEST: usize = 1000;

impl Events {
    /// For one agent.
    pub fn new(client: Client, host: String) -> Self {
        Self { client, host, written: Mutex::default() }
    }

    /// The unique id of an object, without which `kubectl describe` does not show its Events; empty when it is not known.
    pub async fn uid(&self, kind: Kind, namespace: &str, name: &str) -> String {
        let api = objects(&self.client, kind, Some(namespace));
        let found = within(api.get_metadata_opt(name)).await.ok().flatten();
        found.and_then(|object| object.metadata.uid).unwrap_or_default()
    }

    /// Writes an Event, or counts one more of the same.
    pub async fn write(&self, regarding: &Regarding, note: &Note) {
        let message: String = note.message.chars().take(LONGEST).collect();
        info!(object = regarding.name, reason = note.reason, message, "Event.");
        let mut hasher = std::hash::DefaultHasher::new();
        (regarding, note.reason, &message, &self.host).hash(&mut hasher);
        let key = hasher.finish();
        {
            let mut written = self.written.lock().await;
            let now = Instant::now();
            written.retain(|_, at| now.duration_since(*at) < QUIET);
            if written.insert(key, now).is_some() {
                return;
            }
        }
        let name: String = regarding.name.chars().take(200).collect();
        if let Err(error) = self.put(&format!("{name}.{key:016x}"), regarding, note, &message).await {
            warn!(%error, object = regarding.name, "The Event cannot be written.");
        }
    }

    async fn put(&self, name: &str, regarding: &Regarding, note: &Note, message: &str) -> Result<(), super::ApiError> {
        // Events of cluster-wide objects live in `default`.
        let namespace = if regarding.namespace.is_empty() { "default" } else { &regarding.namespace };
        let api = objects(&self.client, Kind::EVENT, Some(namespace));
        let event = self.event(name, namespace, regarding, note, message);
        let object: DynamicObject =
            serde_json::from_value(event).map_err(|e| super::ApiError::Senseless(e.to_string()))?;
        match within(api.create(&PostParams::default(), &object)).await {
            Err(error) if error.code() == Some(409) => {
                let known = within(api.get(name)).await?;
                let count = known.data.get("count").and_then(Value::as_i64).unwrap_or(1).saturating_add(1);
                let more = json!({"count": count, "lastTimestamp": now()});
                within(api.patch(name, &PatchParams::default(), &Patch::Merge(more))).await.map(drop)
            }
            outcome => outcome.map(drop),
        }
    }

    fn event(&self, name: &str, namespace: &str, regarding: &Regarding, note: &Note, message: &str) -> Value {
        let severity = match note.severity {
            Severity::Normal => "Normal",
            Severity::Warning => "Warning",
        };
        let mut involved = json!({"apiVersion": regarding.api_version, "kind": regarding.kind, "name": regarding.name});
        for (key, value) in [("namespace", &regarding.namespace), ("uid", &regarding.uid)] {
            if let (false, Some(fields)) = (value.is_empty(), involved.as_object_mut()) {
                fields.insert(key.to_owned(), Value::from(value.as_str()));
            }
        }
        json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": involved,
            "type": severity, "reason": note.reason, "message": message, "count": 1,
            "firstTimestamp": now(), "lastTimestamp": now(),
            "source": {"component": super::MANAGER, "host": self.host},
            "reportingComponent": super::MANAGER, "reportingInstance": self.host,
        })
    }
}

/// Now, in seconds, RFC 3339.
pub(crate) fn now() -> String {
    let seconds = Timestamp::now().as_second();
    Timestamp::from_second(seconds).unwrap_or_default().to_string()
}
