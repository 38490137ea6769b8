//! `cargo xtask rates`: how often lost frames lead to a wrong answer, on a bridge that drops one frame in five.

use anyhow::{Result, bail};
use coordinator_lab::{LossyWire, Trial, range, tell};
use coordinator_sdk::ProbeKind;

use crate::{need::Job, setup, workspace};

/// The subcommand of this program that tries, inside namespaces where it is root.
pub const INSIDE: &str = "rates-inside";

/// Trials of each kind, when nobody says otherwise.
const TRIALS: usize = 10_000;
/// The range that is shown holds all but this share of such measurements.
const OUTSIDE: f64 = 0.01;

/// Tries, and prints a Markdown table; a number out of its range is an error.
pub fn run(arguments: &[String]) -> Result<()> {
    let trials = trials(arguments)?;
    setup::provide(Job::Bench)?;
    workspace::run(workspace::inside_namespaces(INSIDE)?.arg(trials.to_string()))
}

/// Tries, inside namespaces: the argument is the number of trials.
pub fn try_inside(arguments: &[String]) -> Result<()> {
    let trials = trials(&[&["--trials".to_owned()], arguments].concat())?;
    tell(move |lab| {
        let wire = LossyWire::lay(lab)?;
        println!(
            "| wrong answer | retries | trials | wrong | formula | wrong, 99 % of the time |\n|---|--:|--:|--:|--:|--:|"
        );
        let mut surprises = 0;
        for (kind, what) in [(ProbeKind::Address, "conflict missed"), (ProbeKind::Gateway, "gateway taken for silent")]
        {
            for (is_v6, family) in [(false, "IPv4"), (true, "IPv6")] {
                for retries in [3, 5, 8] {
                    let trial = Trial { kind, is_v6, retries };
                    let (tried, wrong) = wire.tries(trial, trials)?;
                    let expected = LossyWire::expected(trial);
                    let (least, most) = range(tried, expected, OUTSIDE);
                    surprises += usize::from(!(least..=most).contains(&wrong));
                    println!(
                        "| {family} {what} | {retries} | {tried} | {wrong} | {:.3} % | {least} to {most} |",
                        expected * 100.0
                    );
                }
            }
        }
        // Of twelve, one lies outside in every ninth run.
        if surprises > 2 {
            bail!("{surprises} of 12 numbers lie out of their ranges");
        }
        Ok(())
    })
}

fn trials(arguments: &[String]) -> Result<usize> {
    match arguments {
        [] => Ok(TRIALS),
        [flag, number] if flag == "--trials" => match number.parse() {
            Ok(trials) if trials > 0 => Ok(trials),
            _ => bail!("--trials wants a number above 0, not {number}"),
        },
        [flag] if flag == "--trials" => bail!("--trials wants a number"),
        [other, ..] => bail!("unexpected argument {other}"),
    }
}
