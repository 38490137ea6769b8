//! `cargo xtask manifests`: what of `deploy/` follows from code and chart, written anew.
//!
//! The definitions come from the agent, the plain manifests from the chart with its defaults. Tests compare both with
//! the committed files, so whoever changes one side sees it.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{
    need::{Job, Wheel},
    no_arguments, setup,
    workspace::{self, cargo},
};

/// Writes the files.
pub fn run(arguments: &[String]) -> Result<()> {
    no_arguments(arguments)?;
    setup::provide(Job::Manifests)?;
    let deploy = workspace::root().join("deploy");
    for (words, file) in [(&["crds"][..], "crds.yaml"), (&["crds", "--before-1.31"], "crds-before-1.31.yaml")] {
        let mut agent = cargo();
        agent.args(["run", "--quiet", "--package", "coordinator-agent", "--"]).args(words);
        fs::write(deploy.join("chart/files").join(file), said(&mut agent)?)?;
    }
    let mut helm = Command::new("python3");
    helm.arg(deploy.join("render.py")).env("PYTHONPATH", Wheel::folder(&workspace::target()?)).stdin(Stdio::null());
    helm.env("COORDINATOR_VALUES", "{}");
    let folder = deploy.join("manifests");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("coordinator.yaml"), said(&mut helm)?)?;
    Ok(())
}

/// What a program prints.
fn said(command: &mut Command) -> Result<Vec<u8>> {
    let shown = workspace::shown(command);
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot run {shown}"))?;
    if !output.status.success() {
        bail!("{shown}: {}", output.status);
    }
    Ok(output.stdout)
}
