//! A watch on everything that changes in a namespace: the kernel's own notifications by netlink.
//!
//! It is deaf until it has heard a mark, and silent about what comes after the next one: nothing here waits for a time.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result};

use crate::{command::command, host::Host};

/// `ip monitor` and `nft monitor` in one namespace.
#[derive(Debug)]
pub struct Monitor<'h> {
    host: &'h Host,
    watches: [Watch; 2],
}

#[derive(Debug)]
struct Watch {
    child: Child,
    lines: BufReader<ChildStdout>,
}

/// What marks the beginning and the end: an address and a table of nobody's.
const MARKS: [[&str; 2]; 2] = [["198.51.100.1", "mark_begin"], ["198.51.100.2", "mark_end"]];

impl<'h> Monitor<'h> {
    /// Begins to watch; what happens after this returns is heard.
    ///
    /// # Errors
    /// A tool fails.
    pub fn begin(host: &'h Host) -> Result<Self> {
        let ip = start(host, "ip", &["-oneline", "monitor", "link", "address", "route", "rule", "netconf"])?;
        let nft = start(host, "nft", &["monitor"])?;
        let mut monitor = Self { host, watches: [ip, nft] };
        // A mark that came before the ears were open is made again.
        for (at, mark) in MARKS[0].iter().enumerate() {
            loop {
                monitor.mark(at, mark)?;
                if monitor.watches[at].heard(mark)?.is_some() {
                    break;
                }
            }
        }
        Ok(monitor)
    }

    /// Ends the watch: what was heard, a line each.
    ///
    /// # Errors
    /// A tool fails.
    pub fn end(mut self) -> Result<Vec<String>> {
        let mut heard = Vec::new();
        for (at, mark) in MARKS[1].iter().enumerate() {
            self.mark(at, mark)?;
            heard.extend(self.watches[at].heard(mark)?.unwrap_or_default());
        }
        let is_mark = |line: &String| MARKS.iter().flatten().any(|mark| line.contains(mark));
        heard.retain(|line| !is_mark(line) && !line.trim().is_empty() && !line.contains("new generation"));
        Ok(heard)
    }

    /// Makes a mark and takes it away.
    fn mark(&self, at: usize, mark: &str) -> Result<()> {
        match at {
            0 => self.host.ip(&[&format!("address add {mark}/32 dev lo"), &format!("address del {mark}/32 dev lo")]),
            _ => {
                let script = format!("add table inet {mark}\ndelete table inet {mark}\n");
                self.host.enter(|| command("nft", &["-f", "-"], &script))?.map(drop)
            }
        }
    }
}

impl Drop for Monitor<'_> {
    fn drop(&mut self) {
        for watch in &mut self.watches {
            let _ = watch.child.kill();
            let _ = watch.child.wait();
        }
    }
}

impl Watch {
    /// The lines before the one that says the mark; nothing when there is none within a second.
    fn heard(&mut self, mark: &str) -> Result<Option<Vec<String>>> {
        use std::os::fd::AsFd as _;
        let mut lines = Vec::new();
        loop {
            if self.lines.buffer().is_empty() {
                let mut fds = [nix::poll::PollFd::new(self.lines.get_ref().as_fd(), nix::poll::PollFlags::POLLIN)];
                if nix::poll::poll(&mut fds, 1000_u16)? == 0 {
                    return Ok(None);
                }
            }
            let mut line = String::new();
            if self.lines.read_line(&mut line)? == 0 || line.contains(mark) {
                return Ok(Some(lines));
            }
            lines.push(line.trim_end().to_owned());
        }
    }
}

fn start(host: &Host, program: &str, arguments: &[&str]) -> Result<Watch> {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let spawn = || {
        Command::new(program).env("PATH", &path).args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
    };
    let mut child = host.enter(spawn)?.with_context(|| format!("cannot start {program} monitor"))?;
    let lines = BufReader::new(child.stdout.take().context("the child has a standard output")?);
    Ok(Watch { child, lines })
}
