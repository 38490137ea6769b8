//! `cargo xtask ci`: exactly what CI runs.

use std::{path::PathBuf, process::Command};

use anyhow::{Result, bail};

use crate::{
    need::program,
    steps::Steps,
    test,
    workspace::{self, cargo},
};

/// The version that `deny.toml` was written for.
const CARGO_DENY: &str = "0.20.2";

/// Runs every check, then all tests.
pub fn run(arguments: &[String]) -> Result<()> {
    let advisories = match arguments {
        [] => true,
        [only] if only == "--without-advisories" => false,
        [other, ..] => bail!("unexpected argument {other}"),
    };
    let mut steps = Steps::default();
    // Without this, the builds below would write a lock file that nobody committed.
    steps.run("lock file", cargo().args(["fetch", "--locked"]));
    steps.run("formatting", cargo().args(["fmt", "--all", "--check"]));
    steps.run("clippy", cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]));

    let deny = cargo_deny()?;
    let check = |what: &[&str]| {
        let mut command = Command::new(&deny);
        command.current_dir(workspace::root()).arg("check").args(what);
        command
    };
    steps.run("dependencies", &mut check(&["bans", "licenses", "sources"]));
    if advisories {
        steps.run("advisories", &mut check(&["advisories"]));
    } else {
        steps.leave_out("advisories", "--without-advisories");
    }
    test::all(&mut steps)?;
    steps.finish()
}

/// Finds cargo-deny, or installs it below the target directory.
fn cargo_deny() -> Result<PathBuf> {
    let tools = workspace::target()?.join("tools");
    let ours = tools.join("bin/cargo-deny");
    if ours.is_file() {
        return Ok(ours);
    }
    if let Some(theirs) = program("cargo-deny") {
        return Ok(theirs);
    }
    let mut install = cargo();
    install.args(["install", "--locked", "--version", CARGO_DENY, "--root"]).arg(&tools).arg("cargo-deny");
    workspace::run(&mut install)?;
    Ok(ours)
}
