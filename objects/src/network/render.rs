//! From SpiderMultusConfig to NetworkAttachmentDefinition: the whole chain, ours at its place in it.

use std::collections::BTreeMap;

use coordinator_core::settings::{Layers, canonical, resolve};
use serde_json::{Map, Value, json};

use super::{CNI_VERSION, CONFIGURATION_NAME, CR_NAME, NetworkSpec, plugin};

/// The version of a configuration where nobody asks for another one.
const DEFAULT_VERSION: &str = "0.3.1";
/// Versions that the chain's plugins speak.
const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
/// An annotation of kubectl's that would bring the object's old text along.
const NOT_PASSED_ON: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What a NetworkAttachmentDefinition says; its owner and its namespace are the configuration's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Its name.
    pub name: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// `spec.config`; nothing when the runtime is to read a file of the network's name.
    pub config: Option<String>,
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct RenderError(pub Vec<String>);

/// The definition of the network called `name`.
///
/// # Errors
/// Every problem of the spec and of the annotations.
///
/// ```
/// use coordinator_objects::network::{NetworkSpec, render};
///
/// let spec: NetworkSpec = serde_json::from_value(serde_json::json!({
///     "cniType": "macvlan", "macvlan": {"master": ["ens1"]}, "coordinator": {"mode": "underlay"},
/// })).unwrap();
/// let definition = render("storage", &Default::default(), &spec).unwrap();
/// assert!(definition.config.unwrap().contains(r#"{"mode":"underlay","type":"coordinator"}"#));
/// ```
pub fn render(
    name: &str,
    annotations: &BTreeMap<String, String>,
    spec: &NetworkSpec,
) -> Result<Attachment, RenderError> {
    let mut problems = Vec::new();
    let annotation = |key: &str| annotations.get(key).map(String::as_str).filter(|value| !value.is_empty());
    let definition = annotation(CR_NAME).unwrap_or(name);
    if !is_object_name(definition) {
        problems.push(format!("annotation {CR_NAME} = {definition:?}: expected an object's name, such as {name}"));
    }
    let version = annotation(CNI_VERSION).unwrap_or(DEFAULT_VERSION);
    if !VERSIONS.contains(&version) {
        problems.push(format!("annotation {CNI_VERSION} = {version:?}: expected one of {}", VERSIONS.join(", ")));
    }
    let mut passed_on = annotations.clone();
    passed_on.remove(NOT_PASSED_ON);
    let network = annotation(CONFIGURATION_NAME).unwrap_or(definition);
    let config = match spec.cni_type.as_deref().filter(|kind| !kind.is_empty()).unwrap_or("custom") {
        "custom" => custom(spec, &mut problems),
        kind => chained(kind, spec, (network, version), &mut passed_on, &mut problems),
    };
    if problems.is_empty() {
        Ok(Attachment { name: definition.to_owned(), annotations: passed_on, config })
    } else {
        Err(RenderError(problems))
    }
}

/// The configuration is the user's, word for word; it may be absent.
fn custom(spec: &NetworkSpec, problems: &mut Vec<String>) -> Option<String> {
    let text = spec.custom_cni.as_deref().filter(|text| !text.trim().is_empty())?;
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(_)) => return Some(text.to_owned()),
        Ok(_) => problems.push("customCNI is not a JSON object".to_owned()),
        Err(error) => problems.push(format!("customCNI is not JSON: {error}")),
    }
    None
}

fn chained(
    kind: &str,
    spec: &NetworkSpec,
    (network, version): (&str, &str),
    annotations: &mut BTreeMap<String, String>,
    problems: &mut Vec<String>,
) -> Option<String> {
    let has_ipam = spec.ipam.as_ref().and_then(|ipam| ipam.enabled).unwrap_or(spec.disable_ipam != Some(true));
    let chain = plugin::chain(kind, spec, has_ipam, problems);
    let coordinator = ours(spec.coordinator.as_ref(), problems);
    let more = more(spec.chain_cni_json_data.as_deref().unwrap_or_default(), problems);
    let plugin::Chain { mut plugins, annotations: needed } = chain?;
    if spec.enable_coordinator != Some(false) {
        plugins.push(coordinator);
    }
    plugins.extend(more);
    annotations.extend(needed);
    Some(json!({"cniVersion": version, "name": network, "plugins": plugins}).to_string())
}

/// Our plugin's entry: the settings that the spec has, by the names of the CNI configuration.
fn ours(settings: Option<&Map<String, Value>>, problems: &mut Vec<String>) -> Value {
    let mut entry = Map::new();
    for (key, value) in settings.into_iter().flatten() {
        // `podCIDRType` has its place in SpiderCoordinator; Spiderpool's schema allows it here all the same.
        if !value.is_null() && key != "podCIDRType" {
            entry.insert(canonical(key).unwrap_or(key).to_owned(), value.clone());
        }
    }
    if let Err(found) = resolve(&Layers { configuration: Some(&entry), ..Layers::default() }) {
        problems.extend(found.iter().map(|problem| format!("coordinator.{problem}")));
    }
    entry.insert("type".to_owned(), json!("coordinator"));
    Value::Object(entry)
}

fn more(texts: &[String], problems: &mut Vec<String>) -> Vec<Value> {
    let mut plugins = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        match serde_json::from_str::<Value>(text) {
            Ok(plugin) if plugin.get("type").is_some_and(Value::is_string) => plugins.push(plugin),
            Ok(_) => problems.push(format!("chainCNIJsonData[{at}] has no type: expected a plugin's configuration")),
            Err(error) => problems.push(format!("chainCNIJsonData[{at}] is not JSON: {error}")),
        }
    }
    plugins
}

/// A DNS-1123 subdomain.
fn is_object_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let is_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        is_end(label.chars().next())
            && is_end(label.chars().next_back())
            && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}
