//! What a call said of its attachment, for people who ask later: nothing acts on it.

use std::collections::{BTreeMap, BTreeSet};

use coordinator_sdk::{Edit, Key, Plan, Projection, Request, Settings, Skipped};
use serde::{Deserialize, Serialize};

use crate::pipeline::Pipeline;

/// Whom an attachment serves, and why it is as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// The Pod's namespace, or empty.
    pub pod_namespace: String,
    /// The Pod's name, or empty.
    pub pod_name: String,
    /// The settings as they were in the end, each with its source.
    pub settings: Settings,
    /// The stages that did not take part.
    pub skipped: Vec<Skipped>,
    /// Why objects are wanted that were there already, so that the plan does not name them.
    pub attributions: Vec<Attribution>,
    /// What stages use whose names do not say it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub uses: BTreeMap<String, String>,
}

/// Why an object is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribution {
    /// The object's key, as it is shown.
    pub object: String,
    /// The stage that asked for it.
    pub stage: String,
    /// Why.
    pub why: String,
}

impl About {
    /// What a call said that ended in this projection.
    pub fn of(
        request: &Request,
        pipeline: &Pipeline,
        projection: &Projection,
        touched: &BTreeSet<Key>,
        plan: &Plan,
    ) -> Self {
        let planned: BTreeSet<Key> = plan.edits.iter().map(|planned| planned.edit.key()).collect();
        let attribution = |key: &Key| {
            let (stage, why) = projection.reason(key)?;
            Some(Attribution { object: key.to_string(), stage: stage.to_owned(), why: why.to_owned() })
        };
        Self {
            pod_namespace: request.pod_namespace.clone(),
            pod_name: request.pod_name.clone(),
            settings: projection.facts().settings.clone(),
            skipped: projection.skipped().to_vec(),
            attributions: touched.difference(&planned).filter_map(attribution).collect(),
            uses: pipeline.uses.clone(),
        }
    }

    /// What a stage uses, as its pipeline says it.
    pub fn uses(&self, stage: &str) -> String {
        self.uses.get(stage).cloned().unwrap_or_else(|| format!("native:{stage}"))
    }
}

/// True for an edit that makes or alters the object; a pair is two links.
pub(super) fn is_about(edit: &Edit, key: &Key) -> bool {
    match (edit, key) {
        (Edit::CreateVeth { pair, .. }, Key::Link(device)) => device.name == pair.pod || device.name == pair.node,
        _ => edit.key() == *key,
    }
}
