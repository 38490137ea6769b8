//! Pipelines: from a file to stages that can run.
//!
//! A file is read in two steps. [`document`] turns its text into values that know where they stand and
//! refuses what TOML or the schema does not allow; this module binds names to stages and checks their
//! order. Both collect every problem, so that a person sees all of them at once. With no file at all the
//! built-in pipeline runs, and that is a file too: `pipelines/default.toml`.

mod document;

use std::{fmt, path::Path};

use coordinator_sdk::DynStage;
use coordinator_stages::decide;
use serde_json::{Map, Value};

use document::Document;
pub use document::Problem;

use crate::settings::{RootFileError, nearest, read_root_file};

/// Where named pipelines lie on a node.
pub const DIRECTORY: &str = "/etc/coordinator/pipelines";

/// The name under which messages speak of the built-in pipeline.
const BUILTIN: &str = "pipelines/default.toml";
const BUILTIN_TEXT: &str = include_str!("../../../../pipelines/default.toml");
/// The most that a pipeline file may take, bytes.
const LIMIT: u64 = 1 << 20;
/// The stages that are no decisions.
const PHASES: [&str; 5] = ["observe", "probe", "findings", "apply", "announce"];

/// Why a pipeline cannot run.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// There is no file of that name.
    #[error("there is no pipeline {name:?}: {path} does not exist")]
    Missing {
        /// The name.
        name: String,
        /// Where it was looked for.
        path: String,
    },
    /// The file cannot be read or trusted.
    #[error(transparent)]
    File(#[from] RootFileError),
    /// The file is wrong; every problem of it.
    #[error("{}", joined(.0))]
    Wrong(Vec<Problem>),
}

fn joined(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What a step does between observation and application.
pub enum Phase {
    /// Decides on facts.
    Decide(Box<dyn DynStage>),
    /// Asks the wire what the steps before it proposed to ask.
    Probe,
    /// Does what the probes ask for where the wire's answer is a bad one: refuse, warn, or nothing.
    Findings,
}

/// A named step of a pipeline.
pub struct Step {
    /// Its name in the pipeline.
    pub name: String,
    /// What it does.
    pub phase: Phase,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match self.phase {
            Phase::Decide(_) => "decide",
            Phase::Probe => "probe",
            Phase::Findings => "findings",
        };
        f.debug_struct("Step").field("name", &self.name).field("phase", &phase).finish()
    }
}

/// A pipeline that can run.
#[derive(Debug)]
pub struct Pipeline {
    /// The values of its `[settings]`, each checked.
    pub settings: Map<String, Value>,
    /// The steps in order; observation stands before them, application after.
    pub steps: Vec<Step>,
    /// The stage that tells the neighbours after the commit, by name; absent when the pipeline has none.
    pub announce: Option<String>,
}

impl Pipeline {
    /// The built-in pipeline.
    ///
    /// # Errors
    /// The file that was built in is wrong; a test sees that it is not.
    pub fn builtin() -> Result<Self, PipelineError> {
        Self::parse(BUILTIN, BUILTIN_TEXT)
    }

    /// The pipeline that a setting names, out of a directory that only root can write.
    ///
    /// # Errors
    /// There is none, it cannot be trusted, or it is wrong.
    pub fn named(name: &str, directory: &Path) -> Result<Self, PipelineError> {
        let path = directory.join(format!("{name}.toml"));
        let shown = path.display().to_string();
        match read_root_file(&path, LIMIT)? {
            Some(text) => Self::parse(&shown, &text),
            None => Err(PipelineError::Missing { name: name.to_owned(), path: shown }),
        }
    }

    /// A pipeline out of its text; `path` stands in messages.
    ///
    /// # Errors
    /// Every problem, in the file's order.
    pub fn parse(path: &str, text: &str) -> Result<Self, PipelineError> {
        let (document, mut problems) = Document::parse(path, text);
        let (steps, announce) = bind(&document, &mut problems);
        if problems.is_empty() {
            return Ok(Self { settings: document.settings, steps, announce });
        }
        problems.sort_by_key(|problem| (problem.line, problem.column));
        Err(PipelineError::Wrong(problems))
    }
}

/// The second step: every `use` becomes a step of the pipeline, and the phases stand in their order.
fn bind(document: &Document<'_>, problems: &mut Vec<Problem>) -> (Vec<Step>, Option<String>) {
    let (mut steps, mut announce) = (Vec::new(), None);
    let uses: Vec<Option<&str>> =
        document.stages.iter().map(|entry| entry.uses.value.strip_prefix("native:")).collect();
    for (at, entry) in document.stages.iter().enumerate() {
        if let Some(earlier) = document.stages.iter().take(at).find(|earlier| earlier.name.value == entry.name.value) {
            let line = document.position(earlier.name.at).0;
            let message = format!("there is a stage called {:?} already, in line {line}", entry.name.value);
            problems.push(document.problem(entry.name.at, message));
        }
        let Some(native) = uses.get(at).copied().flatten() else {
            let message = format!("{:?} is no stage: it should be \"native:NAME\"", entry.uses.value);
            problems.push(document.problem(entry.uses.at, message));
            continue;
        };
        let wrong_places = misplaced(native, at, &uses).into_iter();
        problems.extend(wrong_places.map(|message| document.problem(entry.uses.at, message.to_owned())));
        let phase = match native {
            "probe" => Phase::Probe,
            "findings" => Phase::Findings,
            "announce" => {
                announce = Some(entry.name.value.clone());
                continue;
            }
            "observe" | "apply" => continue,
            _ => match decide::by_name(native) {
                Some(stage) => Phase::Decide(stage),
                None => {
                    let known = decide::NAMES.into_iter().chain(PHASES);
                    let guess = nearest(native, known).map(|name| format!("; did you mean \"native:{name}\"?"));
                    let message = format!("there is no native stage {native:?}{}", guess.unwrap_or_default());
                    problems.push(document.problem(entry.uses.at, message));
                    continue;
                }
            },
        };
        steps.push(Step { name: entry.name.value.clone(), phase });
    }
    if !uses.contains(&Some("apply")) && !uses.is_empty() {
        problems.push(document.problem(document.end, "there is no stage that uses \"native:apply\"".to_owned()));
    }
    (steps, announce)
}

/// What is wrong with the place of a stage among the others.
fn misplaced(native: &str, at: usize, uses: &[Option<&str>]) -> Vec<&'static str> {
    let (before, _) = uses.split_at_checked(at).unwrap_or_default();
    let is_before = |name: &str| before.contains(&Some(name));
    let mut wrong = Vec::new();
    if (native == "observe") != (at == 0) {
        wrong.push("observe, and nothing else, comes first");
    }
    if is_before("apply") && native != "announce" {
        wrong.push("nothing but announce can stand after apply");
    }
    if native == "announce" && !is_before("apply") {
        wrong.push("announce stands after apply: the neighbours are told what is so");
    }
    if matches!(native, "probe" | "findings" | "announce") && is_before(native) {
        wrong.push("there can be one such stage only");
    }
    if native == "findings" && !is_before("probe") {
        wrong.push("findings stands after probe, which finds them");
    }
    if native == "detect" && is_before("probe") {
        wrong.push("detect stands before probe: nobody would ask what it proposes");
    }
    wrong
}

#[cfg(test)]
mod tests;
