//! `cargo xtask demo`: a Pod with and without the plugin, in a lab that is gone afterwards.

use std::fs;

use anyhow::{Context as _, Result, bail};
use coordinator_lab::{Check, Families, Outcome, table, tell};

use crate::{dist, need::Job, no_arguments, setup, test::PLUGIN, workspace};

/// The subcommand of this program that tells the story, inside namespaces where it is root.
pub const INSIDE: &str = "demo-inside";

const LOG: &str = "/var/log/spidernet/coordinator.log";

/// Builds the plugin and shows what it does.
pub fn run(arguments: &[String]) -> Result<()> {
    no_arguments(arguments)?;
    setup::provide(Job::Test)?;
    let plugin = dist::build(&dist::PLUGIN)?;
    workspace::run(workspace::inside_namespaces(INSIDE)?.env(PLUGIN, plugin))
}

/// The story itself.
pub fn tell_it() -> Result<()> {
    tell(|lab| {
        let network = lab.underlay(20, Families::Dual);
        let pod = lab.pod("p1")?;
        println!(
            "\nA Pod with one macvlan interface, 10.6.2.20 and fd00:10:6::2:14, made by the macvlan plugin alone:\n"
        );
        let result = pod.attach_without_us("eth0", &network)?;
        lab.expose(&pod)?;
        show(&lab.checks(&pod))?;

        println!("\nThe plugin's ADD, stage by stage:\n");
        pod.add("eth0", &network, &lab.cluster(), &result)?;
        println!("{}", planned(&fs::read_to_string(LOG).context("the plugin's log")?));

        println!("\nThe same Pod now:\n");
        let outcomes = show(&lab.checks(&pod))?;
        pod.del("eth0", &network, &lab.cluster())?;
        println!("\nDEL removed all of it, and the lab goes with this program.");
        match outcomes.iter().all(Outcome::is_well) {
            true => Ok(()),
            false => bail!("something is not as it should be"),
        }
    })
}

fn show(checks: &[Check<'_>]) -> Result<Vec<Outcome>> {
    let mut rows = Vec::new();
    for check in checks {
        rows.push((check.name().to_owned(), check.run()?));
    }
    print!("{}", table(&rows));
    Ok(rows.into_iter().map(|(_, outcome)| outcome).collect())
}

/// The planned changes in the log, each stage's together, in the order of their first.
fn planned(log: &str) -> String {
    let mut stages: Vec<(&str, Vec<String>)> = Vec::new();
    let lines = log.lines().skip_while(|line| !line.ends_with("Planned.")).skip(1);
    for line in lines.take_while(|line| !line.is_empty()) {
        let Some((stage, rest)) = line.split_once(": ") else { continue };
        let text = format!("    {}", rest.replacen(", because ", "\n        because ", 1));
        match stages.iter_mut().find(|(name, _)| *name == stage) {
            Some((_, edits)) => edits.push(text),
            None => stages.push((stage, vec![text])),
        }
    }
    let stages = stages.iter().map(|(name, edits)| format!("  {name}\n{}", edits.join("\n")));
    stages.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_shown_by_stage() {
        let log = "t DEBUG Settings.\nt DEBUG x: Planned.\n\
            veth: create it, because a\nroutes: add one, because b\nveth: raise it, because c\n\nt INFO Done.\n";
        let expected = "  veth\n    create it\n        because a\n    raise it\n        because c\n  routes\n    add one\n        because b";
        assert_eq!(planned(log), expected);
    }
}
