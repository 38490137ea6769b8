//! Pipelines: from files to stages that can run.
//!
//! A file is read in three steps, each of which collects every problem, so that a person sees all of them at once.
//! [`document`] turns a text into values that know where they stand and refuses what TOML or the schema does not
//! allow; [`draft`] puts a file together with those that it extends and checks that the stages fit together; this
//! module binds names to stages. With no file at all the built-in pipeline runs, and that is a file too:
//! `pipelines/default.toml`.

mod check;
mod document;
mod draft;
mod guest;
mod library;
mod lock;
mod schema;
mod source;
mod stage_entry;
mod table;
mod test_case;
mod when;

use std::{
    collections::BTreeMap,
    fmt, fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use coordinator_sdk::DynStage;
use coordinator_stages::decide;
use serde_json::{Map, Value};

pub use draft::Draft;
pub use guest::{GRANTS, GuestSpec, Limits, OnFailure};
pub use library::{Library, lock_path};
pub use lock::Lock;
pub use schema::schema;
pub use source::{At, Place, Problem, Severity, SourceFile, Sources};
pub use stage_entry::{Placing, StageEntry};
pub use test_case::TestCase;
pub use when::{Pattern, When};

use crate::{
    guest::{Guest, Shelf},
    settings::{RootFileError, read_root_file},
};
use check::{Kind, kind_of};

/// Where named pipelines lie on a node.
pub const DIRECTORY: &str = "/etc/coordinator/pipelines";

/// The name under which messages speak of the built-in pipeline.
pub const BUILTIN: &str = "pipelines/default.toml";
const BUILTIN_TEXT: &str = include_str!("../../../../pipelines/default.toml");
/// The most that a pipeline file may take, bytes.
const LIMIT: u64 = 1 << 20;

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
    /// Somebody other than root could put files into the directory.
    #[error("{path} must belong to root, and nobody else may write it")]
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// The file is wrong; every problem of it.
    #[error("{}", joined(.0))]
    Wrong(Vec<Problem>),
    /// A built-in stage is missing.
    #[error("there is no built-in stage {name}")]
    NoStage {
        /// Its name.
        name: &'static str,
    },
}

fn joined(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What a step does between observation and application.
pub enum Phase {
    /// Decides on facts.
    Decide(Box<dyn DynStage>),
    /// Decides on facts too, in a sandbox.
    Guest(Box<Guest>),
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
    /// For which attachments it runs.
    pub when: When,
    /// What its failure leads to.
    pub on_failure: OnFailure,
}

impl Step {
    /// A step that runs for every attachment, and whose failure refuses it.
    pub fn always(name: &str, phase: Phase) -> Self {
        Self { name: name.to_owned(), phase, when: When::default(), on_failure: OnFailure::Refuse }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = match self.phase {
            Phase::Decide(_) => "decide",
            Phase::Guest(_) => "guest",
            Phase::Probe => "probe",
            Phase::Findings => "findings",
        };
        f.debug_struct("Step").field("name", &self.name).field("phase", &phase).finish_non_exhaustive()
    }
}

/// A pipeline that can run.
#[derive(Debug, Default)]
pub struct Pipeline {
    /// The values of its `[settings]`, each checked.
    pub settings: Map<String, Value>,
    /// The steps in order; observation stands before them, application after.
    pub steps: Vec<Step>,
    /// The stage that tells the neighbours after the commit, by name; absent when the pipeline has none.
    pub announce: Option<String>,
    /// What stages use whose names do not say it: a built-in one under another name, a guest.
    pub uses: BTreeMap<String, String>,
}

impl Pipeline {
    /// The built-in pipeline: what `pipelines/default.toml` says, without reading it. Nearly every ADD runs it.
    ///
    /// # Errors
    /// A stage of it does not exist; a test sees that it is what the file says.
    pub fn builtin() -> Result<Self, PipelineError> {
        let mut steps = Vec::with_capacity(decide::NAMES.len().saturating_add(2));
        for name in decide::NAMES {
            let stage = decide::by_name(name).ok_or(PipelineError::NoStage { name })?;
            steps.push(Step::always(name, Phase::Decide(stage)));
        }
        steps.extend([Step::always("probe", Phase::Probe), Step::always("findings", Phase::Findings)]);
        Ok(Self { steps, announce: Some("announce".to_owned()), ..Self::default() })
    }

    /// The pipeline that a setting names, out of a directory that only root can write.
    ///
    /// # Errors
    /// There is none, it cannot be trusted, or it is wrong.
    pub fn named(name: &str, directory: &Path) -> Result<Self, PipelineError> {
        let path = directory.join(format!("{name}.toml"));
        let shown = path.display().to_string();
        let Some(text) = read_root_file(&path, LIMIT)? else {
            return Err(PipelineError::Missing { name: name.to_owned(), path: shown });
        };
        let is_safe = |found: fs::Metadata| found.is_dir() && found.uid() == 0 && found.mode() & 0o022 == 0;
        if !fs::symlink_metadata(directory).is_ok_and(is_safe) {
            return Err(PipelineError::Directory { path: directory.to_owned() });
        }
        Self::read(SourceFile { path: shown, text: text.into() }, Library::Node)
    }

    /// Every guest, with its stage's name.
    pub fn all_guests(&self) -> impl Iterator<Item = (&str, &Guest)> {
        self.steps.iter().filter_map(|step| match &step.phase {
            Phase::Guest(guest) => Some((step.name.as_str(), guest.as_ref())),
            _ => None,
        })
    }

    /// A pipeline out of a file's text, and of what it extends.
    ///
    /// # Errors
    /// Every problem, in the order of files and lines; warnings alone are none.
    pub fn read(file: SourceFile, library: Library) -> Result<Self, PipelineError> {
        Draft::sound(file, library).map_err(PipelineError::Wrong)?.try_into()
    }
}

/// The built-in pipeline's file.
pub fn builtin_file() -> SourceFile {
    SourceFile { path: BUILTIN.to_owned(), text: BUILTIN_TEXT.into() }
}

/// The last step: every `use` becomes a stage.
impl TryFrom<Draft> for Pipeline {
    type Error = PipelineError;

    fn try_from(draft: Draft) -> Result<Self, PipelineError> {
        let settings = draft.settings();
        let shelf = Shelf::of_this_node();
        let (mut steps, mut announce) = (Vec::with_capacity(draft.stages.len()), None);
        for entry in &draft.stages {
            let native = || entry.uses.value.strip_prefix("native:").and_then(decide::by_name);
            let phase = match kind_of(&entry.uses.value) {
                Ok(Kind::Decide) => native().map(Phase::Decide),
                Ok(Kind::Guest) => draft.guest(entry).map(|spec| Phase::Guest(bind_guest(spec, &draft, entry, &shelf))),
                Ok(Kind::Probe) => Some(Phase::Probe),
                Ok(Kind::Findings) => Some(Phase::Findings),
                Ok(Kind::Announce) => {
                    announce = Some(entry.name.value.clone());
                    None
                }
                // They stand around the steps; what does not exist was refused before.
                Ok(Kind::Observe | Kind::Apply) | Err(_) => None,
            };
            let Some(phase) = phase else { continue };
            steps.push(Step {
                name: entry.name.value.clone(),
                phase,
                when: entry.when.as_ref().map(|when| when.value.clone()).unwrap_or_default(),
                on_failure: entry.on_failure.as_ref().map(|on| on.value).unwrap_or_default(),
            });
        }
        let is_telling = |entry: &&StageEntry| entry.uses.value.strip_prefix("native:") != Some(&entry.name.value);
        let uses = draft.stages.iter().filter(is_telling);
        let uses = uses.map(|entry| (entry.name.value.clone(), entry.uses.value.clone())).collect();
        Ok(Self { settings, steps, announce, uses })
    }
}

/// Binds a guest: the one place where its digest becomes something that runs. Nothing is opened yet.
fn bind_guest(spec: GuestSpec, draft: &Draft, entry: &StageEntry, shelf: &Arc<Shelf>) -> Box<Guest> {
    let options = if spec.with.is_null() { Value::Object(Map::new()) } else { spec.with };
    let guest =
        Guest::new(spec.stage, spec.sha256, Arc::clone(shelf)).limits(spec.limits.in_force()).grants(spec.grants);
    let guest = guest.options(options.to_string());
    let beside = draft.sources.files().get(entry.place.file).and_then(|file| Path::new(&file.path).parent());
    Box::new(match (draft.library, beside) {
        // Who named the pipeline vouches for the component too, and may have a compiler.
        (Library::Caller, Some(folder)) => guest.component(folder.join(spec.path)),
        _ => guest,
    })
}

#[cfg(test)]
mod tests;
