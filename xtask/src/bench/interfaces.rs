//! ADD of a Pod's n-th interface, the others attached, beside the floor program for the same interface of the same Pod.

use anyhow::{Context as _, Result};
use coordinator_lab::{Families, Lab};

use super::{
    Contender, Programs, compete,
    seat::{Seat, contender},
};
use crate::{
    measure::Program,
    statistics::{mebibytes, milliseconds},
};

const NAMES: [&str; 8] = ["eth0", "net1", "net2", "net3", "net4", "net5", "net6", "net7"];

/// A program's name in the table, its ADD and its DEL.
type Named = (String, Program, Program);

/// Measures it for one to eight interfaces, each in a Pod of its own.
pub(super) fn measure(lab: &Lab, programs: &Programs, runs: usize) -> Result<()> {
    let settings = lab.cluster();
    let mut commands: Vec<(Seat, [Named; 2])> = Vec::new();
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
        let pair = [
            (format!("floor, interface {count}"), floor("add"), floor("del")),
            (format!("coordinator, interface {count}"), plugin("ADD"), plugin("DEL")),
        ];
        commands.push((seat, pair));
    }
    let mut contenders = Vec::new();
    for (at, (seat, [(floor, floor_add, floor_del), (plugin, add, del)])) in commands.iter().enumerate() {
        contenders.push(contender(floor, floor_add, None, Some(floor_del)));
        let teardown = move || {
            del.measure()?;
            if at > 0 { seat.default_again() } else { Ok(()) }
        };
        contenders.push(Contender { teardown: Box::new(teardown), ..contender(plugin, add, None, None) });
    }
    let measured = compete(&mut contenders, runs)?;
    println!("\n### ADD of the n-th interface, dual, medians of {runs} interleaved runs\n");
    println!("| interface | floor | coordinator | p10 | p90 | above floor | peak RSS |");
    println!("|--:|--:|--:|--:|--:|--:|--:|");
    for (at, pair) in measured.chunks(2).enumerate() {
        let [(_, floor), (_, plugin)] = pair else { continue };
        let above = plugin.median.saturating_sub(floor.median);
        let times = [floor.median, plugin.median, plugin.p10, plugin.p90, above].map(milliseconds);
        println!("| {} | {} | {} |", at + 1, times.join(" | "), mebibytes(plugin.peak_rss_kib));
    }
    Ok(())
}
