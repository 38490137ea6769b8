//! `coordinatorctl stage bench`: what a component costs, cold as an ADD meets it, and warm.

use std::{path::PathBuf, time::Instant};

use clap::Args;
use coordinator_core::{
    guest::{Artefacts, Guest, Shelf, StageFailure, compile, measure},
    replay::read_facts,
};
use serde_json::json;

use super::given::{Bound, component, stage_failure};
use crate::{exit::Exit, failure::Failure, table, terminal::Terminal};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    stage: Bound,
    /// Recorded facts
    #[arg(long, value_name = "FILE")]
    facts: PathBuf,
    /// How often
    #[arg(long, default_value_t = 200)]
    runs: u32,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let facts = read_facts(&arguments.facts)?;
    let path = &arguments.stage.file;
    let failed = |source| stage_failure(path, source);
    let bytes = component(path)?;
    let compiled = compile(&bytes).map_err(failed)?;
    let grants =
        if arguments.stage.grant.is_empty() { compiled.manifest.needs.clone() } else { arguments.stage.grant.clone() };

    // The artefact lies where only the caller can write, as on a node.
    let folder = std::env::temp_dir().join(format!("coordinatorctl-bench-{}", std::process::id()));
    let store = || Artefacts::make(&folder)?.store(&compiled.artefact, &compiled.manifest);
    store().map_err(failed)?;
    let guest = Guest::new(compiled.manifest.name.clone(), compiled.manifest.source, Shelf::at(&folder));
    let guest = guest.grants(grants).options(arguments.stage.with.clone());
    let ask = |said: Result<_, StageFailure>| match said {
        Ok(_) | Err(StageFailure::Refused(_)) => Ok(()),
        Err(StageFailure::Failed(failure)) => Err(failed(failure)),
    };
    let timed = |work: &mut dyn FnMut() -> Result<(), Failure>| {
        let mut took = Vec::new();
        for _ in 0..arguments.runs.max(1) {
            let begun = Instant::now();
            work()?;
            took.push(begun.elapsed());
        }
        took.sort_unstable();
        Ok::<_, Failure>(took.get(took.len() / 2).copied().unwrap_or_default())
    };
    let cold = timed(&mut || ask(guest.decide(&facts)));
    let warm = cold.and_then(|cold| {
        let loaded = guest.load().map_err(failed)?;
        Ok((cold, timed(&mut || ask(loaded.decide(&facts)))?))
    });
    // Whatever came of it, the folder goes.
    drop(std::fs::remove_dir_all(&folder));
    let (cold, warm) = warm?;
    let used = measure(&bytes, &facts, &arguments.stage.with).map_err(failed)?;

    let micros = |time: std::time::Duration| format!("{:.1} µs", time.as_secs_f64() * 1e6);
    if arguments.json {
        terminal.answer_json(&json!({
            "cold_us": cold.as_secs_f64() * 1e6, "warm_us": warm.as_secs_f64() * 1e6, "fuel": used.fuel,
            "memory_bytes": used.memory_bytes, "artefact_bytes": compiled.manifest.bytes,
        }))?;
        return Ok(Exit::Success);
    }
    let rows = [
        ("cold: mapped, one instance, one decision", micros(cold)),
        ("warm: one instance, one decision", micros(warm)),
        ("instructions (fuel) of a decision", used.fuel.to_string()),
        ("memory of an instance", format!("{} KiB", used.memory_bytes >> 10)),
        ("artefact", format!("{} KiB", compiled.manifest.bytes >> 10)),
    ];
    let rows = rows.into_iter().map(|(what, value)| vec![what.to_owned(), value]);
    terminal.answer(&table::render(&["what", "median"], rows))?;
    Ok(Exit::Success)
}
