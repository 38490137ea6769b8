//! Keeps a NetworkAttachmentDefinition beside each SpiderMultusConfig.
//!
//! What it writes bears an owner reference to the configuration, so it goes with it; a definition without one is
//! somebody else's and is never changed.

use std::{collections::BTreeMap, sync::Arc};

use coordinator_objects::{
    Kind,
    network::{Attachment, NetworkSpec, render},
};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};
use kube::{
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    core::DynamicObject,
};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use super::Leader;
use crate::api::{ApiError, Backoff, Leadership, MANAGER, Note, Regarding, Severity, Target, View, follow, objects};

/// How many objects are written at once.
const AT_ONCE: usize = 4;

/// Writes definitions whenever they are not what they should be.
pub struct Definitions {
    leader: Leader,
    leadership: watch::Receiver<Leadership>,
    networks: watch::Receiver<View>,
    definitions: watch::Receiver<View>,
}

/// One configuration, and what exists beside it.
struct Network<'v> {
    object: &'v DynamicObject,
    namespace: String,
    name: String,
    uid: String,
    /// The definitions of its namespace that it owns.
    owned: Vec<&'v Arc<DynamicObject>>,
}

impl Definitions {
    /// Begins to watch.
    pub fn new(leader: &Leader, leadership: watch::Receiver<Leadership>) -> Self {
        let follow = |kind: Kind| follow(&leader.client, &leader.meter, Target::all(&[kind]), leader.rhythm);
        let (networks, definitions) = (follow(Kind::NETWORK), follow(Kind::DEFINITION));
        Self { leader: leader.clone(), leadership, networks, definitions }
    }

    /// Compares and writes until it is dropped.
    pub async fn run(mut self) {
        let mut backoff = Backoff::new(self.leader.rhythm.first, self.leader.rhythm.longest);
        loop {
            let pause = match self.compare().await {
                Ok(()) => {
                    backoff.reset();
                    self.leader.resync
                }
                Err(error) => {
                    warn!(%error, "Not every NetworkAttachmentDefinition can be written.");
                    backoff.wait(error.retry_after())
                }
            };
            tokio::select! {
                _ = self.networks.changed() => {}
                _ = self.definitions.changed() => {}
                () = sleep(pause) => {}
            }
        }
    }

    async fn compare(&mut self) -> Result<(), ApiError> {
        let networks = self.networks.borrow_and_update().clone();
        let definitions = self.definitions.borrow_and_update().clone();
        // While the definitions are not known, every one would look as if it were missing.
        if !networks.is_known || !definitions.is_known || definitions.is_absent {
            return Ok(());
        }
        let mut owned: BTreeMap<&str, Vec<&Arc<DynamicObject>>> = BTreeMap::new();
        for definition in definitions.objects.values() {
            for owner in definition.metadata.owner_references.iter().flatten() {
                owned.entry(owner.uid.as_str()).or_default().push(definition);
            }
        }
        let mut work: Vec<BoxFuture<'_, Result<(), ApiError>>> = Vec::new();
        for object in networks.objects.values().filter(|object| object.metadata.deletion_timestamp.is_none()) {
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            let (namespace, name) = (text(&object.metadata.namespace), text(&object.metadata.name));
            let uid = text(&object.metadata.uid);
            let owned = owned.get(uid.as_str()).cloned().unwrap_or_default();
            work.push(self.settle(Network { object, namespace, name, uid, owned }, &definitions).boxed());
        }
        let outcomes: Vec<Result<(), ApiError>> = stream::iter(work).buffer_unordered(AT_ONCE).collect().await;
        outcomes.into_iter().collect()
    }

    async fn settle(&self, network: Network<'_>, definitions: &View) -> Result<(), ApiError> {
        let annotations = network.object.metadata.annotations.clone().unwrap_or_default();
        let spec = network.object.data.get("spec").cloned().unwrap_or_default();
        let rendered = serde_json::from_value::<NetworkSpec>(spec)
            .map_err(|error| format!("the spec is not understood: {error}"))
            .and_then(|spec| render(&network.name, &annotations, &spec).map_err(|error| error.to_string()));
        let attachment = match rendered {
            Ok(attachment) => attachment,
            Err(message) => {
                let message = format!("{message}; the NetworkAttachmentDefinition stays as it is");
                return self.tell(&network, "WrongConfiguration", message).await;
            }
        };
        let there = definitions.objects.get(&format!("{}/{}", network.namespace, attachment.name));
        let is_ours = |object: &DynamicObject| is_owned_by(object, &network.uid);
        if let Some(there) = there {
            if !is_ours(there) {
                let message = format!(
                    "the NetworkAttachmentDefinition {} is there already and is not this object's; give another \
                     name in the annotation {}, or remove it",
                    attachment.name,
                    coordinator_objects::network::CR_NAME
                );
                return self.tell(&network, "NameTaken", message).await;
            }
            if there.metadata.deletion_timestamp.is_some() || says(there, &attachment) {
                return self.remove_others(&network, &attachment.name).await;
            }
        }
        self.apply(&network, &attachment).await?;
        self.remove_others(&network, &attachment.name).await
    }

    async fn tell(&self, network: &Network<'_>, reason: &'static str, message: String) -> Result<(), ApiError> {
        let regarding = Regarding::object(Kind::NETWORK, &network.namespace, &network.name, &network.uid);
        self.leader.events.write(&regarding, &Note { severity: Severity::Warning, reason, message }).await;
        Ok(())
    }

    async fn apply(&self, network: &Network<'_>, attachment: &Attachment) -> Result<(), ApiError> {
        let Some(remaining) = self.leadership.borrow().remaining() else { return Ok(()) };
        let mut spec = json!({});
        if let (Some(config), Some(fields)) = (&attachment.config, spec.as_object_mut()) {
            fields.insert("config".to_owned(), Value::from(config.as_str()));
        }
        let body = json!({
            "apiVersion": Kind::DEFINITION.api_version(),
            "kind": Kind::DEFINITION.kind,
            "metadata": {
                "name": attachment.name, "namespace": network.namespace, "annotations": attachment.annotations,
                "ownerReferences": [{
                    "apiVersion": Kind::NETWORK.api_version(), "kind": Kind::NETWORK.kind, "name": network.name,
                    "uid": network.uid, "controller": true, "blockOwnerDeletion": true,
                }],
            },
            "spec": spec,
        });
        let api = objects(&self.leader.client, Kind::DEFINITION, Some(&network.namespace));
        let parameters = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&body);
        match timeout(remaining, api.patch(&attachment.name, &parameters, &patch)).await {
            Ok(outcome) => outcome?,
            Err(_) => return Err(ApiError::Late(remaining)),
        };
        info!(namespace = network.namespace, name = attachment.name, "NetworkAttachmentDefinition written.");
        Ok(())
    }

    /// Removes what the configuration owned under an earlier name.
    async fn remove_others(&self, network: &Network<'_>, name: &str) -> Result<(), ApiError> {
        let Some(remaining) = self.leadership.borrow().remaining() else { return Ok(()) };
        let api = objects(&self.leader.client, Kind::DEFINITION, Some(&network.namespace));
        for other in &network.owned {
            let known = other.metadata.name.as_deref().unwrap_or_default();
            if known == name || other.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let uid = other.metadata.uid.clone();
            let parameters = DeleteParams {
                preconditions: Some(Preconditions { uid, ..Preconditions::default() }),
                ..DeleteParams::default()
            };
            match timeout(remaining, api.delete(known, &parameters)).await {
                Ok(Ok(_)) => info!(namespace = network.namespace, name = known, "Renamed: the old one is removed."),
                Ok(Err(error)) => match ApiError::from(error) {
                    error if matches!(error.code(), Some(404 | 409)) => {}
                    error => return Err(error),
                },
                Err(_) => return Err(ApiError::Late(remaining)),
            }
        }
        Ok(())
    }
}

fn is_owned_by(object: &DynamicObject, uid: &str) -> bool {
    object.metadata.owner_references.iter().flatten().any(|owner| owner.uid == uid)
}

/// True when a definition says what it should: annotations of others may stand beside ours.
fn says(there: &DynamicObject, wanted: &Attachment) -> bool {
    let config = there.data.pointer("/spec/config").and_then(Value::as_str).filter(|config| !config.is_empty());
    let annotations = there.metadata.annotations.as_ref();
    let has = |(key, value): (&String, &String)| annotations.is_some_and(|all| all.get(key) == Some(value));
    config == wanted.config.as_deref() && wanted.annotations.iter().all(has)
}
