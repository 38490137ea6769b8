//! `cargo xtask test`: all tests, against the release binaries.
//!
//! Root runs them twice: once as they are, once in a user namespace, where they have what an
//! ordinary user has who may make namespaces. An ordinary user runs them in the namespace only.

use std::process::Command;

use anyhow::{Result, bail};
use nix::unistd::geteuid;

use crate::{
    dist, languages,
    need::Job,
    setup,
    steps::Steps,
    workspace::{self, cargo},
};

/// Tests with one of these in their name want real root: the machine's own container runtime does, and only root gives
/// files away.
const NEEDS_ROOT: [&str; 2] = ["podman", "foreign_owner"];

/// Tells the tests where the plugin is.
pub const PLUGIN: &str = "COORDINATOR_BIN";

/// Runs all tests.
pub fn run(arguments: &[String]) -> Result<()> {
    let all_languages = match arguments {
        [] => false,
        [only] if only == "--all-languages" => true,
        [other, ..] => bail!("unexpected argument {other}"),
    };
    let mut steps = Steps::default();
    all(&mut steps)?;
    if all_languages {
        languages::all(&mut steps)?;
    }
    steps.finish()
}

/// Takes the steps of all tests. What they stand on must be there, so that is no step.
pub fn all(steps: &mut Steps) -> Result<()> {
    setup::provide(Job::Test)?;
    let plugin = dist::build(&dist::PLUGIN)?;

    let mut guest = cargo();
    guest.args(["check", "--package", "coordinator-sdk", "--target", "wasm32-unknown-unknown"]);
    steps.run("vocabulary for wasm32", &mut guest);

    // In its own invocation: what the tool links must not be unified with the plugin.
    let mut tool = cargo();
    workspace::run(tool.args(["build", "--package", "coordinatorctl"]))?;
    let mut build = cargo();
    workspace::run(build.args(["test", "--workspace", "--no-run"]))?;
    if geteuid().is_root() {
        let mut tests = cargo();
        tests.args(["test", "--workspace", "--no-fail-fast"]);
        // Each ADD of each story must do what was planned.
        steps.run_tests("tests as root", tests.env(PLUGIN, &plugin).env(coordinator_lab::EVERY_ADD, "1"));
    } else {
        steps.leave_out("tests as root", "this is an ordinary user; run the same command as root");
    }
    steps.run_tests("tests as a user", in_user_namespace(&cargo()).env(PLUGIN, &plugin));
    Ok(())
}

/// The tests in a namespace of their own, where the caller is root; there is no network to fetch
/// anything from. Documentation's examples touch no kernel and need no second run.
fn in_user_namespace(cargo: &Command) -> Command {
    let mut command = Command::new("unshare");
    command.current_dir(workspace::root()).args(["--user", "--map-root-user", "--net", "--"]).arg(cargo.get_program());
    command.args(["test", "--workspace", "--no-fail-fast", "--offline", "--lib", "--bins", "--tests"]);
    command.arg("--").args(NEEDS_ROOT.into_iter().flat_map(|name| ["--skip", name]));
    command
}
