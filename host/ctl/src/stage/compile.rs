//! `coordinatorctl stage compile`: a component becomes the artefact that this node's plugin maps.

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use clap::Args;
use coordinator_core::guest::{Artefacts, DIRECTORY, compile};
use serde_json::json;

use super::given::{component, stage_failure};
use crate::{exit::Exit, failure::Failure, terminal::Terminal};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The components
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where artefacts lie
    #[arg(long, value_name = "DIR", default_value = DIRECTORY)]
    into: PathBuf,
    /// Remove the artefacts of other versions of this program
    #[arg(long)]
    prune: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let artefacts = open(&arguments.into)?;
    let mut done = Vec::new();
    for path in &arguments.files {
        let compiled = compile(&component(path)?).map_err(|source| stage_failure(path, source))?;
        artefacts.store(&compiled.artefact, &compiled.manifest).map_err(|source| stage_failure(path, source))?;
        let manifest = &compiled.manifest;
        if !arguments.json {
            terminal.answer(&format!("{} {}  sha256 = \"{}\"\n", manifest.name, manifest.version, manifest.source))?;
        }
        done.push(json!({
            "file": path, "name": manifest.name, "version": manifest.version, "sha256": manifest.source,
            "artefact_bytes": manifest.bytes,
        }));
    }
    if arguments.prune {
        let removed = artefacts.prune().map_err(|source| stage_failure(&arguments.into, source))?;
        terminal.remark(&format!("{removed} files of other versions removed\n"));
    }
    if arguments.json {
        terminal.answer_json(&done.into())?;
    }
    Ok(Exit::Success)
}

/// The directory, made with those above it when they are missing.
fn open(path: &Path) -> Result<Artefacts, Failure> {
    if let Some(parent) = path.parent() {
        let made = DirBuilder::new().recursive(true).mode(0o755).create(parent);
        made.map_err(|source| Failure::Write { path: parent.to_owned(), source })?;
    }
    Artefacts::make(path).map_err(|source| stage_failure(path, source))
}
