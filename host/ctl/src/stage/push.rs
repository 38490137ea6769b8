//! `coordinatorctl stage push`: a component goes into a registry of OCI artefacts.

use std::path::PathBuf;

use clap::Args;
use coordinator_core::guest::compile;
use serde_json::json;

use super::given::{component, stage_failure};
use crate::{
    exit::Exit,
    failure::Failure,
    registry::{Place, Registry, RegistryError},
    terminal::Terminal,
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where it is put, REGISTRY/REPOSITORY:TAG
    #[arg(value_name = "REF")]
    reference: String,
    /// The component
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Do without encryption, as is done for a registry on this machine
    #[arg(long)]
    plain_http: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let place = Place::parse(&arguments.reference, arguments.plain_http)?;
    if place.is_fixed() {
        return Err(RegistryError::Fixed { place: place.to_string() }.into());
    }
    let bytes = component(&arguments.file)?;
    // What is no stage does not get there.
    let compiled = compile(&bytes).map_err(|source| stage_failure(&arguments.file, source))?;
    let registry = Registry::open(place.clone())?;
    let digest = registry.push(&bytes, &compiled)?;
    let (manifest, whole) = (&compiled.manifest, place.at(&digest));
    match arguments.json {
        true => terminal.answer_json(&json!({
            "name": manifest.name, "version": manifest.version, "sha256": manifest.source, "bytes": bytes.len(),
            "reference": place.to_string(), "manifest": digest, "pinned": whole,
        }))?,
        false => terminal.answer(&format!(
            "{} {}  sha256 = \"{}\"\nput into {place}, which is {whole}\n",
            manifest.name, manifest.version, manifest.source
        ))?,
    }
    Ok(Exit::Success)
}
