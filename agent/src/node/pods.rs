//! Files of Pods that choose where their default route stays, by the annotation `ipam.spidernet.io/default-route-nic`.
//!
//! Only the metadata of this node's own Pods is watched. The plugin looks for one file by the Pod's name; most Pods have
//! none. A Pod whose annotation is no interface's name gets none either, and an Event says so.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use coordinator_core::node_defaults::{POD_FOLDER, pod_file, pod_text};
use coordinator_objects::Kind;
use coordinator_sdk::InterfaceName;
use kube::Client;
use tracing::{error, info};

use super::write;
use crate::api::{Events, Meter, Note, Part, Regarding, Rhythm, Severity, Target, View, follow};

/// The annotation.
pub const ANNOTATION: &str = "ipam.spidernet.io/default-route-nic";

/// Keeps the files.
pub struct Pods {
    /// The API.
    pub client: Client,
    /// Its counts.
    pub meter: Meter,
    /// How watches go on.
    pub rhythm: Rhythm,
    /// Where Events go.
    pub events: Arc<Events>,
    /// The node's name.
    pub node: String,
    /// The defaults file; the folder is beside it.
    pub defaults: PathBuf,
}

/// An annotation that is no interface's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    namespace: String,
    name: String,
    uid: String,
    value: String,
}

impl Pods {
    /// Follows the node's Pods until it is dropped.
    pub async fn run(&self) {
        let target = Target {
            fields: format!("spec.nodeName={}", self.node),
            part: Part::Metadata,
            ..Target::all(&[Kind::POD])
        };
        let mut view = follow(&self.client, &self.meter, target, self.rhythm);
        while view.changed().await.is_ok() {
            let seen = view.borrow_and_update().clone();
            for wrong in settle(&self.defaults, &seen) {
                let message =
                    format!("annotation {ANNOTATION} = {:?} is no interface's name: it has no effect", wrong.value);
                let regarding = Regarding::object(Kind::POD, &wrong.namespace, &wrong.name, &wrong.uid);
                let note = Note { severity: Severity::Warning, reason: "WrongAnnotation", message };
                self.events.write(&regarding, &note).await;
            }
        }
    }
}

/// Makes the folder hold the files of the Pods that are seen, and no others; annotations that are wrong.
pub fn settle(defaults: &Path, view: &View) -> Vec<Wrong> {
    // Before the Pods are known, every file would look as if its Pod were gone.
    if !view.is_known {
        return Vec::new();
    }
    let mut wanted = BTreeMap::new();
    let mut wrong = Vec::new();
    for pod in view.objects.values() {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let (namespace, name) = (text(&pod.metadata.namespace), text(&pod.metadata.name));
        let value = pod.metadata.annotations.as_ref().and_then(|all| all.get(ANNOTATION));
        let Some(value) = value.map(|value| value.trim()).filter(|value| !value.is_empty()) else { continue };
        match (value.parse::<InterfaceName>(), pod_file(defaults, &namespace, &name)) {
            (Ok(interface), Some(file)) => _ = wanted.insert(file, interface),
            _ => wrong.push(Wrong { namespace, name, uid: text(&pod.metadata.uid), value: value.to_owned() }),
        }
    }
    let known = fs::read_dir(defaults.with_file_name(POD_FOLDER)).into_iter().flatten().flatten();
    for file in known.map(|entry| entry.path()).filter(|file| !wanted.contains_key(file)) {
        if let Err(error) = fs::remove_file(&file) {
            error!(%error, file = %file.display(), "A Pod's file cannot be removed.");
        }
    }
    for (file, interface) in wanted {
        match write(&file, &pod_text(&interface)) {
            Ok(true) => info!(file = %file.display(), %interface, "A Pod chooses its default route."),
            Ok(false) => {}
            Err(error) => error!(%error, "A Pod's choice cannot be written."),
        }
    }
    wrong
}
