//! What a namespace holds, as lines that can be compared: links, addresses, routes, rules, permanent
//! neighbours, parameters, nftables.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::Result;

use crate::{command::command, host::Host};

/// The state of one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    lines: BTreeSet<String>,
}

impl Host {
    /// Looks at everything in the namespace that a plugin could change.
    ///
    /// # Errors
    /// A tool fails.
    pub fn snapshot(&self) -> Result<Snapshot> {
        let lines = self.enter(look)??;
        Ok(Snapshot { lines })
    }
}

impl Snapshot {
    /// The lines that contain `text`.
    pub fn with<'s>(&'s self, text: &'s str) -> impl Iterator<Item = &'s str> {
        self.lines.iter().map(String::as_str).filter(move |line| line.contains(text))
    }
}

/// What is new (`+`) and what is gone (`-`), a line each; empty when both are equal.
pub fn difference(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let gone = before.lines.difference(&after.lines).map(|line| format!("- {line}"));
    let new = after.lines.difference(&before.lines).map(|line| format!("+ {line}"));
    gone.chain(new).collect()
}

fn look() -> Result<BTreeSet<String>> {
    let mut lines = BTreeSet::new();
    let views: [(&str, &[&str]); 8] = [
        ("link", &["-oneline", "link"]),
        ("address", &["-oneline", "address"]),
        ("route4", &["-4", "-details", "route", "show", "table", "all"]),
        ("route6", &["-6", "-details", "route", "show", "table", "all"]),
        ("rule4", &["-4", "-details", "rule"]),
        ("rule6", &["-6", "-details", "rule"]),
        ("neighbour4", &["-4", "neighbour", "show", "nud", "permanent"]),
        ("neighbour6", &["-6", "neighbour", "show", "nud", "permanent"]),
    ];
    for (what, arguments) in views {
        let output = command("ip", arguments, "")?;
        lines.extend(output.lines().filter(|line| !line.trim().is_empty()).map(|line| {
            // "7: eth0@if6:" is "eth0"; a rule's number is its priority.
            let line = if what == "link" || what == "address" {
                line.split_once(": ").map_or(line, |(_, rest)| rest)
            } else {
                line
            };
            format!("{what} {}", stable(line))
        }));
    }
    let ruleset = command("nft", &["list", "ruleset"], "")?;
    lines.extend(ruleset.lines().enumerate().map(|(at, line)| format!("nftables {at:04} {line}")));
    for root in ["/proc/sys/net/ipv4/conf", "/proc/sys/net/ipv6/conf"] {
        for interface in fs::read_dir(root)? {
            parameters(&interface?.path(), &mut lines)?;
        }
    }
    Ok(lines)
}

/// Interface numbers are given anew and lifetimes count down: neither is state.
fn stable(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let skips = ["valid_lft", "preferred_lft", "expires", "linkmode"];
    let mut kept = Vec::new();
    let mut skip = 0;
    for word in &words {
        match word {
            _ if skip > 0 => skip -= 1,
            _ if skips.contains(word) => skip = 1,
            _ => kept.push(word.split("@if").next().unwrap_or(word)),
        }
    }
    kept.join(" ")
}

fn parameters(folder: &Path, lines: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // Some can only be written, and the secrets of addresses only read by themselves.
        if let Ok(value) = fs::read_to_string(&path) {
            lines.insert(format!("sysctl {} {}", path.display(), value.trim()));
        }
    }
    Ok(())
}
