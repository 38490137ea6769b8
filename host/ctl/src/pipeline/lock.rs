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
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    // A missing digest is what this is for: other problems are `validate`'s.
    let (draft, _) = Draft::read(given::read(&arguments.file)?, Library::Caller);
    let folder = given::folder(&arguments.file);
    let mut lock = Lock::default();
    for stage in draft.stages.iter().filter(|stage| stage.sha256.is_none()) {
        if let Some(path) = stage.uses.value.strip_prefix("wasm:") {
            lock.0.insert(stage.uses.value.clone(), digest(&folder.join(path))?);
        }
    }
    let path = lock_path(&arguments.file);
    let text = lock.to_text();
    let is_current = fs::read_to_string(&path).is_ok_and(|known| known == text);
    if arguments.check {
        if !is_current && !lock.0.is_empty() {
            terminal.answer(&format!("{} is not as it should be\n", path.display()))?;
            return Ok(Exit::No);
        }
        return Ok(Exit::Success);
    }
    if lock.0.is_empty() {
        terminal.remark("no guest of this pipeline needs a lock: each has its sha256\n");
        return Ok(Exit::Success);
    }
    fs::write(&path, text).map_err(|source| Failure::Write { path: path.clone(), source })?;
    terminal.answer(&format!("{}\n", path.display()))?;
    Ok(Exit::Success)
}

fn digest(path: &Path) -> Result<Digest, Failure> {
    let bytes = fs::read(path).map_err(|source| Failure::Read { path: path.to_owned(), source })?;
    Ok(Digest::of(&bytes))
}
