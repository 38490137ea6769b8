//! Where artefacts lie: opened by the first guest that wants one, for all that share it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use super::{
    artefact::{Artefacts, DIRECTORY, Digest, not_compiled},
    failure::GuestError,
};

/// A directory of artefacts that several guests share.
#[derive(Debug)]
pub struct Shelf {
    path: PathBuf,
    opened: OnceLock<Result<Option<Artefacts>, GuestError>>,
}

impl Shelf {
    /// The directory at this path, which is not opened yet.
    pub fn at(path: &Path) -> Arc<Self> {
        Arc::new(Self { path: path.to_owned(), opened: OnceLock::new() })
    }

    /// The directory of this node, [`DIRECTORY`].
    pub fn of_this_node() -> Arc<Self> {
        Self::at(Path::new(DIRECTORY))
    }

    /// The directory, in which the artefact of this component is looked for.
    ///
    /// # Errors
    /// As [`Artefacts::open`], or there is none.
    pub(super) fn open(&self, digest: Digest) -> Result<&Artefacts, GuestError> {
        let opened = self.opened.get_or_init(|| Artefacts::open(&self.path));
        let artefacts = opened.as_ref().map_err(Clone::clone)?;
        artefacts.as_ref().ok_or_else(|| not_compiled(digest, &self.path))
    }
}
