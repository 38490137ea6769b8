//! ADD of a Pod's n-th interface, the others attached.

use anyhow::{Context as _, Result};
use coordinator_lab::{Families, Lab};

use super::{
    Programs,
    seat::{Seat, contender},
    show,
};

const NAMES: [&str; 8] = ["eth0", "net1", "net2", "net3", "net4", "net5", "net6", "net7"];

/// Measures it for one to eight interfaces, each in a Pod of its own.
pub(super) fn measure(lab: &Lab, programs: &Programs, runs: usize) -> Result<()> {
    let settings = lab.cluster();
    let mut commands = Vec::new();
    for count in 1..=NAMES.len() {
        let mut seat: Option<Seat> = None;
        for (at, interface) in NAMES.into_iter().take(count).enumerate() {
            let number = u8::try_from(20 + count * 10 + at)?;
            let network = lab.network(1 + u8::try_from(at % 2)?, number, Families::Dual);
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
        let [add, del] =
            ["ADD", "DEL"].map(|command| seat.program(&programs.plugin, command, "coordinator", &settings));
        commands.push((format!("interface {count}"), add, del));
    }
    let mut contenders: Vec<_> =
        commands.iter().map(|(name, add, del)| contender(name, add, None, Some(del))).collect();
    show(&format!("ADD of the n-th interface, dual, medians of {runs} interleaved runs"), &mut contenders, runs)
}
