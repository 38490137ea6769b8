//! Programs that the lab starts: quiet when they work, with all their words when they do not.

use std::{
    env,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

/// Runs a program in the caller's namespaces; its standard output.
pub fn command(program: &str, arguments: &[&str], input: &str) -> Result<String> {
    let mut child = Command::new(program);
    // Debian keeps the tools of the network where an ordinary user's path does not lead.
    let path = env::var("PATH").unwrap_or_default();
    child.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    child.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        child.spawn().with_context(|| format!("cannot start {program}; cargo xtask test says what is missing"))?;
    child.stdin.take().context("the child has a standard input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {}: {}\n{said}{input}", arguments.join(" "), output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The plugin under test: `COORDINATOR_BIN`, else the one that cargo built beside the tests.
pub fn plugin() -> Result<PathBuf> {
    built("COORDINATOR_BIN", "coordinator")
}

/// The operator's tool: `COORDINATORCTL_BIN`, else the one that cargo built beside the tests.
pub fn tool() -> Result<PathBuf> {
    built("COORDINATORCTL_BIN", "coordinatorctl")
}

fn built(variable: &str, name: &str) -> Result<PathBuf> {
    if let Some(path) = env::var_os(variable) {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "{variable} is {}, which is no file", path.display());
        return Ok(path);
    }
    let test = env::current_exe()?;
    let beside = test.ancestors().skip(1).take(3).map(|folder| folder.join(name)).find(|path| path.is_file());
    beside.with_context(|| format!("there is no {name} beside the tests: run cargo xtask test, or set {variable}"))
}
