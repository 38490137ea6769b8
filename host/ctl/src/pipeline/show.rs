//! `coordinatorctl pipeline show`: what runs after all includes, each value with the line that says it.

use std::{fmt::Write as _, path::PathBuf};

use clap::Args;
use coordinator_core::pipeline::{Draft, OnFailure, Place, StageEntry};
use serde_json::{Map, Value, json};

use super::given;
use crate::{exit::Exit, failure::Failure, terminal::Terminal};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The pipeline file, or `default` for the built-in one
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let draft = given::sound(&arguments.file)?;
    match arguments.json {
        true => terminal.answer_json(&to_json(&draft))?,
        false => terminal.answer(&to_toml(&draft))?,
    }
    Ok(Exit::Success)
}

/// The keys of a stage beside its name, in the order in which they are shown, with their origins.
pub(super) fn keys<'s>(draft: &Draft, stage: &'s StageEntry) -> Vec<(&'static str, Value, &'s Place)> {
    let mut keys = vec![("use", Value::from(stage.uses.value.as_str()), &stage.uses.place)];
    let locked = draft.guest(stage).map(|guest| guest.sha256.to_string());
    if let Some(digest) = locked {
        let place = stage.sha256.as_ref().map_or(&stage.uses.place, |sha256| &sha256.place);
        keys.push(("sha256", digest.into(), place));
    }
    if let Some(first) = stage.grants.first() {
        let grants: Vec<&str> = stage.grants.iter().map(|grant| grant.value.as_str()).collect();
        keys.push(("grant", json!(grants), &first.place));
    }
    if let Some(limits) = &stage.limits {
        keys.push(("limits", limits.value.to_json(), &limits.place));
    }
    if let Some(on_failure) = &stage.on_failure {
        let name = if on_failure.value == OnFailure::Skip { "skip" } else { "refuse" };
        keys.push(("on-failure", name.into(), &on_failure.place));
    }
    if let Some(when) = &stage.when {
        keys.push(("when", when.value.to_json(), &when.place));
    }
    if let Some(with) = &stage.with {
        keys.push(("with", Value::Object(with.value.clone()), &with.place));
    }
    keys
}

fn to_json(draft: &Draft) -> Value {
    let settings: Map<String, Value> = draft
        .settings
        .iter()
        .map(|(name, at)| (name.clone(), json!({"value": at.value, "origin": draft.sources.line(&at.place)})))
        .collect();
    let stage = |stage: &StageEntry| {
        let values = keys(draft, stage).into_iter();
        let values: Map<String, Value> = values
            .map(|(key, value, place)| (key.to_owned(), json!({"value": value, "origin": draft.sources.line(place)})))
            .collect();
        json!({"name": stage.name.value, "origin": draft.sources.line(&stage.place), "keys": values})
    };
    json!({"settings": settings, "stages": draft.stages.iter().map(stage).collect::<Vec<_>>()})
}

/// A file that says the same without extending another one; origins are comments.
fn to_toml(draft: &Draft) -> String {
    let mut text = "schema = 1\n".to_owned();
    let line = |text: &mut String, key: &str, value: &Value, place: &Place| {
        let value = toml(value);
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{:<46} # {}", format!("{key} = {value}"), draft.sources.line(place));
    };
    if !draft.settings.is_empty() {
        text.push_str("\n[settings]\n");
    }
    for (name, at) in &draft.settings {
        line(&mut text, name, &at.value, &at.place);
    }
    for stage in &draft.stages {
        text.push_str("\n[[stage]]\n");
        line(&mut text, "name", &Value::from(stage.name.value.as_str()), &stage.name.place);
        for (key, value, place) in keys(draft, stage) {
            line(&mut text, key, &value, place);
        }
    }
    text
}

/// A JSON value as TOML writes it in one line.
pub(super) fn toml(value: &Value) -> String {
    match value {
        Value::Array(values) => format!("[{}]", values.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let bare =
                |key: &str| !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
            let key = |key: &String| if bare(key) { key.clone() } else { Value::from(key.as_str()).to_string() };
            let fields: Vec<String> =
                fields.iter().map(|(name, value)| format!("{} = {}", key(name), toml(value))).collect();
            if fields.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", fields.join(", ")) }
        }
        // JSON's texts, numbers and flags are TOML's too.
        other => other.to_string(),
    }
}
