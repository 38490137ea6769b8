//! `coordinatorctl stage inspect`: what a component is, without a pipeline.

use std::path::PathBuf;

use clap::Args;
use coordinator_core::guest::compile;
use serde_json::{Value, json};

use super::given::{component, stage_failure};
use crate::{exit::Exit, failure::Failure, terminal::Terminal};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The component
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let bytes = component(&arguments.file)?;
    let compiled = compile(&bytes).map_err(|source| stage_failure(&arguments.file, source))?;
    let manifest = &compiled.manifest;
    let schema = serde_json::from_str(&manifest.schema).unwrap_or(Value::Null);
    if arguments.json {
        terminal.answer_json(&json!({
            "name": manifest.name, "version": manifest.version, "sha256": manifest.source, "bytes": bytes.len(),
            "artefact_bytes": manifest.bytes, "imports": compiled.imports, "interface": compiled.interface(),
            "needs": manifest.needs, "options": schema,
        }))?;
        return Ok(Exit::Success);
    }
    let needs = if manifest.needs.is_empty() {
        "nothing: it only refuses or warns".to_owned()
    } else {
        manifest.needs.join(", ")
    };
    let lines = [
        ("name", format!("{} {}", manifest.name, manifest.version)),
        ("sha256", manifest.source.to_string()),
        ("size", format!("{} bytes, {} compiled", bytes.len(), manifest.bytes)),
        ("interface", compiled.interface()),
        ("imports", compiled.imports.join(", ")),
        ("grants it needs", needs),
        ("options", if schema.is_null() { "none".to_owned() } else { format!("{schema:#}") }),
    ];
    for (what, value) in lines {
        terminal.answer(&format!("{what:<16}{}\n", value.replace('\n', "\n                ")))?;
    }
    Ok(Exit::Success)
}
