//! Pods start while the plugin is replaced. It is a program of its own: another test that forks while the new plugin is
//! being written would hold it open for a moment, as no process of a node does.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout,
    reason = "a test fails by a panic"
)]

use std::{fs, path::Path, process::Command};

use coordinator_agent::install::put;

/// Pods start while the plugin is replaced, over and over: every call finds a whole program.
#[test]
fn it_is_replaced_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("coordinator");
    let programs = ["/bin/true", "/bin/sleep"];
    put(Path::new(programs[0]), &target, 0o755).unwrap();
    // A shell of its own calls: a process that writes a program and forks in between would hold it open itself.
    let done = folder.path().join("done");
    let script = "calls=0; while [ ! -e \"$2\" ]; do \"$1\" 0.001 || exit 1; calls=$((calls + 1)); done; echo $calls";
    let caller = || {
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(&target).arg(&done).stdout(std::process::Stdio::piped()).spawn().unwrap()
    };
    let callers = [caller(), caller()];
    for round in 0..60 {
        put(Path::new(programs[round % 2]), &target, 0o755).unwrap();
    }
    fs::write(&done, "").unwrap();
    let mut calls = 0;
    for caller in callers {
        let output = caller.wait_with_output().unwrap();
        assert!(output.status.success(), "a call failed while the plugin was replaced");
        calls += String::from_utf8(output.stdout).unwrap().trim().parse::<u32>().unwrap();
    }
    assert!(calls > 0);
}
