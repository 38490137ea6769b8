//! `coordinatorctl stage pull`: a component comes out of a registry of OCI artefacts, and is one of ours or is left there.

use std::{
    fs::Permissions,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use clap::Args;
use coordinator_core::guest::{compile, is_component};
use serde_json::json;

use crate::{
    exit::Exit,
    failure::Failure,
    registry::{Place, Registry},
    terminal::Terminal,
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where it is, REGISTRY/REPOSITORY:TAG or REGISTRY/REPOSITORY@sha256:DIGEST
    #[arg(value_name = "REF")]
    reference: String,
    /// Where it is written; without it, here, under the repository's name
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Do without encryption, as is done for a registry on this machine
    #[arg(long)]
    plain_http: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let place = Place::parse(&arguments.reference, arguments.plain_http)?;
    let pulled = Registry::open(place.clone())?.pull()?;
    let bytes = &pulled.component;
    if !is_component(bytes) {
        return Err(Failure::NoComponent { path: PathBuf::from(place.to_string()) });
    }
    let compiled = compile(bytes).map_err(|source| Failure::Stage { name: place.to_string(), source })?;
    let path = arguments.output.clone().unwrap_or_else(|| PathBuf::from(format!("{}.wasm", place.name())));
    write(&path, bytes)?;
    let (manifest, whole) = (&compiled.manifest, place.at(&pulled.manifest));
    match arguments.json {
        true => terminal.answer_json(&json!({
            "name": manifest.name, "version": manifest.version, "sha256": manifest.source, "bytes": bytes.len(),
            "reference": place.to_string(), "manifest": pulled.manifest, "pinned": whole, "file": path,
        }))?,
        false => terminal.answer(&format!(
            "{} {}  sha256 = \"{}\"\nwritten to {} ({} bytes), from {whole}\n",
            manifest.name,
            manifest.version,
            manifest.source,
            path.display(),
            bytes.len()
        ))?,
    }
    Ok(Exit::Success)
}

/// Writes a file that is there whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |source| Failure::Write { path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file =
        tempfile::Builder::new().permissions(Permissions::from_mode(0o644)).tempfile_in(folder).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist(path).map(drop).map_err(|error| failed(error.error))
}
