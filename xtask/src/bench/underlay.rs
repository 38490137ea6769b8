//! ADD and DEL of a Pod with one underlay interface, beside the floor program and two Go plugins.

use anyhow::{Context as _, Result};
use coordinator_lab::{Families, Lab, Network, Pod};
use serde_json::{Value, json};

use super::{Contender, Programs, show};
use crate::measure::Program;

const INTERFACE: &str = "eth0";
const REFERENCES: &str = "/usr/lib/cni";

/// Measures both commands in the families that the floor program knows.
pub(super) fn measure(lab: &Lab, programs: &Programs, runs: usize) -> Result<()> {
    let worlds = [("v4", Families::V4), ("dual", Families::Dual)];
    for (at, (name, families)) in worlds.into_iter().enumerate() {
        let seats = ["floor", "coordinator", "tuning", "sbr"].map(|program| format!("{program}-{at}"));
        let [floor, plugin, tuning, sbr] = seats.map(|seat| Seat::take(lab, &seat, families));
        let (floor, plugin, tuning, sbr) = (floor?, plugin?, tuning?, sbr?);
        let [floor_add, floor_del] = ["add", "del"].map(|command| floor.floor(programs, command, name));
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

fn contender<'w>(
    name: &str,
    run: &'w Program,
    before: Option<&'w Program>,
    after: Option<&'w Program>,
) -> Contender<'w> {
    let unmeasured = |program: Option<&'w Program>| move || program.map_or(Ok(()), |it| it.measure().map(drop));
    Contender {
        name: name.to_owned(),
        setup: Box::new(unmeasured(before)),
        run: Box::new(|| Ok(run.measure()?.0)),
        teardown: Box::new(unmeasured(after)),
    }
}

/// A Pod with a macvlan interface, for one contender.
struct Seat {
    pod: Pod,
    network: Network,
    result: Value,
}

impl Seat {
    fn take(lab: &Lab, name: &str, families: Families) -> Result<Self> {
        let pod = lab.pod(name)?;
        // The floor program's constants: one Pod at a time is attached by any contender.
        let network = lab.underlay(20, families);
        let result = pod.attach_without_us(INTERFACE, &network)?;
        Ok(Self { pod, network, result })
    }

    fn floor(&self, programs: &Programs, command: &str, families: &str) -> Program {
        let path = self.pod.host.path();
        Program::new(&programs.floor).argument(command).argument(path).argument(families)
    }

    /// A CNI plugin with the interface's result, as a runtime executes it.
    fn program(&self, path: &std::path::Path, command: &str, kind: &str, settings: &Value) -> Program {
        let mut configuration = self.network.configuration(kind, settings);
        configuration["prevResult"] = self.result.clone();
        let program = Program::new(path).input(configuration.to_string());
        let environment = self.pod.environment(command, INTERFACE);
        environment.iter().fold(program, |program, (name, value)| program.environment(name, value))
    }

    /// Addresses and routes as the macvlan plugin left them: `sbr` has moved them, and its DEL does not bring
    /// them back.
    fn anew(&self) -> Result<()> {
        let mut lines = vec![format!("address flush dev {INTERFACE} scope global"), "route flush table 100".to_owned()];
        for (address, gateway) in &self.network.addresses {
            let family = if address.contains(':') { "-6 " } else { "" };
            lines.push(format!("{family}address add {address} dev {INTERFACE}"));
            lines.push(format!("{family}route replace default via {gateway}"));
        }
        lines.sort_by_key(|line| line.starts_with("-6 "));
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        self.pod.host.ip(&lines).context("cannot restore the pod")
    }
}
