//! The defaults file: written whole or not at all, and so that the plugin trusts it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// Root writes it, everybody may read it; the plugin refuses one that others could write.
const MODE: u32 = 0o644;
/// The folder's.
const FOLDER_MODE: u32 = 0o755;

/// Why the file is not as it should be.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {path}: {source}")]
pub struct FileError {
    /// What was being done.
    what: &'static str,
    /// With which file.
    path: PathBuf,
    /// What the system said.
    source: io::Error,
}

/// Makes `path` hold `text`: true when it did not before.
///
/// The text goes to a file beside it that is then renamed, so a reader sees the old text or the new one, and a
/// machine that loses power has one of them.
///
/// # Errors
/// The folder or the file cannot be written; the file is as it was.
pub fn write(path: &Path, text: &str) -> Result<bool, FileError> {
    if is_right(path, text) {
        return Ok(false);
    }
    let failed = |what, path: &Path| {
        let path = path.to_owned();
        move |source| FileError { what, path, source }
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    if !folder.is_dir() {
        fs::create_dir_all(folder).map_err(failed("make", folder))?;
        fs::set_permissions(folder, fs::Permissions::from_mode(FOLDER_MODE)).map_err(failed("make", folder))?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = folder.join(format!(".{name}.draft"));
    // One process writes; what it finds is what an earlier one left when it was killed.
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &draft)(error)),
        _ => {}
    }
    let written = write_new(&draft, text).and_then(|()| fs::rename(&draft, path));
    if let Err(source) = written {
        // What the disk has no room for must not stay there either.
        let _ = fs::remove_file(&draft);
        return Err(failed("write", path)(source));
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("write", folder))?;
    Ok(true)
}

fn write_new(draft: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(draft)?;
    // The process' umask may have taken more away than meant.
    file.set_permissions(fs::Permissions::from_mode(MODE))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// True when the file says `text` and may be trusted.
fn is_right(path: &Path, text: &str) -> bool {
    let is_plain = fs::symlink_metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o7777 == MODE);
    is_plain && fs::read_to_string(path).is_ok_and(|found| found == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn it_is_written_once_and_with_the_right_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/defaults.json");
        assert!(write(&path, "{}\n").unwrap());
        assert!(!write(&path, "{}\n").unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, MODE);
        assert!(write(&path, "{\"a\":1}\n").unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"a\":1}\n");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft stays");
    }

    #[test]
    fn what_others_left_is_put_right() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("defaults.json");
        fs::write(&path, "{}\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        fs::write(folder.path().join(".defaults.json.draft"), "half").unwrap();
        assert!(write(&path, "{}\n").unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, MODE);
        // A link is replaced, and what it led to stays.
        let victim = folder.path().join("victim");
        fs::write(&victim, "{}\n").unwrap();
        fs::remove_file(&path).unwrap();
        symlink(&victim, &path).unwrap();
        assert!(write(&path, "{}\n").unwrap());
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
    }

    #[test]
    fn where_it_cannot_be_written_the_old_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("defaults.json");
        fs::write(&path, "old").unwrap();
        // A folder in the draft's place cannot be removed as a file.
        fs::create_dir(folder.path().join(".defaults.json.draft")).unwrap();
        let error = write(&path, "new").unwrap_err().to_string();
        assert!(error.starts_with("cannot remove ") && error.contains(".defaults.json.draft: "), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    }

    /// A reader at any moment sees one whole text.
    #[test]
    fn no_reader_sees_half_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("defaults.json");
        let text = |round: usize| format!("{}\n", "x".repeat(20_000 + round % 7));
        write(&path, &text(0)).unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut reads = 0;
                while !done.load(std::sync::atomic::Ordering::Relaxed) || reads == 0 {
                    let found = fs::read_to_string(&path).unwrap();
                    assert!(found.len() > 20_000 && found.ends_with('\n'), "{} bytes", found.len());
                    reads += 1;
                }
            });
            for round in 1..200 {
                write(&path, &text(round)).unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            reader.join().unwrap();
        });
    }
}
