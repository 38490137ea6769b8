//! Files that settings and pipelines come from: root's alone, so that nobody else steers the plugin.
//!
//! It reads and checks, and knows nothing of what stands in the file.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum RootFileError {
    /// The system refuses.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a directory, a link, a device …
    #[error("{path} is not a regular file (symbolic links are not followed)")]
    NotRegular {
        /// The file.
        path: PathBuf,
    },
    /// Somebody else owns it.
    #[error("{path} belongs to user {owner}, not to root")]
    Owner {
        /// The file.
        path: PathBuf,
        /// The owner's user id.
        owner: u32,
    },
    /// Somebody else may write it.
    #[error("{path} has mode {mode:04o}: its group or others may write it")]
    Writable {
        /// The file.
        path: PathBuf,
        /// The permission bits.
        mode: u32,
    },
    /// It is longer than anything that belongs there.
    #[error("{path} is larger than {limit} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit, bytes.
        limit: u64,
    },
    /// It is not text.
    #[error("{path} is not UTF-8 text")]
    NotText {
        /// The file.
        path: PathBuf,
    },
}

/// The text of a regular file that belongs to root and that only root may write; `None` when there
/// is no file of that name.
///
/// # Errors
/// The file is anything else, cannot be read, or is larger than `limit` bytes.
pub fn read_root_file(path: &Path, limit: u64) -> Result<Option<String>, RootFileError> {
    read_owned_file(path, limit, 0)
}

/// [`read_root_file`] with another owner in root's place, which tests need.
pub(super) fn read_owned_file(path: &Path, limit: u64, owner: u32) -> Result<Option<String>, RootFileError> {
    let failed = |source| RootFileError::Io { path: path.to_owned(), source };
    let not_regular = || RootFileError::NotRegular { path: path.to_owned() };
    // The link itself is looked at first, and what was opened is compared with it afterwards: a
    // link or pipe put in its place is never followed or waited for.
    let seen = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => metadata,
        Ok(_) => return Err(not_regular()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let file = File::open(path).map_err(failed)?;
    let opened = file.metadata().map_err(failed)?;
    if !opened.is_file() || (opened.dev(), opened.ino()) != (seen.dev(), seen.ino()) {
        return Err(not_regular());
    }
    if opened.uid() != owner {
        return Err(RootFileError::Owner { path: path.to_owned(), owner: opened.uid() });
    }
    let mode = opened.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(RootFileError::Writable { path: path.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > limit) {
        return Err(RootFileError::TooLarge { path: path.to_owned(), limit });
    }
    let text = String::from_utf8(bytes).map_err(|_| RootFileError::NotText { path: path.to_owned() })?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn read(path: &Path, owner: u32) -> Result<Option<String>, String> {
        read_owned_file(path, 10, owner).map_err(|error| error.to_string())
    }

    #[test]
    fn only_a_plain_file_of_the_owner_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let me = fs::metadata(directory.path()).unwrap().uid();
        let path = directory.path().join("file");
        assert_eq!(read(&path, me), Ok(None));

        fs::write(&path, "text").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(read(&path, me), Ok(Some("text".to_owned())));
        assert!(read(&path, me + 1).unwrap_err().contains("belongs to user"));

        for mode in [0o664, 0o646] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(read(&path, me).unwrap_err().contains(&format!("mode {mode:04o}")));
        }

        let link = directory.path().join("link");
        symlink(&path, &link).unwrap();
        for other in [link.as_path(), directory.path()] {
            assert!(read(other, me).unwrap_err().contains("is not a regular file"), "{}", other.display());
        }

        let large = directory.path().join("large");
        fs::write(&large, "01234567890").unwrap();
        assert!(read(&large, me).unwrap_err().contains("larger than 10 bytes"));
        fs::write(&large, [0xff]).unwrap();
        assert!(read(&large, me).unwrap_err().contains("not UTF-8"));
    }
}
