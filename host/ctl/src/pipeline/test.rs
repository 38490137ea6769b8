//! `coordinatorctl pipeline test`: the `[[test]]` cases of a pipeline.

use std::{fs, path::PathBuf};

use clap::Args;
use coordinator_core::{
    pipeline::{Pipeline, TestCase},
    replay,
};
use serde_json::json;

use super::given;
use crate::{exit::Exit, failure::Failure, terminal::Terminal};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The pipeline files
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// Run only tests whose name contains this
    #[arg(long, value_name = "TEXT")]
    pub(super) only: Option<String>,
    /// Write the plans that are made into the tests' plan files
    #[arg(long)]
    pub(super) bless: bool,
    /// Answer in JSON
    #[arg(long)]
    pub(super) json: bool,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut results = Vec::new();
    let mut failed = 0_usize;
    for path in &arguments.files {
        let draft = given::sound(path)?;
        let tests = draft.tests.clone();
        let pipeline = Pipeline::try_from(draft)?;
        let is_asked = |case: &&TestCase| arguments.only.as_ref().is_none_or(|only| case.name.value.contains(only));
        for case in tests.iter().filter(is_asked) {
            let folder = given::folder(path);
            if arguments.bless
                && let Some(plan) = &case.plan
            {
                bless(&pipeline, case, &folder, &folder.join(&plan.value))?;
            }
            let outcome = replay::test(&pipeline, case, &folder)?;
            let has_passed = outcome.failures.is_empty();
            failed = failed.saturating_add(usize::from(!has_passed));
            if !arguments.json {
                let verdict = if has_passed { "ok    " } else { "FAILED" };
                terminal.answer(&format!("{verdict} {}\n", case.name.value))?;
                for line in &outcome.failures {
                    terminal.answer(&format!("       {line}\n"))?;
                }
            }
            results.push(json!({
                "path": path, "name": case.name.value, "passed": has_passed, "failures": outcome.failures,
                "plan": outcome.plan,
            }));
        }
    }
    if let Some(only) = arguments.only.as_ref().filter(|_| results.is_empty()) {
        return Err(Failure::NoTest { only: only.clone() });
    }
    if arguments.json {
        terminal.answer_json(&results.into())?;
    } else if results.is_empty() {
        terminal.remark("there is no [[test]] to run\n");
    }
    Ok(if failed == 0 { Exit::Success } else { Exit::No })
}

/// Makes the plan that is made now the expected one.
fn bless(
    pipeline: &Pipeline,
    case: &TestCase,
    folder: &std::path::Path,
    plan: &std::path::Path,
) -> Result<(), Failure> {
    let facts = replay::read_facts(&folder.join(&case.facts.value))?;
    let projection = replay::replay(pipeline, facts, &case.settings)?;
    let write = |source| Failure::Write { path: plan.to_owned(), source };
    fs::write(plan, projection.plan().to_string()).map_err(write)
}
