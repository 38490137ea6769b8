//! `coordinatorctl stage run`: one component, one set of facts, and what it says.

use std::path::PathBuf;

use clap::Args;
use coordinator_core::{guest::StageFailure, replay::read_facts};
use coordinator_sdk::{Decision, Projection};
use serde_json::json;

use super::given::{Bound, stage_failure};
use crate::{exit::Exit, failure::Failure, terminal::Terminal};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    stage: Bound,
    /// Recorded facts: `coordinatorctl facts` records a live Pod's
    #[arg(long, value_name = "FILE")]
    facts: PathBuf,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let facts = read_facts(&arguments.facts)?;
    let (guest, manifest) = arguments.stage.guest()?;
    let decision = match guest.decide(&facts) {
        Ok(decision) => decision,
        Err(StageFailure::Refused(refusal)) => {
            let hint = refusal.hint.as_ref().map(|hint| format!("Try: {hint}\n")).unwrap_or_default();
            match arguments.json {
                true => terminal.answer_json(&json!({"refused": refusal}))?,
                false => terminal.answer(&format!("{} refuses: {}\n{hint}", manifest.name, refusal.reason))?,
            }
            return Ok(Exit::No);
        }
        Err(StageFailure::Failed(failure)) => return Err(stage_failure(&arguments.stage.file, failure)),
    };
    let mut projection = Projection::new(facts);
    let text = said(&decision);
    let projected = projection.project(&manifest.name, decision.clone());
    if arguments.json {
        let problem = projected.err().map(|error| error.to_string());
        terminal.answer_json(&json!({"decision": decision, "problem": problem, "plan": projection.plan()}))?;
        return Ok(Exit::Success);
    }
    terminal.answer(&text)?;
    match projected {
        Ok(()) => {
            let plan = projection.plan().to_string();
            terminal
                .answer(&format!("\nPlan\n{}\n", if plan.is_empty() { "  nothing for the kernel" } else { &plan }))?;
            Ok(Exit::Success)
        }
        Err(error) => {
            terminal.answer(&format!("\nThat does not fit these facts: {error}\n"))?;
            Ok(Exit::No)
        }
    }
}

fn said(decision: &Decision) -> String {
    let mut text = String::new();
    for proposal in &decision.proposals {
        text.push_str(&format!("{} because {}\n", proposal.change.grant(), proposal.why));
    }
    for warning in &decision.warnings {
        text.push_str(&format!("warning: {warning}\n"));
    }
    if text.is_empty() {
        text.push_str("It proposes nothing.\n");
    }
    text
}
