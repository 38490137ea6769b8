//! ADD on nodes that hold many routes and neighbours of others, beside a Pod that is attached already: the first
//! Pod's ADD makes the node's two rules, and the kernel looks at every IPv6 route when a rule is added.

use std::fmt::Write as _;

use anyhow::Result;
use coordinator_lab::{Families, Lab};

use super::{
    Programs,
    seat::{Seat, contender},
    show,
};

/// Routes and as many neighbours, of each family.
const COUNTS: [u32; 4] = [0, 1_000, 5_000, 20_000];

/// Measures it beside the floor program, which meets the same node.
pub(super) fn measure(lab: &Lab, programs: &Programs, runs: usize) -> Result<()> {
    let settings = lab.cluster();
    let [floor, plugin] =
        ["floor", "plugin"].map(|name| Seat::take(lab, name, "eth0", lab.underlay(20, Families::Dual)));
    let (floor, plugin) = (floor?, plugin?);
    let other = Seat::take(lab, "other", "eth0", lab.underlay(21, Families::Dual))?;
    other.program(&programs.plugin, "ADD", "coordinator", &settings).measure()?;
    let [floor_add, floor_del] =
        ["add", "del"].map(|command| floor.floor(programs, command, "dual", 20).argument("beside"));
    let [add, del] = ["ADD", "DEL"].map(|command| plugin.program(&programs.plugin, command, "coordinator", &settings));
    let mut there = 0;
    for count in COUNTS {
        fill(lab, there, count)?;
        there = count;
        let mut contenders =
            [contender("floor", &floor_add, None, Some(&floor_del)), contender("coordinator", &add, None, Some(&del))];
        let title =
            format!("ADD, dual, beside {count} routes and {count} neighbours of each family, medians of {runs} runs");
        show(&title, &mut contenders, runs)?;
    }
    Ok(())
}

/// Gives the node the foreign objects with these numbers.
fn fill(lab: &Lab, from: u32, to: u32) -> Result<()> {
    let mut lines = [String::new(), String::new()];
    for number in from..to {
        let (high, low) = (number / 250, number % 250 + 1);
        let [v4, v6] = &mut lines;
        writeln!(v4, "route add 100.{}.{}.{low}/32 dev docker0", 64 + high / 250, high % 250)?;
        writeln!(
            v4,
            "neighbour add 100.{}.{}.{low} lladdr 0a:00:00:00:00:01 dev docker0 nud permanent",
            64 + high / 250,
            high % 250
        )?;
        writeln!(v6, "route add fd77::{high:x}:{low:x}/128 dev docker0")?;
        writeln!(v6, "neighbour add fd77::{high:x}:{low:x} lladdr 0a:00:00:00:00:01 dev docker0 nud permanent")?;
    }
    for (family, text) in ["", "-6 "].into_iter().zip(&lines) {
        let lines: Vec<String> = text.lines().map(|line| format!("{family}{line}")).collect();
        lab.node.ip(&lines.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    Ok(())
}
