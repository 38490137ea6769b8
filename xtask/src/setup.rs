//! Makes sure that what a subcommand needs is there: installs it where that is possible, and says
//! otherwise exactly what is missing and the command that installs it.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

use crate::{
    need::{Job, PACKAGES, Package, TARGETS, Target, WHEELS, Wheel, program},
    workspace,
};

/// Provides everything that `job` needs.
pub fn provide(job: Job) -> Result<()> {
    let targets = missing_targets(job)?;
    let packages = missing_packages(job);
    let rustup = program("rustup");
    let debian = program("apt-get").is_some();
    let mut missing = Vec::new();

    match &rustup {
        Some(rustup) if !targets.is_empty() => {
            let mut command = Command::new(rustup);
            command.current_dir(workspace::root()).args(["target", "add"]);
            workspace::run(command.args(targets.iter().map(|target| target.triple)))?;
        }
        _ => missing.extend(targets_wanted(&targets)),
    }
    if !packages.is_empty() && debian && geteuid().is_root() {
        install(&packages)?;
    } else {
        missing.extend(packages_wanted(&packages, debian));
    }
    if !missing.is_empty() {
        bail!("this machine lacks something\n{}", missing.join("\n"));
    }
    provide_wheels(job)
}

/// Python's packages go below the target directory, whoever the user is.
fn provide_wheels(job: Job) -> Result<()> {
    let target = workspace::target()?;
    for wheel in WHEELS.iter().filter(|wheel| wheel.jobs.contains(&job) && !wheel.is_there(&target)) {
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--disable-pip-version-check",
            "--upgrade",
            "--target",
        ]);
        pip.arg(Wheel::folder(&target)).arg(format!("{}=={}", wheel.name, wheel.version));
        workspace::run(&mut pip).with_context(|| format!("{} ({}) is missing", wheel.name, wheel.purpose))?;
    }
    Ok(())
}

/// The toolchain's libraries say which targets it has; rustup itself need not be there.
fn missing_targets(job: Job) -> Result<Vec<&'static Target>> {
    let output = Command::new("rustc")
        .current_dir(workspace::root())
        .args(["--print", "sysroot"])
        .output()
        .context("cannot run rustc")?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let there = |target: &Target| sysroot.join("lib/rustlib").join(target.triple).join("lib").is_dir();
    Ok(TARGETS.iter().filter(|target| target.jobs.contains(&job) && !there(target)).collect())
}

fn missing_packages(job: Job) -> Vec<&'static Package> {
    PACKAGES.iter().filter(|package| package.jobs.contains(&job) && !package.proof.holds()).collect()
}

fn install(packages: &[&Package]) -> Result<()> {
    let apt = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        // Packages such as podman ask questions otherwise; there may be nobody to answer.
        command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).arg("--quiet").args(words);
        workspace::run(&mut command)
    };
    apt(&["update"])?;
    let names: Vec<&str> = packages.iter().map(|package| package.name).collect();
    apt(&[&["install", "--yes", "--no-install-recommends"], names.as_slice()].concat())?;
    match packages.iter().find(|package| !package.proof.holds()) {
        Some(package) => bail!("package {} was installed, but {:?} is not there", package.name, package.proof),
        None => Ok(()),
    }
}

/// What is missing of the toolchain, a line each, and the command that installs it.
fn targets_wanted(targets: &[&Target]) -> Vec<String> {
    let mut lines: Vec<String> =
        targets.iter().map(|target| format!("  Rust target {} ({})", target.triple, target.purpose)).collect();
    if !lines.is_empty() {
        let names: Vec<&str> = targets.iter().map(|target| target.triple).collect();
        lines.push(format!("  install rustup (https://rustup.rs), then: rustup target add {}", names.join(" ")));
    }
    lines
}

/// What is missing of the system, a line each, and the command that installs it.
fn packages_wanted(packages: &[&Package], debian: bool) -> Vec<String> {
    let mut lines: Vec<String> =
        packages.iter().map(|package| format!("  package {} ({})", package.name, package.purpose)).collect();
    let names: Vec<&str> = packages.iter().map(|package| package.name).collect();
    if names.is_empty() {
    } else if debian {
        let names = names.join(" ");
        lines.push(format!("  run: sudo apt-get update && sudo apt-get install --yes --no-install-recommends {names}"));
    } else {
        lines.push("  these are Debian's names; install what brings the same programs".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_remedy() {
        let packages: Vec<&Package> = PACKAGES.iter().filter(|it| ["podman", "runc"].contains(&it.name)).collect();
        let lines = packages_wanted(&packages, true);
        assert_eq!(lines[0], "  package podman (the test with a real runtime)");
        assert!(lines[2].ends_with("install --yes --no-install-recommends podman runc"), "{lines:?}");
        assert!(packages_wanted(&packages, false)[2].contains("Debian's names"));
        assert!(targets_wanted(&[&TARGETS[0]])[1].ends_with("rustup target add x86_64-unknown-linux-musl"));
    }

    #[test]
    fn nothing_missing_needs_no_line() {
        assert!(packages_wanted(&[], true).is_empty() && targets_wanted(&[]).is_empty());
    }
}
