//! The node's defaults: spec and status laid over each other, as the plugin reads them.

use coordinator_core::settings::{Layers, canonical, resolve};
use serde_json::{Map, Value};

use super::Coordinator;

/// A defaults file's content, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults(String);

/// Why there are none to write; the node keeps those that it has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefaultsError {
    /// The leader has not found everything yet.
    #[error("the cluster's prefixes are not known yet: {0}")]
    NotYet(String),
    /// The plugin would refuse every ADD.
    #[error("SpiderCoordinator default has wrong values: {}", .0.join("; "))]
    Wrong(Vec<String>),
}

impl Defaults {
    /// The defaults that follow from the object.
    ///
    /// The status' prefixes stand in the place of the spec's: the leader put those in where nobody else knew any.
    ///
    /// # Errors
    /// The prefixes are not known, or the plugin would refuse a value.
    pub fn of(coordinator: &Coordinator) -> Result<Self, DefaultsError> {
        let status = &coordinator.status;
        let (Some(overlay), Some(service)) = (&status.overlay_pod_cidr, &status.service_cidr) else {
            let reason = if status.reason.is_empty() { "the status is empty" } else { status.reason.as_str() };
            return Err(DefaultsError::NotYet(reason.to_owned()));
        };
        let mut defaults = Map::new();
        for (key, value) in coordinator.settings() {
            defaults.insert(canonical(&key).unwrap_or(&key).to_owned(), value);
        }
        for (name, prefixes) in [("overlayPodCIDR", overlay), ("serviceCIDR", service)] {
            defaults.insert(name.to_owned(), Value::from(prefixes.clone()));
        }
        let problems = match resolve(&Layers { node: Some(&defaults), ..Layers::default() }) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.iter().map(ToString::to_string).collect(),
        };
        if !problems.is_empty() {
            return Err(DefaultsError::Wrong(problems));
        }
        // A map of serde_json's is sorted by key, so the same object always gives the same bytes.
        Ok(Self(format!("{:#}\n", Value::Object(defaults))))
    }

    /// The text to write.
    pub fn text(&self) -> &str {
        &self.0
    }
}
