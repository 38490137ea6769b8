//! SpiderCoordinator, the cluster's one object with the defaults of every node.
//!
//! Its spec has the settings' names and `podCIDRType`; its status is what the leader found. Pure: what an API
//! object says, what it means, and what its status should say next. Nothing here asks the API.

mod answer;
mod defaults;
mod pod_cidr_type;
mod status;

use coordinator_core::settings::{Layers, resolve};
use coordinator_sdk::Settings;
use ipnet::IpNet;
use serde_json::{Map, Value};

pub use answer::Answer;
pub use defaults::{Defaults, DefaultsError};
pub use pod_cidr_type::PodCidrType;
pub use status::{Condition, Situation, Status};

/// The name of the one SpiderCoordinator that counts.
pub const NAME: &str = "default";

/// The object, as far as it matters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Coordinator {
    /// Its unique id.
    pub uid: String,
    /// Which version of it was seen.
    pub resource_version: String,
    /// Counts the changes of its spec.
    pub generation: i64,
    /// The settings, by the names of the spec.
    pub spec: Map<String, Value>,
    /// What the leader wrote last.
    pub status: Status,
}

impl Coordinator {
    /// The object that `data` (spec and status) describes. A status of another form counts as none.
    pub fn parse(uid: &str, resource_version: &str, generation: i64, data: &Value) -> Self {
        let spec = data.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
        let status = data.get("status").cloned().unwrap_or_default();
        let status = serde_json::from_value(status).unwrap_or_default();
        Self { uid: uid.to_owned(), resource_version: resource_version.to_owned(), generation, spec, status }
    }

    /// `spec.podCIDRType`.
    ///
    /// # Errors
    /// It is none of the values, in words.
    pub fn pod_cidr_type(&self) -> Result<PodCidrType, String> {
        let given = self.spec.get("podCIDRType").unwrap_or(&Value::Null);
        let text = if given.is_null() { Some("") } else { given.as_str() };
        text.and_then(PodCidrType::parse).ok_or_else(|| {
            let names: Vec<&str> = PodCidrType::NAMES.into_iter().map(|(name, _)| name).collect();
            format!("podCIDRType = {given}: expected one of {}", names.join(", "))
        })
    }

    /// Prefixes that the spec names in `field`; none when they are wrong, which [`Coordinator::problems`] tells.
    pub fn given(&self, field: &str) -> Vec<IpNet> {
        let mut settings = Settings::default();
        let value = self.spec.get(field).unwrap_or(&Value::Null);
        let set = settings.set(field, value, coordinator_sdk::Source::Node);
        let prefixes = if field == "serviceCIDR" { settings.service_cidr } else { settings.overlay_pod_cidr };
        set.map(|_| prefixes).unwrap_or_default()
    }

    /// What the plugin would refuse in the spec, in the plugin's words.
    pub fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = self.pod_cidr_type().err().into_iter().collect();
        let settings = self.settings();
        if let Err(found) = resolve(&Layers { node: Some(&settings), ..Layers::default() }) {
            problems.extend(found.iter().map(ToString::to_string));
        }
        problems
    }

    /// What has no effect, or looks like a mistake; nothing while there are problems.
    pub fn warnings(&self) -> Vec<String> {
        let settings = self.settings();
        let resolved = resolve(&Layers { node: Some(&settings), ..Layers::default() });
        let warnings = resolved.map(|resolved| resolved.warnings).unwrap_or_default();
        // The schema has no such field, which is told as a problem.
        warnings.into_iter().filter(|warning| !warning.starts_with("unknown field")).collect()
    }

    /// The spec without what only the agent reads, and without what has no effect.
    fn settings(&self) -> Map<String, Value> {
        let mut settings = self.spec.clone();
        settings.retain(|key, value| !value.is_null() && !AGENTS_OWN.contains(&key.as_str()));
        settings
    }
}

/// `podCIDRType` is the agent's; the other two are accepted for old configurations' sake, and a default of
/// Spiderpool's schema would otherwise be warned about at each ADD.
const AGENTS_OWN: [&str; 3] = ["podCIDRType", "hostRPFilter", "multusNicPrefix"];

#[cfg(test)]
mod tests;
