//! Network namespaces: opened by path or taken from the caller, entered by one function.
//!
//! Nothing else in the project calls `setns`. Work inside a namespace runs on the thread that asks for it,
//! which is back when the work ends, however it ends: a thread that cannot come back takes the process with it.

use std::{
    fs::File,
    io,
    marker::PhantomData,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{OFlag, open},
    sched::{CloneFlags, setns},
    sys::{
        stat::{Mode, fstat},
        statfs::{NSFS_MAGIC, fstatfs},
    },
};

use super::{
    link,
    netlink::{Netlink, NetlinkError},
};

/// Why a namespace cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// The path does not lead to a file that can be opened.
    #[error("cannot open network namespace {path}")]
    Open {
        /// The path as given.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The path leads to something else.
    #[error("{path} is not a network namespace")]
    NotANamespace {
        /// The path as given.
        path: PathBuf,
    },
    /// `setns` failed.
    #[error("cannot enter network namespace {path}")]
    Enter {
        /// The path as given.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Proof that the calling thread is inside a namespace. It cannot leave the thread.
///
/// What the kernel looks up for the thread that asks takes it, so that a node's parameter is never
/// taken for a Pod's.
#[derive(Debug)]
pub struct Inside<'n> {
    namespace: &'n Namespace,
    thread: PhantomData<*const ()>,
}

impl Inside<'_> {
    /// Where the thread is.
    pub fn namespace(&self) -> &Namespace {
        self.namespace
    }
}

/// An open network namespace; it lives as long as this does.
#[derive(Debug)]
pub struct Namespace {
    file: File,
    path: PathBuf,
    identity: (u64, u64),
}

impl Namespace {
    /// Opens the namespace behind `path` and checks, on the open file, that it is one.
    ///
    /// # Errors
    /// The path cannot be opened, or is not a network namespace.
    pub fn open(path: &Path) -> Result<Self, NamespaceError> {
        let opened = Self::open_unchecked(path)?;
        match opened.is_of_network() {
            true => Ok(opened),
            false => Err(NamespaceError::NotANamespace { path: path.to_owned() }),
        }
    }

    fn open_unchecked(path: &Path) -> Result<Self, NamespaceError> {
        // O_NONBLOCK: a FIFO or device put in the place of a namespace must not hold us up.
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let fd = open(path, flags, Mode::empty())
            .map_err(|errno| NamespaceError::Open { path: path.to_owned(), source: errno.into() })?;
        let file = File::from(fd);
        let stat = fstat(&file).map_err(|_| NamespaceError::NotANamespace { path: path.to_owned() })?;
        Ok(Self { file, path: path.to_owned(), identity: (stat.st_dev, stat.st_ino) })
    }

    /// Whether it is a namespace at all, and one of the network: asked for its id, the kernel refuses any other
    /// kind. Nothing can be read off the file: where it is bind-mounted, its link shows the mount's path.
    fn is_of_network(&self) -> bool {
        let is_namespace = fstatfs(&self.file).is_ok_and(|system| system.filesystem_type() == NSFS_MAGIC);
        let has_id = || {
            let mut netlink = Netlink::open()?;
            Ok::<_, NetlinkError>(link::namespace_id(&mut netlink, self.as_fd())?.is_ok())
        };
        is_namespace && has_id().unwrap_or(false)
    }

    /// The calling thread's own namespace.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn current() -> Result<Self, NamespaceError> {
        Self::open_unchecked(Path::new("/proc/thread-self/ns/net"))
    }

    /// The namespace with this identity (device and inode), when a process lives in it.
    ///
    /// It looks at every process of the machine: for the case that a path is gone, and no other.
    pub fn of_a_process(identity: (u64, u64)) -> Option<Self> {
        let mut paths = std::fs::read_dir("/proc").ok()?.filter_map(|entry| {
            let entry = entry.ok()?;
            entry.file_name().to_str()?.parse::<u32>().ok()?;
            Some(entry.path().join("ns/net"))
        });
        paths.find_map(|path| {
            let found = nix::sys::stat::stat(&path).ok().filter(|found| (found.st_dev, found.st_ino) == identity)?;
            // The process may end, and its number be another's, in between: what was opened decides.
            Self::open(&path).ok().filter(|opened| opened.identity() == (found.st_dev, found.st_ino))
        })
    }

    /// The path by which it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Device and inode: equal for two handles of one namespace.
    pub fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// Runs `work` inside the namespace and returns its result; the thread is then back where it was.
    ///
    /// Sockets and files that `work` opens keep the namespace. A thread of its own would cost 0.15 ms.
    ///
    /// # Errors
    /// The namespace cannot be entered; `work` has not run then.
    pub fn enter<T>(&self, work: impl FnOnce(&Inside<'_>) -> T) -> Result<T, NamespaceError> {
        let home = Self::current()?;
        setns(&self.file, CloneFlags::CLONE_NEWNET)
            .map_err(|errno| NamespaceError::Enter { path: self.path.clone(), source: errno.into() })?;
        let _way = WayHome(home);
        Ok(work(&Inside { namespace: self, thread: PhantomData }))
    }
}

/// Brings the thread back to its namespace, also when it unwinds.
struct WayHome(Namespace);

impl Drop for WayHome {
    fn drop(&mut self) {
        if let Err(errno) = setns(&self.0.file, CloneFlags::CLONE_NEWNET) {
            // Whatever this thread did next, it would do to a Pod instead of the node.
            tracing::error!(%errno, "Cannot come back from a pod's network namespace.");
            std::process::abort();
        }
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_other_namespaces_are_refused() {
        assert!(matches!(Namespace::open(Path::new("/etc/hostname")), Err(NamespaceError::NotANamespace { .. })));
        assert!(matches!(Namespace::open(Path::new("/proc/self/ns/mnt")), Err(NamespaceError::NotANamespace { .. })));
        assert!(matches!(Namespace::open(Path::new("/nonexistent")), Err(NamespaceError::Open { .. })));
    }

    #[test]
    fn a_namespace_is_itself() {
        let (a, b) = (Namespace::current().unwrap(), Namespace::open(Path::new("/proc/self/ns/net")).unwrap());
        assert_eq!(a.identity(), b.identity());
        assert_eq!(a.enter(|_| Namespace::current().unwrap().identity()).unwrap(), a.identity());
    }

    #[test]
    fn the_thread_comes_back_even_from_a_panic() {
        crate::kernel::isolated(|| {
            let home = Namespace::current().unwrap().identity();
            let (send, receive) = std::sync::mpsc::channel();
            crate::kernel::isolated(move || send.send(Namespace::current().unwrap()).unwrap());
            let there: Namespace = receive.recv().unwrap();
            assert_ne!(there.identity(), home);
            let here = || Namespace::current().unwrap().identity();
            assert_eq!(there.enter(|_| here()).unwrap(), there.identity());
            assert_eq!(here(), home);
            let fall = std::panic::AssertUnwindSafe(|| there.enter(|_| assert_eq!(here(), home, "it is elsewhere")));
            assert!(std::panic::catch_unwind(fall).is_err());
            assert_eq!(here(), home);
        });
    }
}
