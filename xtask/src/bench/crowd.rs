//! As many Pods as a node holds, all attached at once, and all detached at once.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use coordinator_lab::{Families, Lab};

use super::{Programs, seat::Seat};
use crate::measure::{Program, Running};

/// Kubernetes' default limit.
const PODS: u8 = 110;
/// Rounds; each starts 110 processes.
const MOST_ROUNDS: usize = 9;

/// Measures the whole crowd, from the first start to the last end, beside the floor program's.
pub(super) fn measure(lab: &Lab, programs: &Programs, runs: usize) -> Result<()> {
    let settings = lab.cluster();
    let mut seats = Vec::new();
    for number in 0..PODS {
        let network = lab.underlay(2 + number, Families::Dual);
        seats.push((2 + number, Seat::take(lab, &format!("pod-{number}"), "eth0", network)?));
    }
    let floor = |command: &str| -> Vec<Program> {
        seats.iter().map(|(number, seat)| seat.floor(programs, command, "dual", *number)).collect()
    };
    let plugin = |command: &str| -> Vec<Program> {
        seats.iter().map(|(_, seat)| seat.program(&programs.plugin, command, "coordinator", &settings)).collect()
    };
    let crowds = [("floor", floor("add"), floor("del")), ("coordinator", plugin("ADD"), plugin("DEL"))];
    let rounds = runs.min(MOST_ROUNDS);
    let mut times = vec![(Vec::new(), Vec::new()); crowds.len()];
    for _ in 0..rounds {
        for ((_, add, del), (adds, dels)) in crowds.iter().zip(&mut times) {
            adds.push(at_once(add)?);
            dels.push(at_once(del)?);
        }
    }
    println!("\n### {PODS} ADDs at once, then {PODS} DELs at once, dual, medians of {rounds} interleaved rounds\n");
    println!("| | all ADDs | ADDs per second | × floor | all DELs | DELs per second | × floor |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
    let mut base: Option<(Duration, Duration)> = None;
    for ((name, ..), (adds, dels)) in crowds.iter().zip(&mut times) {
        let (add, del) = (median(adds)?, median(dels)?);
        let (base_add, base_del) = *base.get_or_insert((add, del));
        let rate = |time: Duration| f64::from(PODS) / time.as_secs_f64();
        let ratio = |time: Duration, base: Duration| time.as_secs_f64() / base.as_secs_f64();
        println!(
            "| {name} | {:.0} ms | {:.0} | {:.2} | {:.0} ms | {:.0} | {:.2} |",
            add.as_secs_f64() * 1000.0,
            rate(add),
            ratio(add, base_add),
            del.as_secs_f64() * 1000.0,
            rate(del),
            ratio(del, base_del)
        );
    }
    Ok(())
}

fn at_once(programs: &[Program]) -> Result<Duration> {
    let begun = Instant::now();
    let running: Vec<Running> = programs.iter().map(Program::start).collect::<Result<_>>()?;
    running.into_iter().try_for_each(Running::finish)?;
    Ok(begun.elapsed())
}

fn median(times: &mut [Duration]) -> Result<Duration> {
    times.sort_unstable();
    times.get(times.len() / 2).copied().context("there must be at least one round")
}
