//! Looking at records without taking part: no lock is taken and no directory is made.
//!
//! A record appears and changes by a rename, so each one that is read is whole; whether it is still true when the
//! reader is done, nobody promises.

use std::{fs, io, path::Path};

use coordinator_sdk::ContainerId;
use coordinator_stages::kernel::directory::Directory;

use super::{Outline, Record, Store, StoreError, outlines};

impl Store {
    /// Opens the directory of records, when there is one.
    ///
    /// # Errors
    /// It cannot be opened, or others could write into it.
    pub fn existing(path: &Path) -> Result<Option<Self>, StoreError> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            _ => Ok(Some(Self { directory: Directory::open_private(path)? })),
        }
    }

    /// The records of a container, by interface.
    ///
    /// # Errors
    /// One cannot be read or trusted.
    pub fn look(&self, container: &ContainerId) -> Result<Vec<Record>, StoreError> {
        self.outlines_of(container)?.iter().map(Outline::record).collect()
    }

    /// Their outlines.
    ///
    /// # Errors
    /// One cannot be read or trusted.
    pub fn outlines_of(&self, container: &ContainerId) -> Result<Vec<Outline>, StoreError> {
        match self.directory.directory(container.as_str())? {
            Some(directory) => outlines(&directory, container),
            None => Ok(Vec::new()),
        }
    }
}
