//! Who is measured where: a Pod's interface, and the programs that are executed for it.

use std::{path::Path, rc::Rc};

use anyhow::{Context as _, Result};
use coordinator_lab::{Lab, Network, Pod};
use serde_json::Value;

use super::{Contender, Programs};
use crate::measure::Program;

/// A contender that is one program, with unmeasured ones before and after each run.
pub(super) fn contender<'w>(
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

/// A Pod's macvlan interface, for one contender.
pub(super) struct Seat {
    pub(super) pod: Rc<Pod>,
    interface: &'static str,
    network: Network,
    result: Value,
}

impl Seat {
    /// An interface of a new Pod. The floor program's constants have number 20.
    pub(super) fn take(lab: &Lab, name: &str, interface: &'static str, network: Network) -> Result<Self> {
        Self::of(Rc::new(lab.pod(name)?), interface, network)
    }

    /// A further interface of a Pod.
    pub(super) fn beside(&self, interface: &'static str, network: Network) -> Result<Self> {
        Self::of(Rc::clone(&self.pod), interface, network)
    }

    fn of(pod: Rc<Pod>, interface: &'static str, network: Network) -> Result<Self> {
        let result = pod.attach_without_us(interface, &network)?;
        Ok(Self { pod, interface, network, result })
    }

    /// The floor program for this seat, which must be an `eth0`.
    pub(super) fn floor(&self, programs: &Programs, command: &str, families: &str, number: u8) -> Program {
        let path = self.pod.host.path();
        let number = number.to_string();
        Program::new(&programs.floor).argument(command).argument(path).argument(families).argument(number)
    }

    /// A CNI plugin with the interface's result, as a runtime executes it.
    pub(super) fn program(&self, path: &Path, command: &str, kind: &str, settings: &Value) -> Program {
        let mut configuration = self.network.configuration(kind, settings);
        configuration["prevResult"] = self.result.clone();
        let program = Program::new(path).input(configuration.to_string());
        let environment = self.pod.environment(command, self.interface);
        environment.iter().fold(program, |program, (name, value)| program.environment(name, value))
    }

    /// The default route as the macvlan plugin left it: of one interface of several, our DEL does not bring it back.
    pub(super) fn default_again(&self) -> Result<()> {
        self.ip(&self.default_routes("append"))
    }

    /// Addresses and routes as the macvlan plugin left them: `sbr` has moved them, and its DEL does not bring
    /// them back.
    pub(super) fn anew(&self) -> Result<()> {
        let interface = self.interface;
        let mut lines = vec![format!("address flush dev {interface} scope global"), "route flush table 100".to_owned()];
        let addresses = self.network.addresses.iter();
        lines.extend(addresses.map(|(address, _)| format!("{}address add {address} dev {interface}", family(address))));
        lines.extend(self.default_routes("replace"));
        lines.sort_by_key(|line| line.starts_with("-6 "));
        self.ip(&lines)
    }

    fn default_routes(&self, verb: &str) -> Vec<String> {
        let line =
            |gateway: &str| format!("{}route {verb} default via {gateway} dev {}", family(gateway), self.interface);
        self.network.addresses.iter().map(|(_, gateway)| line(gateway)).collect()
    }

    fn ip(&self, lines: &[String]) -> Result<()> {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        self.pod.host.ip(&lines).context("cannot restore the pod")
    }
}

/// What a line for `ip` begins with, for an address of either family.
fn family(address: &str) -> &'static str {
    if address.contains(':') { "-6 " } else { "" }
}
