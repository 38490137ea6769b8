//! A host: a network namespace, its addresses, and a server that echoes on TCP port 8080.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv6Addr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    path::PathBuf,
    sync::OnceLock,
};

use anyhow::{Context as _, Result, anyhow};
use coordinator_stages::kernel::namespace::Namespace;
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::socket::{Shutdown, shutdown},
};

use crate::command::command;

/// Where every host's server listens.
pub(crate) const PORT: u16 = 8080;

/// A network namespace with a name.
#[derive(Debug)]
pub struct Host {
    /// Its name.
    pub name: String,
    namespace: Namespace,
    server: OnceLock<TcpListener>,
}

impl Host {
    /// The caller's own namespace.
    pub(crate) fn current(name: &str) -> Result<Self> {
        Ok(Self { name: name.to_owned(), namespace: Namespace::current()?, server: OnceLock::new() })
    }

    /// A new namespace, bound to `/run/netns/<name>`.
    pub(crate) fn create(name: &str) -> Result<Self> {
        let path = PathBuf::from(format!("/run/netns/{name}"));
        fs::create_dir_all("/run/netns")?;
        fs::File::create(&path)?;
        let bind = || -> Result<()> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            mount(Some("/proc/thread-self/ns/net"), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
            Ok(())
        };
        let made = std::thread::scope(|scope| scope.spawn(bind).join());
        made.map_err(|_| anyhow!("cannot make namespace {name}"))?
            .with_context(|| format!("cannot make namespace {name}"))?;
        let host = Self { name: name.to_owned(), namespace: Namespace::open(&path)?, server: OnceLock::new() };
        host.ip(&["link set lo up"])?;
        Ok(host)
    }

    /// Where its namespace is bound.
    pub fn path(&self) -> PathBuf {
        self.namespace.path().to_owned()
    }

    /// The namespace itself.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Takes the path away; the namespace lives on, as a container's does that a process holds.
    pub fn unbind(&self) -> Result<()> {
        umount2(self.namespace.path(), MntFlags::MNT_DETACH)?;
        Ok(fs::remove_file(self.namespace.path())?)
    }

    /// Has new interfaces use their addresses at once.
    ///
    /// # Errors
    /// The parameter cannot be written.
    pub fn without_duplicate_detection(&self) -> Result<()> {
        self.sysctl("net/ipv6/conf/default/accept_dad", "0")
    }

    /// Runs `work` inside.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        Ok(self.namespace.enter(|_| work())?)
    }

    /// Runs `ip` commands inside, in order; those of one family in one process.
    pub fn ip(&self, lines: &[&str]) -> Result<()> {
        for group in lines.chunk_by(|left, right| left.starts_with("-6 ") == right.starts_with("-6 ")) {
            let is_v6 = group.iter().any(|line| line.starts_with("-6 "));
            let script: String = group.iter().map(|line| format!("{}\n", line.trim_start_matches("-6 "))).collect();
            let arguments: &[&str] = if is_v6 { &["-6", "-batch", "-"] } else { &["-batch", "-"] };
            self.enter(|| command("ip", arguments, &script))?.with_context(|| format!("on {}", self.name))?;
        }
        Ok(())
    }

    /// Runs a program inside; its standard output.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        self.enter(|| command(program, arguments, ""))?.with_context(|| format!("on {}", self.name))
    }

    /// As [`Host::run`], with something on the program's standard input.
    pub fn run_with(&self, program: &str, arguments: &[&str], input: &str) -> Result<String> {
        self.enter(|| command(program, arguments, input))?.with_context(|| format!("on {}", self.name))
    }

    /// Sets a kernel parameter by its path below `/proc/sys`.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/{key}");
        self.enter(|| fs::write(&path, value))?.with_context(|| format!("{path} on {}", self.name))
    }

    /// Starts the server: it says who is connected, and echoes. Starting it twice is as once.
    pub(crate) fn serve(&self) -> Result<()> {
        if self.server.get().is_some() {
            return Ok(());
        }
        let listener = self.enter(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT)))??;
        let accepting = listener.try_clone()?;
        // The threads live until the listener is shut down and their peers have gone.
        std::thread::spawn(move || {
            while let Ok((stream, peer)) = accepting.accept() {
                std::thread::spawn(move || echo(stream, peer.ip()));
            }
        });
        let _ = self.server.set(listener);
        Ok(())
    }

    /// How many packets each interface received and sent.
    pub(crate) fn packets(&self) -> Result<BTreeMap<String, (u64, u64)>> {
        let text = self.enter(|| fs::read_to_string("/proc/thread-self/net/dev"))??;
        let line = |line: &str| {
            let (name, counters) = line.split_once(':')?;
            let numbers: Vec<u64> = counters.split_whitespace().filter_map(|number| number.parse().ok()).collect();
            Some((name.trim().to_owned(), (*numbers.get(1)?, *numbers.get(9)?)))
        };
        Ok(text.lines().filter_map(line).filter(|(name, _)| name != "lo").collect())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(server) = self.server.get() {
            let _ = shutdown(server.as_raw_fd(), Shutdown::Both);
        }
    }
}

fn echo(mut stream: TcpStream, peer: IpAddr) {
    let _ = stream.set_nodelay(true);
    if stream.write_all(format!("{}\n", peer.to_canonical()).as_bytes()).is_err() {
        return;
    }
    let mut byte = [0];
    while matches!(stream.read(&mut byte), Ok(1)) {
        if stream.write_all(&byte).is_err() {
            return;
        }
    }
}
