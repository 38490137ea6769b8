//! Where the files come from that a pipeline extends, and the lock files beside them.
//!
//! On a node nothing is read that somebody other than root could write: a pipeline may extend a built-in one, or a
//! neighbour in its own directory, by name. Paths are for `coordinatorctl`, whose caller vouches for them.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
};

use super::{BUILTIN, BUILTIN_TEXT, LIMIT, source::SourceFile};
use crate::settings::read_root_file;

/// Who vouches for the files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Library {
    /// Root, who alone can write them.
    #[default]
    Node,
    /// The caller, who named them.
    Caller,
}

impl Library {
    /// The file that `from` extends.
    pub(super) fn base(self, from: &str, extends: &str) -> Result<SourceFile, String> {
        if extends == "default" {
            return Ok(SourceFile { path: BUILTIN.to_owned(), text: BUILTIN_TEXT.into() });
        }
        let folder = Path::new(from).parent().unwrap_or(Path::new(""));
        let is_path = extends.contains('/') || extends.ends_with(".toml");
        let is_name = !is_path && extends.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        let path = match (is_name, self) {
            (true, _) => folder.join(format!("{extends}.toml")),
            (false, Self::Caller) if is_path => folder.join(extends),
            (false, Self::Caller) => return Err(format!("{extends:?} is neither a name nor a path")),
            (false, Self::Node) => {
                return Err(format!(
                    "{extends:?} is no name: on a node a pipeline extends \"default\" or a neighbour in its directory"
                ));
            }
        };
        match self.read(&path)? {
            Some(text) => Ok(SourceFile { path: path.display().to_string(), text: text.into() }),
            None if is_name => Err(format!("there is no pipeline {extends:?}: {} does not exist", path.display())),
            None => Err(format!("{} does not exist", path.display())),
        }
    }

    /// The lock file beside a pipeline, when there is one.
    pub(super) fn lock(self, pipeline: &str) -> Result<Option<SourceFile>, String> {
        let path = lock_path(Path::new(pipeline));
        let text = self.read(&path)?;
        Ok(text.map(|text| SourceFile { path: path.display().to_string(), text: text.into() }))
    }

    fn read(self, path: &Path) -> Result<Option<String>, String> {
        match self {
            Self::Node => read_root_file(path, LIMIT).map_err(|error| match error.source() {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            }),
            Self::Caller => match fs::read_to_string(path) {
                Ok(text) => Ok(Some(text)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(format!("cannot read {}: {error}", path.display())),
            },
        }
    }
}

/// Where a pipeline's digests are locked: `site.toml` has `site.lock` beside it.
pub fn lock_path(pipeline: &Path) -> PathBuf {
    pipeline.with_extension("lock")
}
