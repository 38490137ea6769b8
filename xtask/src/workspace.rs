//! Where the workspace is, where its builds go, and how cargo is called in it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

/// The folder of the workspace's `Cargo.toml`.
pub fn root() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    own.parent().map(Path::to_owned).unwrap_or(own)
}

/// Cargo, as the toolchain that built this program has it, in the workspace's folder.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// The folder into which cargo builds: `target/`, or what `CARGO_TARGET_DIR` or a configuration says.
pub fn target() -> Result<PathBuf> {
    let output =
        cargo().args(["metadata", "--no-deps", "--format-version=1"]).output().context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("cannot read what cargo metadata says")?;
    let target = metadata["target_directory"].as_str().context("cargo metadata names no target_directory")?;
    Ok(target.into())
}

/// This program's own subcommand, in namespaces where an ordinary user is root.
pub fn inside_namespaces(subcommand: &str) -> Result<Command> {
    let this = std::env::current_exe().context("cannot find this program")?;
    let mut command = match geteuid().is_root() {
        true => Command::new(this),
        false => {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-root-user", "--net", "--"]).arg(this);
            command
        }
    };
    command.arg(subcommand);
    Ok(command)
}

/// Runs a program to its end, with this one's standard streams.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command.status().with_context(|| format!("cannot run {shown}"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

/// A command as one would type it.
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let words = std::iter::once(program).chain(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_holds_the_workspace() {
        let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
    }

    #[test]
    fn a_command_is_shown_as_typed() {
        assert_eq!(shown(Command::new("/usr/bin/env").args(["true", "-v"])), "env true -v");
    }

    #[test]
    fn a_failure_names_command_and_status() {
        let error = run(&mut Command::new("false")).unwrap_err().to_string();
        assert_eq!(error, "false: exit status: 1");
        assert!(run(&mut Command::new("/nonexistent/program")).unwrap_err().to_string().contains("cannot run program"));
    }
}
