//! ADD and DEL of a Pod with one underlay interface, beside the floor program and two Go plugins.

use anyhow::Result;
use coordinator_lab::{Families, Lab};
use serde_json::{Value, json};

use super::{
    Contender, Programs,
    seat::{Seat, contender},
    show,
};
use crate::measure::Program;

const REFERENCES: &str = "/usr/lib/cni";

/// Measures both commands in the families that the floor program knows.
pub(super) fn measure(lab: &Lab, programs: &Programs, runs: usize) -> Result<()> {
    let worlds = [("v4", Families::V4), ("dual", Families::Dual)];
    for (at, (name, families)) in worlds.into_iter().enumerate() {
        let seats = ["floor", "coordinator", "tuning", "sbr"].map(|program| format!("{program}-{at}"));
        let [floor, plugin, tuning, sbr] = seats.map(|seat| Seat::take(lab, &seat, "eth0", lab.underlay(20, families)));
        let (floor, plugin, tuning, sbr) = (floor?, plugin?, tuning?, sbr?);
        let [floor_add, floor_del] = ["add", "del"].map(|command| floor.floor(programs, command, name, 20));
        let settings = lab.cluster();
        let [add, del] =
            ["ADD", "DEL"].map(|command| plugin.program(&programs.plugin, command, "coordinator", &settings));
        let reference = |seat: &Seat, kind: &str, settings: &Value| {
            seat.program(format!("{REFERENCES}/{kind}").as_ref(), "ADD", kind, settings)
        };
        let tune = json!({"sysctl": {"net.ipv4.conf.all.src_valid_mark": "1", "net.ipv4.conf.eth0.rp_filter": "0"}});
        let tune = reference(&tuning, "tuning", &tune);
        let route = reference(&sbr, "sbr", &json!({}));

        let mut contenders = vec![
            contender("floor", &floor_add, None, Some(&floor_del)),
            contender("coordinator", &add, None, Some(&del)),
            contender("tuning (Go)", &tune, None, None),
        ];
        contenders.push(Contender { setup: Box::new(|| sbr.anew()), ..contender("sbr (Go)", &route, None, None) });
        show(&format!("ADD, {name}, medians of {runs} interleaved runs"), &mut contenders, runs)?;
        let mut contenders =
            [contender("floor", &floor_del, Some(&floor_add), None), contender("coordinator", &del, Some(&add), None)];
        show(&format!("DEL, {name}, medians of {runs} interleaved runs"), &mut contenders, runs)?;
    }
    let nothing = Program::new(&programs.floor).argument("nothing");
    let version = Program::new(&programs.plugin).environment("CNI_COMMAND", "VERSION").input("{}");
    let mut contenders =
        [contender("a static program", &nothing, None, None), contender("VERSION", &version, None, None)];
    show(&format!("Start of a process, medians of {runs} interleaved runs"), &mut contenders, runs)
}
