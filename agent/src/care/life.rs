//! Whether a recorded network namespace is still there.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use coordinator_core::record::NamespaceIdentity;

/// What can be said of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// It is there, under this path.
    Living(PathBuf),
    /// Its path is gone, or leads to another one.
    Gone,
    /// This process cannot tell.
    Unknown,
}

/// Where runtimes keep namespaces, on the node.
const FOLDERS: [&str; 2] = ["/run/netns", "/var/run/netns"];

/// The life of a recorded namespace, `folder` being where this process sees the node's `/run/netns`.
///
/// Only a path in that folder is judged: a path below `/proc` is a process' of the node, which a container does not see,
/// and a folder that is not there at all is a mount that is missing, not a node without Pods.
pub fn life_of(known: Option<&NamespaceIdentity>, folder: &Path) -> Life {
    let Some(known) = known else { return Life::Unknown };
    let beneath = FOLDERS.iter().filter_map(|prefix| known.path.strip_prefix(prefix).ok()).next();
    let beneath = beneath.or_else(|| known.path.strip_prefix(folder).ok());
    let Some(name) = beneath.filter(|name| name.components().count() == 1) else { return Life::Unknown };
    if !folder.is_dir() {
        return Life::Unknown;
    }
    let path = folder.join(name);
    match fs::metadata(&path) {
        Ok(metadata) if (metadata.dev(), metadata.ino()) == (known.device, known.inode) => Life::Living(path),
        Ok(_) => Life::Gone,
        Err(error) if error.kind() == ErrorKind::NotFound => Life::Gone,
        Err(_) => Life::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(path: &Path, device: u64, inode: u64) -> NamespaceIdentity {
        NamespaceIdentity { path: path.to_owned(), device, inode }
    }

    #[test]
    fn a_namespace_is_its_number_not_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cni-1");
        fs::write(&file, "").unwrap();
        let metadata = fs::metadata(&file).unwrap();
        let (device, inode) = (metadata.dev(), metadata.ino());
        for prefix in FOLDERS {
            let path = Path::new(prefix).join("cni-1");
            assert_eq!(life_of(Some(&known(&path, device, inode)), folder.path()), Life::Living(file.clone()));
            assert_eq!(life_of(Some(&known(&path, device, inode + 1)), folder.path()), Life::Gone);
        }
        assert_eq!(life_of(Some(&known(Path::new("/run/netns/cni-2"), device, inode)), folder.path()), Life::Gone);
    }

    #[test]
    fn what_cannot_be_seen_is_not_gone() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["/proc/77/ns/net", "/run/netns/a/b", "/run/netns", "/somewhere/else"] {
            assert_eq!(life_of(Some(&known(Path::new(path), 1, 1)), folder.path()), Life::Unknown, "{path}");
        }
        assert_eq!(life_of(None, folder.path()), Life::Unknown);
        let missing = folder.path().join("not-mounted");
        assert_eq!(life_of(Some(&known(Path::new("/run/netns/cni-1"), 1, 1)), &missing), Life::Unknown);
    }
}
