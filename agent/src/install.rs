//! Puts the plugin, and what belongs to it, on the node, and takes it away again.
//!
//! A file is copied beside its place and renamed into it: a plugin that runs goes on with the file that it has, one that
//! starts finds the old one or the new one, and "text file busy" cannot happen. What stood there before and is not ours
//! (Spiderpool's plugin has the same name) is kept and put back at the end.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use tracing::info;

/// Why something could not be put or taken away.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The system refuses.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Two sources have a file of one name.
    #[error("{one} and {other} have one name: rename one of them")]
    Twice {
        /// The one.
        one: PathBuf,
        /// The other.
        other: PathBuf,
    },
    /// A guest cannot be compiled.
    #[error("guest {guest} cannot be compiled: {said}")]
    Compile {
        /// Which one.
        guest: PathBuf,
        /// What the tool said.
        said: String,
    },
    /// A guest cannot be had.
    #[error("guest {reference} cannot be pulled: {said}")]
    Pull {
        /// Which one.
        reference: String,
        /// What the tool said.
        said: String,
    },
    /// A guest cannot even be asked for.
    #[error("guest reference {reference:?}: expected REGISTRY/REPOSITORY:TAG or REGISTRY/REPOSITORY@sha256:DIGEST")]
    Reference {
        /// As it was given.
        reference: String,
    },
    /// Several things go wrong.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Several(Vec<InstallError>),
    /// The artefacts' directory cannot be used.
    #[error(transparent)]
    Artefacts(coordinator_core::guest::GuestError),
    /// Pods still need the plugin.
    #[error("{count} containers have attachments: move their Pods away first, or their runtime cannot clean up")]
    InUse {
        /// How many.
        count: usize,
    },
}

pub(crate) fn failed<'p>(what: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> InstallError + 'p {
    move |source| InstallError::Io { what, path: path.to_owned(), source }
}

/// All that went wrong, as one.
pub(crate) fn together(mut errors: Vec<InstallError>) -> Result<(), InstallError> {
    match errors.pop() {
        None => Ok(()),
        Some(only) if errors.is_empty() => Err(only),
        Some(last) => {
            errors.push(last);
            Err(InstallError::Several(errors))
        }
    }
}

/// Where a replaced file is kept: beside it, under a name that no runtime looks for.
fn kept(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.replaced-by-coordinator"))
}

/// A copy of what we put there last: it tells our file from somebody else's.
fn mark(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.put-by-coordinator"))
}

/// Puts a file into its place; true when it was not there already.
///
/// # Errors
/// Something cannot be read or written; what was there is as it was.
pub fn put(source: &Path, target: &Path, mode: u32) -> Result<bool, InstallError> {
    let new = fs::read(source).map_err(failed("read", source))?;
    let old = read_if_there(target)?;
    if old.as_ref() == Some(&new) && fs::metadata(target).is_ok_and(|it| it.permissions().mode() & 0o7777 == mode) {
        // Also when an earlier agent was killed in between.
        replace(&mark(target), &new, 0o600)?;
        return Ok(false);
    }
    if let Some(old) = old
        && read_if_there(&mark(target))?.as_ref() != Some(&old)
    {
        let mode = fs::metadata(target).map_or(0o755, |it| it.permissions().mode() & 0o7777);
        replace(&kept(target), &old, mode)?;
        info!(file = %target.display(), "What stood there before is kept.");
    }
    // The mark comes first: killed in between, the next run sees a file that is neither, and keeps it again.
    replace(&mark(target), &new, 0o600)?;
    replace(target, &new, mode)?;
    info!(file = %target.display(), bytes = new.len(), "Installed.");
    Ok(true)
}

/// Takes a file away, and puts back what it replaced; a file that is not ours any more stays.
///
/// # Errors
/// Something cannot be read or removed.
pub fn take_away(target: &Path) -> Result<(), InstallError> {
    let ours = read_if_there(&mark(target))?;
    let is_ours = ours.is_some() && read_if_there(target)? == ours;
    if is_ours {
        let kept = kept(target);
        if kept.exists() {
            fs::rename(&kept, target).map_err(failed("put back", target))?;
            info!(file = %target.display(), "What stood there before is back.");
        } else {
            fs::remove_file(target).map_err(failed("remove", target))?;
            info!(file = %target.display(), "Removed.");
        }
    }
    for rest in [mark(target), kept(target)] {
        match fs::remove_file(&rest) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &rest)(error)),
            _ => {}
        }
    }
    Ok(())
}

/// Refuses while containers have attachments: without the plugin their runtime cannot end them.
///
/// # Errors
/// There are some.
pub fn unused(state: &Path) -> Result<(), InstallError> {
    let entries = fs::read_dir(state).into_iter().flatten().flatten();
    let count = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).count();
    if count > 0 { Err(InstallError::InUse { count }) } else { Ok(()) }
}

/// Makes `folder` hold the files of the sources and no others that came from there; says how many are new.
///
/// # Errors
/// Something cannot be read or written, or two sources have a file of one name.
pub fn put_folder(sources: &[PathBuf], folder: &Path) -> Result<usize, InstallError> {
    let mut wanted: BTreeMap<String, PathBuf> = BTreeMap::new();
    for source in sources {
        for name in names(source)? {
            let path = source.join(&name);
            if let Some(other) = wanted.insert(name, path.clone()) {
                return Err(InstallError::Twice { one: other, other: path });
            }
        }
    }
    fs::create_dir_all(folder).map_err(failed("make", folder))?;
    for file in ours(folder)? {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if !wanted.contains_key(name.as_ref()) {
            take_away(&file)?;
        }
    }
    let mut new = 0;
    for (name, source) in &wanted {
        new += usize::from(put(source, &folder.join(name), 0o644)?);
    }
    Ok(new)
}

/// The folder itself and the folders in it, as mounts of several ConfigMaps and images lie.
///
/// # Errors
/// It cannot be listed.
pub fn with_inner(folder: &Path) -> Result<Vec<PathBuf>, InstallError> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).map_err(failed("list", folder))? {
        let entry = entry.map_err(failed("list", folder))?;
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        if !is_hidden && entry.path().is_dir() {
            found.push(entry.path());
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The files of a folder that were put there by us.
///
/// # Errors
/// It cannot be listed.
pub fn ours(folder: &Path) -> Result<Vec<PathBuf>, InstallError> {
    let files = names(folder)?.into_iter().map(|name| folder.join(name));
    Ok(files.filter(|file| mark(file).exists()).collect())
}

/// Takes away everything that was put into a folder.
///
/// # Errors
/// Something cannot be removed.
pub fn take_away_folder(folder: &Path) -> Result<(), InstallError> {
    if !folder.is_dir() {
        return Ok(());
    }
    ours(folder)?.iter().try_for_each(|file| take_away(file))
}

/// Visible files; a mounted ConfigMap has links to them, and hidden folders beside them.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>, InstallError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed("list", folder))? {
        let entry = entry.map_err(failed("list", folder))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !name.starts_with('.') && fs::metadata(entry.path()).is_ok_and(|it| it.is_file()) {
            found.push(name);
        }
    }
    found.sort_unstable();
    Ok(found)
}

pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, InstallError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Writes a file beside its place and renames it into it.
pub(crate) fn replace(target: &Path, bytes: &[u8], mode: u32) -> Result<(), InstallError> {
    let folder = target.parent().unwrap_or(Path::new("/"));
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let draft = folder.join(format!(".{}.draft", name.trim_start_matches('.')));
    let _ = fs::remove_file(&draft);
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        // Closed before it is renamed: a program that is open for writing cannot be executed.
        drop(file);
        fs::rename(&draft, target)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&draft);
        failed("write", target)(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(folder: &Path) -> usize {
        fs::read_dir(folder)
            .unwrap()
            .filter(|it| it.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'))
            .count()
    }

    #[test]
    fn somebody_elses_plugin_comes_back_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let (source, target) = (folder.path().join("new"), folder.path().join("bin/coordinator"));
        fs::create_dir(target.parent().unwrap()).unwrap();
        fs::write(&target, "theirs").unwrap();
        for version in ["ours 1", "ours 2", "ours 3"] {
            fs::write(&source, version).unwrap();
            assert!(put(&source, &target, 0o755).unwrap());
            assert!(!put(&source, &target, 0o755).unwrap());
            assert_eq!(fs::read_to_string(&target).unwrap(), version);
        }
        take_away(&target).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "theirs");
        assert_eq!(hidden(target.parent().unwrap()), 0);
        // Taken away again, or replaced by others meanwhile: nothing happens to it.
        take_away(&target).unwrap();
        put(&source, &target, 0o755).unwrap();
        fs::write(&target, "theirs, newer").unwrap();
        take_away(&target).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "theirs, newer");
    }

    #[test]
    fn where_nothing_stood_nothing_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (source, target) = (folder.path().join("new"), folder.path().join("coordinator"));
        fs::write(&source, "ours").unwrap();
        put(&source, &target, 0o755).unwrap();
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o7777, 0o755);
        take_away(&target).unwrap();
        assert!(!target.exists());
        assert_eq!(hidden(folder.path()), 0);
    }

    #[test]
    fn a_folder_follows_its_source() {
        let folder = tempfile::tempdir().unwrap();
        let (source, target) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir(&source).unwrap();
        fs::create_dir(&target).unwrap();
        fs::write(target.join("theirs.toml"), "t").unwrap();
        for name in ["a.toml", "b.toml"] {
            fs::write(source.join(name), name).unwrap();
        }
        let more = folder.path().join("more");
        fs::create_dir(&more).unwrap();
        assert_eq!(put_folder(&[source.clone(), more.clone()], &target).unwrap(), 2);
        fs::remove_file(source.join("a.toml")).unwrap();
        assert_eq!(put_folder(std::slice::from_ref(&source), &target).unwrap(), 0);
        fs::write(more.join("b.toml"), "another").unwrap();
        assert!(matches!(put_folder(&[source.clone(), more], &target), Err(InstallError::Twice { .. })));
        assert_eq!(names(&target).unwrap(), ["b.toml", "theirs.toml"]);
        take_away_folder(&target).unwrap();
        assert_eq!(names(&target).unwrap(), ["theirs.toml"]);
    }

    #[test]
    fn a_node_with_attachments_keeps_its_plugin() {
        let folder = tempfile::tempdir().unwrap();
        assert!(unused(&folder.path().join("none")).is_ok());
        fs::create_dir(folder.path().join("container")).unwrap();
        assert!(matches!(unused(folder.path()), Err(InstallError::InUse { count: 1 })));
    }
}
