//! What guests add to an ADD: the SDK's examples, compiled as on a node, in one pipeline after the other.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use coordinator_lab::{Families, Lab};
use serde_json::Value;

use super::{
    Contender, Programs,
    seat::{Seat, contender},
    show,
};
use crate::{dist, workspace};

/// The guests, each with what a pipeline says of it. None has the kernel do what the others do not: a new MAC address
/// alone takes it ten times as long as all else.
const GUESTS: [(&str, &str); 4] = [
    (
        "subnet-veto",
        "after = \"mode\"\nwith = { subnets = { \"10.6.0.0/16\" = [\"gold\"], \"fd00:10:6::/64\" = [\"gold\"] } }",
    ),
    (
        "default-route",
        "after = \"mode\"\ngrant = [\"setting.podDefaultRouteNic\"]\nwith = { networks = { gold = \"underlay\" } }",
    ),
    (
        "rail-routing",
        "before = \"interface-routes\"\ngrant = [\"pod.route\", \"pod.rule\"]\n\
         with = { prefix = \"net\", rails = 8, fabric = \"10.0.0.0/8\" }",
    ),
    // The built-in stage itself, on the other side of the sandbox.
    ("pod-routes", "replace = \"pod-routes\"\ngrant = [\"pod.route\"]"),
];

fn tool() -> Result<PathBuf> {
    Ok(workspace::target()?.join("dist/coordinatorctl"))
}

fn built(name: &str) -> Result<PathBuf> {
    Ok(workspace::target()?.join("guests").join(format!("{name}.wasm")))
}

/// Builds the tool, and with it the guests; there is a network and a home now.
pub(super) fn provide() -> Result<()> {
    let tool = dist::build(&dist::TOOL)?;
    for (name, _) in GUESTS {
        let file = built(name)?;
        fs::create_dir_all(file.parent().context("a file has a folder")?)?;
        let source = match name {
            "pod-routes" => built_in(name)?,
            example => workspace::root().join("sdk/examples").join(example),
        };
        workspace::run(Command::new(&tool).args(["stage", "build"]).arg(source).arg("--output").arg(file))?;
    }
    Ok(())
}

/// The core module of a built-in stage, which has no options.
fn built_in(name: &str) -> Result<PathBuf> {
    let target = workspace::target()?.join("guests").join(name);
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--package", "coordinator-stages-guests", "--features", name, "--profile", "guest"]);
    cargo.env("COORDINATOR_STAGE_SCHEMA", "");
    workspace::run(cargo.args(["--target", "wasm32-unknown-unknown", "--target-dir"]).arg(&target))?;
    Ok(target.join("wasm32-unknown-unknown/guest/coordinator_stages_guests.wasm"))
}

/// Measures an ADD with none, one, two and four guests.
pub(super) fn measure(lab: &Lab, programs: &Programs, runs: usize) -> Result<()> {
    // A file on a disk lies in memory in large pieces, one in a tmpfs in single pages: to map that takes twice as long.
    let disk = workspace::target()?.join("bench/stages");
    fs::create_dir_all(&disk)?;
    lab.keep_on_disk(Path::new("/var/lib/coordinator"), &disk)?;
    let mut digests = Vec::new();
    for (name, _) in GUESTS {
        let output = Command::new(tool()?).args(["stage", "compile", "--json"]).arg(built(name)?).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let compiled: Value = serde_json::from_slice(&output.stdout)?;
        println!("{name}: an artefact of {} KiB", compiled[0]["artefact_bytes"].as_u64().unwrap_or_default() >> 10);
        digests.push(compiled[0]["sha256"].as_str().context("a digest")?.to_owned());
    }
    fs::create_dir_all("/etc/coordinator/pipelines")?;
    let numbers = [0, 1, 2, 4];
    for number in numbers {
        let mut text = "schema = 1\nextends = \"default\"\n".to_owned();
        for ((name, says), digest) in GUESTS.iter().zip(&digests).take(number) {
            text.push_str(&format!(
                "\n[[stage]]\nname = \"{name}\"\nuse = \"wasm:{name}.wasm\"\nsha256 = \"{digest}\"\n{says}\n"
            ));
        }
        fs::write(format!("/etc/coordinator/pipelines/guests-{number}.toml"), text)?;
    }
    let mut programs_of = Vec::new();
    for number in numbers {
        let seat = Seat::take(lab, &format!("guests{number}"), "eth0", lab.underlay(20, Families::Dual))?;
        "gold".clone_into(&mut seat.pod.namespace.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        let mut settings = lab.cluster();
        settings["pipeline"] = format!("guests-{number}").into();
        let [add, del] =
            ["ADD", "DEL"].map(|command| seat.program(&programs.plugin, command, "coordinator", &settings));
        programs_of.push((number, seat, add, del));
    }
    let mut contenders: Vec<Contender<'_>> = programs_of
        .iter()
        .map(|(number, _, add, del)| contender(&format!("{number} guests"), add, None, Some(del)))
        .collect();
    show(&format!("ADD with guests, dual, medians of {runs} interleaved runs"), &mut contenders, runs)
}
