//! Recorded facts through a pipeline: what it would make of them, without a kernel, a cluster or root.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use coordinator_sdk::{Facts, Mode, Projection, SettingProblem, Source};
use serde_json::{Map, Value};

use crate::{
    pipeline::{Pipeline, TestCase},
    runner::{self, RunError},
};

/// Why recorded facts could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file holds no facts.
    #[error("{path} holds no facts")]
    Facts {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A setting is wrong.
    #[error(transparent)]
    Setting(#[from] SettingProblem),
    /// The stages came to no end.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Reads recorded facts.
///
/// # Errors
/// The file cannot be read, or holds something else.
pub fn read_facts(path: &Path) -> Result<Facts, ReplayError> {
    let text = fs::read_to_string(path).map_err(|source| ReplayError::Read { path: path.to_owned(), source })?;
    serde_json::from_str(&text).map_err(|source| ReplayError::Facts { path: path.to_owned(), source })
}

/// Runs a pipeline on facts. Its own settings go before the recorded ones that nobody stronger set, and
/// `overrides` before all.
///
/// # Errors
/// A setting is wrong, or a stage refuses.
pub fn replay(
    pipeline: &Pipeline,
    mut facts: Facts,
    overrides: &Map<String, Value>,
) -> Result<Projection, ReplayError> {
    for (name, value) in &pipeline.settings {
        if facts.settings.source(name) <= Source::Pipeline {
            facts.settings.set(name, value, Source::Pipeline)?;
        }
    }
    for (name, value) in overrides {
        facts.settings.set(name, value, Source::Configuration)?;
    }
    match facts.settings.mode {
        // The plugin returns before it asks any stage.
        Mode::Disable => Ok(Projection::new(facts)),
        _ => Ok(runner::run(pipeline, Projection::new(facts), &mut runner::Recorded)?),
    }
}

/// What a test of a pipeline found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Why it failed; empty when it passed.
    pub failures: Vec<String>,
    /// The plan as text; absent when the pipeline refused.
    pub plan: Option<String>,
}

/// Runs one of a pipeline's own tests; its files lie relative to `folder`.
///
/// # Errors
/// A file cannot be read, or a setting is wrong. What the test found is no error.
pub fn test(pipeline: &Pipeline, case: &TestCase, folder: &Path) -> Result<Outcome, ReplayError> {
    let facts = read_facts(&folder.join(&case.facts.value))?;
    let projection = match replay(pipeline, facts, &case.settings) {
        Ok(projection) => projection,
        Err(ReplayError::Run(refusal)) => return Ok(Outcome { failures: refused(case, &refusal), plan: None }),
        Err(error) => return Err(error),
    };
    let plan = projection.plan().to_string();
    let mut failures = Vec::new();
    if let Some(refusal) = &case.refuses {
        failures.push(format!("expected a refusal that says {:?}, and got a plan", refusal.value));
    }
    if let Some(expected) = &case.plan {
        let path = folder.join(&expected.value);
        let text = fs::read_to_string(&path).map_err(|source| ReplayError::Read { path: path.clone(), source })?;
        failures.extend(differences(&text, &plan));
    }
    let stands = |text: &str| plan.lines().any(|line| line.contains(text));
    for missing in case.contains.iter().filter(|text| !stands(&text.value)) {
        failures.push(format!("no line of the plan contains {:?}", missing.value));
    }
    for unwanted in case.lacks.iter().filter(|text| stands(&text.value)) {
        failures.push(format!("a line of the plan contains {:?}", unwanted.value));
    }
    Ok(Outcome { failures, plan: Some(plan) })
}

fn refused(case: &TestCase, refusal: &RunError) -> Vec<String> {
    let said = refusal.to_string();
    match &case.refuses {
        Some(expected) if said.contains(&expected.value) => Vec::new(),
        Some(expected) => vec![format!("expected a refusal that says {:?}, and got: {said}", expected.value)],
        None => vec![said],
    }
}

/// The lines that only one of two texts has, in the order in which a reader meets them.
fn differences(expected: &str, found: &str) -> Vec<String> {
    if expected == found {
        return Vec::new();
    }
    let only = |these: &str, those: &str, sign: char| {
        let lines = these.lines().filter(|line| !those.lines().any(|other| other == *line));
        lines.map(|line| format!("{sign} {line}")).collect::<Vec<_>>()
    };
    let mut lines = only(expected, found, '-');
    lines.extend(only(found, expected, '+'));
    if lines.is_empty() {
        lines.push("the lines are those of the expected plan, in another order or number".to_owned());
    }
    lines
}
