//! The pipeline that the caller names: a file, or `default` for the built-in one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use coordinator_core::pipeline::{Draft, Library, Severity, SourceFile, builtin_file};

use crate::failure::Failure;

/// Reads the file that was named.
pub(crate) fn read(path: &Path) -> Result<SourceFile, Failure> {
    if path == Path::new("default") {
        return Ok(builtin_file());
    }
    let text = fs::read_to_string(path).map_err(|source| Failure::Read { path: path.to_owned(), source })?;
    Ok(SourceFile { path: path.display().to_string(), text: text.into() })
}

/// Reads it with all that it extends; a wrong one is a failure.
pub(crate) fn sound(path: &Path) -> Result<Draft, Failure> {
    let (draft, problems) = Draft::read(read(path)?, Library::Caller);
    match problems.iter().any(|problem| problem.severity == Severity::Error) {
        true => Err(Failure::Mistakes { problems, sources: draft.sources }),
        false => Ok(draft),
    }
}

/// The folder against which a pipeline's own paths are meant.
pub(crate) fn folder(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}
