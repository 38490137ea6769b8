//! Files beneath a directory that only its owner may enter, reached without following links.
//!
//! The directory is opened once and checked on the open file; everything beneath it is named relative
//! to that, by single names, so nobody can put another place underneath. Files appear whole or not at
//! all. Locks are `flock`s on directories: the kernel lets them go with the process.

mod reading;

use std::{
    fs::File,
    io::{self, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AT_FDCWD, Flock, FlockArg, OFlag, openat, renameat},
    sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, fstat, mkdirat},
    unistd::{UnlinkatFlags, geteuid, unlinkat},
};

pub use reading::Reading;

/// Pause between two attempts at a lock that another process holds.
const PAUSE: Duration = Duration::from_millis(1);
/// Permission bits of directories.
const PRIVATE: Mode = Mode::S_IRWXU;

/// Why a directory or a file in it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The system refuses.
    #[error("cannot {verb} {path}")]
    Io {
        /// What was tried.
        verb: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others could write into it.
    #[error("{path} belongs to user {owner} and has mode {mode:04o}: others could write into it")]
    Foreign {
        /// The directory or file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// The name would lead elsewhere.
    #[error("{name:?} is not the name of a file in {path}")]
    Name {
        /// The directory.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// A file is longer than anything that belongs there.
    #[error("{path} is larger than {limit} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit, bytes.
        limit: u64,
    },
    /// Another process held the lock all the time.
    #[error("{path} is locked by another process, which did not end within {patience:?}")]
    Locked {
        /// What is locked.
        path: PathBuf,
        /// How long it was waited for.
        patience: Duration,
    },
}

/// Whether a lock can be held by several processes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// By several.
    Shared,
    /// By one.
    Exclusive,
}

/// An open directory.
#[derive(Debug)]
pub struct Directory {
    file: File,
    path: PathBuf,
}

/// A held lock; dropping it lets go.
#[derive(Debug)]
#[must_use]
pub struct Lock {
    _held: Flock<OwnedFd>,
}

impl Directory {
    /// Opens the directory, made when it is missing, after checking that only we can write into it.
    ///
    /// # Errors
    /// It cannot be made or opened, is a link, or others own it or could write into it.
    pub fn open_guarded(path: &Path) -> Result<Self, DirectoryError> {
        let failed = |verb| move |errno: Errno| io_error(verb, path, errno);
        match mkdirat(AT_FDCWD, path, PRIVATE) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(io_error("make", path, errno)),
        }
        let fd = openat(AT_FDCWD, path, flags(), Mode::empty()).map_err(failed("open"))?;
        guarded(&fd, path)?;
        Ok(Self { file: File::from(fd), path: path.to_owned() })
    }

    /// The directory, checked as by [`Directory::open_guarded`]; absent when there is none.
    ///
    /// # Errors
    /// It cannot be opened, is a link, or others own it or could write into it.
    pub fn open_existing(path: &Path) -> Result<Option<Self>, DirectoryError> {
        let fd = match openat(AT_FDCWD, path, flags(), Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(io_error("open", path, errno)),
        };
        guarded(&fd, path)?;
        Ok(Some(Self { file: File::from(fd), path: path.to_owned() }))
    }

    /// As [`Directory::open_guarded`], and closes it to everybody else's eyes.
    ///
    /// # Errors
    /// As [`Directory::open_guarded`].
    pub fn open_private(path: &Path) -> Result<Self, DirectoryError> {
        let directory = Self::open_guarded(path)?;
        let failed = |errno| io_error("protect", path, errno);
        if fstat(&directory.file).map_err(failed)?.st_mode & 0o077 != 0 {
            fchmodat(&directory.file, ".", PRIVATE, FchmodatFlags::FollowSymlink).map_err(failed)?;
        }
        Ok(directory)
    }

    /// Where it is, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory called `name` in it; absent when there is none.
    ///
    /// # Errors
    /// It cannot be opened, or is a link.
    pub fn directory(&self, name: &str) -> Result<Option<Self>, DirectoryError> {
        let path = self.beneath(name)?;
        match openat(&self.file, name, flags(), Mode::empty()) {
            Ok(fd) => Ok(Some(Self { file: File::from(fd), path })),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(io_error("open", &path, errno)),
        }
    }

    /// The directory called `name` in it, made when it is missing.
    ///
    /// # Errors
    /// It cannot be made or opened.
    pub fn make_directory(&self, name: &str) -> Result<Self, DirectoryError> {
        let path = self.beneath(name)?;
        loop {
            match mkdirat(&self.file, name, PRIVATE) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(io_error("make", &path, errno)),
            }
            // Another process may remove it in between: it was empty then, and is made again.
            if let Some(directory) = self.directory(name)? {
                return Ok(directory);
            }
        }
    }

    /// Removes the directory called `name` if it is empty; says whether it is gone.
    pub fn remove_empty(&self, name: &str) -> bool {
        let removed = self.beneath(name).map(|_| unlinkat(&self.file, name, UnlinkatFlags::RemoveDir));
        matches!(removed, Ok(Ok(()) | Err(Errno::ENOENT)))
    }

    /// False when somebody removed the directory while it was open.
    pub fn still_exists(&self) -> bool {
        fstat(&self.file).is_ok_and(|stat| stat.st_nlink > 0)
    }

    /// The names of what lies in it, hidden files excepted, in no order.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn names(&self) -> Result<impl Iterator<Item = String>, DirectoryError> {
        let failed = |errno| io_error("list", &self.path, errno);
        let fd = openat(&self.file, ".", flags(), Mode::empty()).map_err(failed)?;
        let entries = Dir::from_fd(fd).map_err(failed)?.into_iter();
        let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_str().ok()?.to_owned()));
        Ok(names.filter(|name| !name.starts_with('.')))
    }

    /// The text of the file called `name`; absent when there is none.
    ///
    /// # Errors
    /// It cannot be read, is a link, is not text, or has more than `limit` bytes.
    pub fn read(&self, name: &str, limit: u64) -> Result<Option<String>, DirectoryError> {
        self.reading(name, limit)?.map(|reading| reading.whole()).transpose()
    }

    /// The file called `name`, to be read as far as it is wanted; absent when there is none.
    ///
    /// # Errors
    /// It cannot be opened, or is a link.
    pub fn reading(&self, name: &str, limit: u64) -> Result<Option<Reading>, DirectoryError> {
        let path = self.beneath(name)?;
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        match openat(&self.file, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(Reading::new(File::from(fd), path, limit))),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(io_error("read", &path, errno)),
        }
    }

    /// The file called `name`, open for reading, after checking that nobody else owns it or could write into it;
    /// absent when there is none.
    ///
    /// # Errors
    /// It cannot be opened, is a link or no file, or others own it or could write into it.
    pub fn open_file(&self, name: &str) -> Result<Option<File>, DirectoryError> {
        let path = self.beneath(name)?;
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let fd = match openat(&self.file, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(io_error("open", &path, errno)),
        };
        let kind = guarded(&fd, &path)?;
        if kind != SFlag::S_IFREG {
            return Err(io_error("use", &path, Errno::EINVAL));
        }
        Ok(Some(File::from(fd)))
    }

    /// Writes the file called `name`: it appears with all its content, or is as it was.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<(), DirectoryError> {
        let path = self.beneath(name)?;
        let draft = format!(".{name}");
        let failed = |errno: Errno| io_error("write", &path, errno);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let fd = openat(&self.file, draft.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR).map_err(failed)?;
        let written = File::from(fd).write_all(content.as_ref());
        written.map_err(|source| DirectoryError::Io { verb: "write", path: path.clone(), source })?;
        renameat(&self.file, draft.as_str(), &self.file, name).map_err(failed)
    }

    /// Opens the file called `name` to write at its end; made when it is missing, for us alone.
    ///
    /// # Errors
    /// It cannot be opened, or is a link.
    pub fn append(&self, name: &str) -> Result<File, DirectoryError> {
        let path = self.beneath(name)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_APPEND | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let fd = openat(&self.file, name, flags | OFlag::O_NONBLOCK, Mode::S_IRUSR | Mode::S_IWUSR);
        fd.map(File::from).map_err(|errno| io_error("append to", &path, errno))
    }

    /// Gives the file called `from` another name.
    ///
    /// # Errors
    /// There is none, or it cannot be renamed.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), DirectoryError> {
        let path = self.beneath(from)?;
        self.beneath(to)?;
        renameat(&self.file, from, &self.file, to).map_err(|errno| io_error("rename", &path, errno))
    }

    /// Removes the file called `name`, and a draft of it that a killed process left.
    ///
    /// # Errors
    /// It is there and cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), DirectoryError> {
        let path = self.beneath(name)?;
        for name in [format!(".{name}"), name.to_owned()] {
            match unlinkat(&self.file, name.as_str(), UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(io_error("remove", &path, errno)),
            }
        }
        Ok(())
    }

    /// Locks the directory, waiting for other processes.
    ///
    /// # Errors
    /// Another process holds it for longer than `patience`.
    pub fn lock(&self, share: Share, patience: Duration) -> Result<Lock, DirectoryError> {
        let failed = |errno| io_error("lock", &self.path, errno);
        let how = match share {
            Share::Shared => FlockArg::LockSharedNonblock,
            Share::Exclusive => FlockArg::LockExclusiveNonblock,
        };
        // Opened anew: a lock belongs to what was opened, and must not be shared with another one.
        let mut fd = openat(&self.file, ".", flags(), Mode::empty()).map_err(failed)?;
        let begun = Instant::now();
        loop {
            match Flock::lock(fd, how) {
                Ok(held) => return Ok(Lock { _held: held }),
                Err((_, errno)) if errno != Errno::EWOULDBLOCK && errno != Errno::EINTR => return Err(failed(errno)),
                Err(_) if begun.elapsed() >= patience => {
                    return Err(DirectoryError::Locked { path: self.path.clone(), patience });
                }
                Err((back, _)) => fd = back,
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn beneath(&self, name: &str) -> Result<PathBuf, DirectoryError> {
        match name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
            true => Err(DirectoryError::Name { path: self.path.clone(), name: name.to_owned() }),
            false => Ok(self.path.join(name)),
        }
    }
}

/// Checks an open file or directory: what kind it is, when nobody else owns it or could write into it.
fn guarded(fd: &OwnedFd, path: &Path) -> Result<SFlag, DirectoryError> {
    let stat = fstat(fd).map_err(|errno| io_error("look at", path, errno))?;
    let mode = stat.st_mode & 0o7777;
    if !is_guarded(stat.st_uid, mode, geteuid().as_raw()) {
        return Err(DirectoryError::Foreign { path: path.to_owned(), owner: stat.st_uid, mode });
    }
    Ok(SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()))
}

/// Whether something of this owner and mode can be written by this user alone.
fn is_guarded(owner: u32, mode: u32, user: u32) -> bool {
    owner == user && mode & 0o022 == 0
}

fn flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW
}

fn io_error(verb: &'static str, path: &Path, errno: Errno) -> DirectoryError {
    DirectoryError::Io { verb, path: path.to_owned(), source: errno.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn only_its_owner_may_write_what_is_guarded() {
        for mode in [0o400, 0o600, 0o644, 0o700, 0o755] {
            assert!(is_guarded(0, mode, 0) && is_guarded(7, mode, 7), "{mode:o}");
            // Not even root trusts what somebody else owns, who may open it to others any time.
            assert!(!is_guarded(7, mode, 0) && !is_guarded(0, mode, 7), "{mode:o}");
            for others in [0o020, 0o002, 0o022] {
                assert!(!is_guarded(0, mode | others, 0), "{mode:o}");
            }
        }
    }

    fn private() -> (tempfile::TempDir, Directory) {
        let parent = tempfile::tempdir().unwrap();
        let directory = Directory::open_private(&parent.path().join("state")).unwrap();
        (parent, directory)
    }

    #[test]
    fn files_are_written_read_listed_and_removed() {
        let (_parent, state) = private();
        let inner = state.make_directory("c1").unwrap();
        assert_eq!(inner.read("eth0.json", 100).unwrap(), None);
        inner.write("eth0.json", "one").unwrap();
        inner.write("eth0.json", "two").unwrap();
        assert_eq!(inner.read("eth0.json", 3).unwrap().as_deref(), Some("two"));
        assert!(matches!(inner.read("eth0.json", 2), Err(DirectoryError::TooLarge { .. })));
        assert_eq!(inner.names().unwrap().collect::<Vec<_>>(), ["eth0.json"]);
        assert!(!state.remove_empty("c1"));
        inner.remove("eth0.json").unwrap();
        inner.remove("eth0.json").unwrap();
        assert!(inner.still_exists() && state.remove_empty("c1") && !inner.still_exists());
        assert!(state.directory("c1").unwrap().is_none());
    }

    #[test]
    fn no_name_and_no_link_leads_out() {
        let (parent, state) = private();
        for bad in ["", ".", "..", "../x", "a/b", ".hidden"] {
            assert!(matches!(state.make_directory(bad), Err(DirectoryError::Name { .. })), "{bad:?}");
            assert!(matches!(state.write(bad, ""), Err(DirectoryError::Name { .. })), "{bad:?}");
        }
        std::fs::write(parent.path().join("secret"), "s").unwrap();
        symlink(parent.path().join("secret"), state.path().join("file")).unwrap();
        symlink(parent.path(), state.path().join("directory")).unwrap();
        assert!(state.read("file", 10).is_err());
        assert!(state.directory("directory").is_err());
    }

    #[test]
    fn a_directory_of_others_is_refused_and_a_readable_one_closed() {
        let (_parent, state) = private();
        let set = |mode| std::fs::set_permissions(state.path(), PermissionsExt::from_mode(mode)).unwrap();
        set(0o777);
        assert!(matches!(Directory::open_private(state.path()), Err(DirectoryError::Foreign { mode: 0o777, .. })));
        set(0o755);
        Directory::open_private(state.path()).unwrap();
        assert_eq!(std::fs::metadata(state.path()).unwrap().permissions().mode() & 0o7777, 0o700);
    }

    #[test]
    fn locks_exclude_and_run_out_of_patience() {
        let (_parent, state) = private();
        let brief = Duration::from_millis(5);
        let (one, two) = (state.lock(Share::Shared, brief).unwrap(), state.lock(Share::Shared, brief).unwrap());
        assert!(matches!(state.lock(Share::Exclusive, brief), Err(DirectoryError::Locked { .. })));
        drop((one, two));
        let alone = state.lock(Share::Exclusive, brief).unwrap();
        assert!(matches!(state.lock(Share::Shared, brief), Err(DirectoryError::Locked { .. })));
        drop(alone);
        drop(state.lock(Share::Shared, brief).unwrap());
    }
}
