//! `coordinatorctl pipeline lock`: writes the digests of a pipeline's guests beside it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use coordinator_core::{
    guest::Digest,
    pipeline::{Draft, Library, Lock, lock_path},
};
use serde_json::json;

use super::given;
use crate::{exit::Exit, failure::Failure, terminal::Terminal};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The pipeline file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write nothing; say whether the lock file is as it should be
    #[arg(long)]
    check: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    if arguments.check {
        let path = lock_path(&arguments.file);
        let lock = wanted(&arguments.file)?;
        let is_right = lock.0.is_empty() || fs::read_to_string(&path).is_ok_and(|known| known == lock.to_text());
        match (arguments.json, is_right) {
            (true, _) => terminal.answer_json(&json!({"lock": path, "right": is_right}))?,
            (false, true) => {}
            (false, false) => terminal.answer(&format!(
                "{} is not as it should be; coordinatorctl pipeline lock writes it\n",
                path.display()
            ))?,
        }
        return Ok(if is_right { Exit::Success } else { Exit::No });
    }
    match (arguments.json, write(&arguments.file)?) {
        (true, path) => terminal.answer_json(&json!({"lock": path, "right": true}))?,
        (false, Some(path)) => terminal.answer(&format!("{}\n", path.display()))?,
        (false, None) => terminal.remark("no guest of this pipeline needs a lock: each has its sha256\n"),
    }
    Ok(Exit::Success)
}

/// Writes the lock file, when a guest needs it.
pub(super) fn write(file: &Path) -> Result<Option<PathBuf>, Failure> {
    let lock = wanted(file)?;
    if lock.0.is_empty() {
        return Ok(None);
    }
    let path = lock_path(file);
    fs::write(&path, lock.to_text()).map_err(|source| Failure::Write { path: path.clone(), source })?;
    Ok(Some(path))
}

/// The digests that the pipeline itself does not say.
fn wanted(file: &Path) -> Result<Lock, Failure> {
    // A missing digest is what this is for: other problems are `validate`'s.
    let (draft, _) = Draft::read(given::read(file)?, Library::Caller);
    let folder = given::folder(file);
    let mut lock = Lock::default();
    for stage in draft.stages.iter().filter(|stage| stage.sha256.is_none()) {
        if let Some(path) = stage.uses.value.strip_prefix("wasm:") {
            lock.0.insert(stage.uses.value.clone(), digest(&folder.join(path))?);
        }
    }
    Ok(lock)
}

fn digest(path: &Path) -> Result<Digest, Failure> {
    let bytes = fs::read(path).map_err(|source| Failure::Read { path: path.to_owned(), source })?;
    Ok(Digest::of(&bytes))
}
