//! ADD of a Pod's n-th interface, the others attached, beside the floor program for the same interface of the same Pod.

use anyhow::{Context as _, Result};
use coordinator_lab::{Families, Lab};

use super::{
    Programs, compete,
    seat::{Seat, contender},
};
use crate::measure::Program;

const NAMES: [&str; 8] = ["eth0", "net1", "net2", "net3", "net4", "net5", "net6", "net7"];

/// Measures it for one to eight interfaces, each in a Pod of its own.
pub(super) fn measure(lab: &Lab, programs: &Programs, runs: usize) -> Result<()> {
    let settings = lab.cluster();
    let mut commands: Vec<[(String, Program, Program); 2]> = Vec::new();
    for count in 1..=NAMES.len() {
        let mut seat: Option<Seat> = None;
        let first = u8::try_from(20 + count * 10)?;
        for (at, interface) in NAMES.into_iter().take(count).enumerate() {
            let network = lab.network(1 + u8::try_from(at % 2)?, first + u8::try_from(at)?, Families::Dual);
            let next = match &seat {
                None => Seat::take(lab, &format!("pod-{count}"), interface, network)?,
                Some(first) => first.beside(interface, network)?,
            };
            if at + 1 < count {
                next.program(&programs.plugin, "ADD", "coordinator", &settings).measure()?;
            }
            seat = Some(next);
        }
        let seat = seat.context("at least one interface")?;
        let veth: String = seat.pod.container.chars().take(11).collect();
        let floor = |command: &str| match count {
            // The other Pods need the node's rules.
            1 => seat.floor(programs, command, "dual", first).argument("beside"),
            _ => {
                let program = seat.floor(programs, command, "dual", first).argument("further");
                program.argument(count.to_string()).argument(format!("veth{veth}"))
            }
        };
        let plugin = |command: &str| seat.program(&programs.plugin, command, "coordinator", &settings);
        commands.push([
            (format!("floor, interface {count}"), floor("add"), floor("del")),
            (format!("coordinator, interface {count}"), plugin("ADD"), plugin("DEL")),
        ]);
    }
    let mut contenders: Vec<_> =
        commands.iter().flatten().map(|(name, add, del)| contender(name, add, None, Some(del))).collect();
    let measured = compete(&mut contenders, runs)?;
    println!("\n### ADD of the n-th interface, dual, medians of {runs} interleaved runs\n");
    println!("| interface | floor | coordinator | p10 | p90 | coordinator − floor | peak RSS |");
    println!("|--:|--:|--:|--:|--:|--:|--:|");
    for (at, pair) in measured.chunks(2).enumerate() {
        let [(_, floor), (_, plugin)] = pair else { continue };
        let [base, median, p10, p90] =
            [floor.median, plugin.median, plugin.p10, plugin.p90].map(|it| it.as_secs_f64() * 1e3);
        let (own, peak) = (median - base, plugin.peak_rss_kib / 1024);
        println!(
            "| {} | {base:.3} ms | {median:.3} ms | {p10:.3} ms | {p90:.3} ms | {own:.3} ms | {peak} MiB |",
            at + 1
        );
    }
    Ok(())
}
