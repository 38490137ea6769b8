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

pub use document::Problem;
use document::{Document, StageEntry};

use crate::settings::{RootFileError, nearest, read_root_file};

/// Where named pipelines lie on a node.
pub const DIRECTORY: &str = "/etc/coordinator/pipelines";

/// The name under which messages speak of the built-in pipeline.
const BUILTIN: &str = "pipelines/default.toml";
const BUILTIN_TEXT: &str = include_str!("../../../../pipelines/default.toml");
/// The most that a pipeline file may take, bytes.
const LIMIT: u64 = 1 << 20;
/// The stages that are no decisions, and where they must stand.
const PHASES: [&str; 2] = ["observe", "apply"];

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

/// A deciding stage with its options bound.
pub struct PipelineStage {
    /// Its name in the pipeline.
    pub name: String,
    /// What decides.
    pub stage: Box<dyn DynStage>,
}

impl fmt::Debug for PipelineStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelineStage").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A pipeline that can run.
#[derive(Debug)]
pub struct Pipeline {
    /// The values of its `[settings]`, each checked.
    pub settings: Map<String, Value>,
    /// The deciding stages in order; observation stands before them, application after.
    pub stages: Vec<PipelineStage>,
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
        let stages = bind(&document, &mut problems);
        if problems.is_empty() {
            return Ok(Self { settings: document.settings, stages });
        }
        problems.sort_by_key(|problem| (problem.line, problem.column));
        Err(PipelineError::Wrong(problems))
    }
}

/// The second step: every `use` becomes a stage, and the phases stand in their order.
fn bind(document: &Document<'_>, problems: &mut Vec<Problem>) -> Vec<PipelineStage> {
    let mut stages = Vec::new();
    let mut applied: Option<&StageEntry> = None;
    for (at, entry) in document.stages.iter().enumerate() {
        if let Some(earlier) = document.stages.iter().take(at).find(|earlier| earlier.name.value == entry.name.value) {
            let line = document.position(earlier.name.at).0;
            let message = format!("there is a stage called {:?} already, in line {line}", entry.name.value);
            problems.push(document.problem(entry.name.at, message));
        }
        let Some(native) = entry.uses.value.strip_prefix("native:") else {
            let message = format!("{:?} is no stage: it should be \"native:NAME\"", entry.uses.value);
            problems.push(document.problem(entry.uses.at, message));
            continue;
        };
        if (native == "observe") != (at == 0) {
            problems.push(document.problem(entry.uses.at, "observe, and nothing else, comes first".to_owned()));
        }
        if applied.is_some() {
            problems.push(document.problem(entry.uses.at, "nothing can stand after apply".to_owned()));
        }
        match decide::by_name(native) {
            Some(stage) => stages.push(PipelineStage { name: entry.name.value.clone(), stage }),
            None if native == "apply" => applied = Some(entry),
            None if PHASES.contains(&native) => {}
            None => {
                let known = decide::NAMES.into_iter().chain(PHASES);
                let guess = nearest(native, known).map(|name| format!("; did you mean \"native:{name}\"?"));
                let message = format!("there is no native stage {native:?}{}", guess.unwrap_or_default());
                problems.push(document.problem(entry.uses.at, message));
            }
        }
    }
    if applied.is_none() && !document.stages.is_empty() {
        problems.push(document.problem(document.end, "there is no stage that uses \"native:apply\"".to_owned()));
    }
    stages
}

#[cfg(test)]
mod tests;
