//! One object: what is wrong with it, where in it, and what follows from it.

use std::collections::BTreeMap;

use coordinator_core::{
    pipeline::Severity,
    settings::{Layers, resolve},
};
use serde_json::{Map, Value, json};

use super::structure::{Structure, without};
use crate::{
    Kind,
    coordinator::{self, Coordinator},
    crd,
    network::{NetworkSpec, render},
};

/// A problem at a path of the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flaw {
    /// The path, from the object's top.
    pub(super) path: String,
    /// How much it matters.
    pub(super) severity: Severity,
    /// What is wrong.
    pub(super) told: String,
}

impl Flaw {
    pub(super) fn error(path: impl Into<String>, told: impl Into<String>) -> Self {
        Self { path: path.into(), severity: Severity::Error, told: told.into() }
    }

    fn warning(path: impl Into<String>, told: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(path, told) }
    }
}

/// What became of an object.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outcome {
    /// Kind, namespace and name, as messages call it.
    pub(super) title: String,
    /// What is wrong with it.
    pub(super) flaws: Vec<Flaw>,
    /// The definition that the leader would keep beside it.
    pub(super) definition: Option<Value>,
}

/// Looks at an object; nothing for the kinds that are not looked at.
pub(super) fn look(object: &Value) -> Option<Outcome> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let kinds = [Kind::COORDINATOR, Kind::NETWORK, Kind::DEFINITION];
    let kind = kinds.into_iter().find(|known| known.kind == text("/kind"))?;
    let name = match (text("/metadata/namespace"), text("/metadata/name")) {
        (_, "") => "without a name".to_owned(),
        ("", name) => name.to_owned(),
        (namespace, name) => format!("{namespace}/{name}"),
    };
    let mut flaws = Vec::new();
    if text("/apiVersion") != kind.api_version() {
        let given = object.get("apiVersion").unwrap_or(&Value::Null);
        flaws.push(Flaw::error("apiVersion", format!("apiVersion = {given}: expected {}", kind.api_version())));
    }
    if text("/metadata/name").is_empty() {
        flaws.push(Flaw::error("metadata", "metadata.name is missing"));
    }
    let empty = json!({});
    let spec = object.get("spec").filter(|spec| !spec.is_null()).unwrap_or(&empty);
    let definition = match kind {
        Kind::COORDINATOR => {
            coordinator(text("/metadata/name"), spec, &mut flaws);
            None
        }
        Kind::NETWORK => network(object, spec, &mut flaws),
        _ => {
            attachment(spec, &mut flaws);
            None
        }
    };
    let is_right = flaws.iter().all(|flaw| flaw.severity == Severity::Warning);
    Some(Outcome { title: format!("{} {name}", kind.kind), flaws, definition: definition.filter(|_| is_right) })
}

fn coordinator(name: &str, spec: &Value, flaws: &mut Vec<Flaw>) {
    if !name.is_empty() && name != coordinator::NAME {
        flaws.push(Flaw::warning("metadata.name", format!("only the one called {} counts", coordinator::NAME)));
    }
    let structure = Structure::of(&crd::coordinator_spec(), spec);
    let coordinator = Coordinator::parse("", "", 0, &json!({"spec": spec}));
    flaws.extend(together(structure, coordinator.problems()));
    flaws.extend(coordinator.warnings().into_iter().map(in_spec).map(|(path, told)| Flaw::warning(path, told)));
}

fn network(object: &Value, spec: &Value, flaws: &mut Vec<Flaw>) -> Option<Value> {
    let structure = Structure::of(&crd::network_spec(), spec);
    // The settings' own check reads everything, and says better what is wrong.
    let settings_apart =
        structure.unreadable.iter().filter(|path| !path.starts_with("coordinator.")).cloned().collect();
    let readable = without(spec, &settings_apart);
    let settings = readable.get("coordinator").and_then(Value::as_object);
    if let Ok(resolved) = resolve(&Layers { configuration: settings, ..Layers::default() }) {
        // What looks like a misspelt field is no field of the schema either.
        let told = resolved.warnings.into_iter().filter(|warning| !warning.starts_with("unknown field"));
        flaws.extend(told.map(|told| Flaw::warning("spec.coordinator", format!("coordinator: {told}"))));
    }
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("unnamed");
    let rendered = serde_json::from_value::<NetworkSpec>(readable)
        .map_err(|error| vec![error.to_string()])
        .and_then(|spec| definition(name, object, &spec));
    let (definition, problems) = match rendered {
        Ok(definition) => (Some(definition), Vec::new()),
        Err(problems) => (None, problems),
    };
    flaws.extend(together(structure, problems));
    definition
}

/// The definition as the leader writes it, but for its owner.
fn definition(name: &str, object: &Value, spec: &NetworkSpec) -> Result<Value, Vec<String>> {
    let annotations = object.pointer("/metadata/annotations").and_then(Value::as_object);
    let annotations: BTreeMap<String, String> = annotations
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    let attachment = render(name, &annotations, spec).map_err(|error| error.0)?;
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), attachment.name.into());
    if let Some(namespace) = object.pointer("/metadata/namespace").filter(|namespace| namespace.is_string()) {
        metadata.insert("namespace".to_owned(), namespace.clone());
    }
    if !attachment.annotations.is_empty() {
        metadata.insert("annotations".to_owned(), json!(attachment.annotations));
    }
    let spec = attachment.config.map_or_else(|| json!({}), |config| json!({"config": config}));
    let kind = Kind::DEFINITION;
    Ok(json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": metadata, "spec": spec}))
}

/// A definition that somebody wrote: the settings of our plugin in it.
fn attachment(spec: &Value, flaws: &mut Vec<Flaw>) {
    let place = "spec.config";
    let Some(text) = spec.get("config").and_then(Value::as_str).filter(|text| !text.trim().is_empty()) else { return };
    let config: Value = match serde_json::from_str(text) {
        Ok(config) => config,
        Err(error) => return flaws.push(Flaw::error(place, format!("config is not JSON: {error}"))),
    };
    let alone = std::slice::from_ref(&config);
    let plugins = config.get("plugins").and_then(Value::as_array).map_or(alone, Vec::as_slice);
    for plugin in plugins.iter().filter(|plugin| plugin.get("type").is_some_and(|it| it == "coordinator")) {
        let told = |text: String| format!("config, coordinator: {text}");
        match resolve(&Layers { configuration: plugin.as_object(), ..Layers::default() }) {
            Ok(resolved) => {
                flaws.extend(resolved.warnings.into_iter().map(|it| Flaw::warning(place, told(it))));
            }
            Err(problems) => {
                flaws.extend(problems.iter().map(|problem| Flaw::error(place, told(problem.to_string()))));
            }
        }
    }
}

/// Both kinds of problems, each path once: in the plugin's words where it has some.
fn together(structure: Structure, problems: Vec<String>) -> Vec<Flaw> {
    let Structure { flaws, unreadable } = structure;
    let problems: Vec<(String, String)> = problems.into_iter().map(in_spec).collect();
    let is_told = |path: &str| problems.iter().any(|(known, _)| known.eq_ignore_ascii_case(&format!("spec.{path}")));
    let of_structure =
        flaws.iter().filter(|(path, _)| !is_told(path) || unreadable.contains(path) && !is_setting(path));
    let of_structure: Vec<Flaw> =
        of_structure.map(|(path, told)| Flaw::error(format!("spec.{path}"), told.clone())).collect();
    // What could not be read was taken out before, and is now missed.
    let is_consequence = |path: &str| {
        let path = path.strip_prefix("spec.").unwrap_or(path);
        !is_setting(path) && unreadable.contains(path)
    };
    let of_meaning = problems.into_iter().filter(|(path, _)| !is_consequence(path));
    of_structure.into_iter().chain(of_meaning.map(|(path, told)| Flaw::error(path, told))).collect()
}

/// True for a path that the settings' own check reads, whatever stands there.
fn is_setting(path: &str) -> bool {
    path.starts_with("coordinator.") || crd::settings().iter().any(|(name, _)| *name == path)
}

/// A problem with the path that its text begins with.
fn in_spec(told: String) -> (String, String) {
    if let Some(rest) = told.strip_prefix("annotation ") {
        let key = rest.split(' ').next().unwrap_or_default();
        return (format!("metadata.annotations.{key}"), told);
    }
    let end = told.find(|c: char| !(c.is_ascii_alphanumeric() || ".[]-_".contains(c))).unwrap_or(told.len());
    let path = told.get(..end).unwrap_or_default();
    (format!("spec.{}", path.trim_end_matches('.')), told)
}
