//! What the caller names: a component's file, and what a pipeline would say about it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use coordinator_core::guest::{Guest, Manifest, compile, is_component};
use serde_json::Value;

use crate::failure::Failure;

/// A component, with options and grants.
#[derive(Debug, Clone, Args)]
pub(crate) struct Bound {
    /// The component
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Its options, as JSON
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub(crate) with: String,
    /// Kinds of change that it may propose; without any, those that it asks for
    #[arg(long, value_name = "GRANT")]
    pub(crate) grant: Vec<String>,
}

impl Bound {
    /// The guest, compiled, and what it says of itself.
    pub(crate) fn guest(&self) -> Result<(Guest, Manifest), Failure> {
        let bytes = component(&self.file)?;
        let with: Value = serde_json::from_str(&self.with)
            .map_err(|source| Failure::Json { path: PathBuf::from("--with"), source })?;
        let (name, stage) = (self.file.display().to_string(), |source| stage_failure(&self.file, source));
        let manifest = compile(&bytes).map_err(stage)?.manifest;
        let guest =
            Guest::of_component(manifest.name.clone(), &bytes).map_err(|source| Failure::Stage { name, source })?;
        let grants = if self.grant.is_empty() { manifest.needs.clone() } else { self.grant.clone() };
        Ok((guest.grants(grants).options(with.to_string()), manifest))
    }
}

/// Reads a component; a core module is none.
pub(crate) fn component(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = fs::read(path).map_err(|source| Failure::Read { path: path.to_owned(), source })?;
    if is_component(&bytes) { Ok(bytes) } else { Err(Failure::NoComponent { path: path.to_owned() }) }
}

pub(crate) fn stage_failure(path: &Path, source: coordinator_core::guest::GuestError) -> Failure {
    Failure::Stage { name: path.display().to_string(), source }
}
