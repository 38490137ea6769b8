//! A pipeline with everything that it extends: arranged, checked, and bound to nothing yet.
//!
//! This needs no environment: no guest's artefact, no node. `coordinatorctl pipeline validate` ends here; what runs is
//! made of it by [`Pipeline`](super::Pipeline).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    check,
    document::Document,
    guest::GuestSpec,
    library::Library,
    lock::Lock,
    source::{At, Flaw, Place, Problem, Severity, SourceFile, Sources},
    stage_entry::{Entry, Placing, StageEntry},
    test_case::TestCase,
};
use crate::settings::nearest;

/// How many files may stand behind each other.
const DEEPEST: usize = 8;

/// A pipeline as it is written, its files put together.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// The files, its own first.
    pub sources: Sources,
    /// The values of `[settings]`, those of the extending file before those of the extended one.
    pub settings: BTreeMap<String, At<Value>>,
    /// The stages in the order in which they run.
    pub stages: Vec<StageEntry>,
    /// The file's own tests.
    pub tests: Vec<TestCase>,
    /// Digests that stand beside it, by what `use` says.
    pub lock: Lock,
    /// Who vouches for the files.
    pub library: Library,
}

impl Draft {
    /// Reads a pipeline and what it extends, and finds every problem, warnings included.
    pub fn read(file: SourceFile, library: Library) -> (Self, Vec<Problem>) {
        let draft = Self { library, ..Self::default() };
        let mut reading = Reading { draft, lost: Vec::new(), flaws: Vec::new(), library, is_whole: true };
        reading.file(file);
        let Reading { mut draft, lost, mut flaws, is_whole, .. } = reading;
        draft.stages.iter().chain(&lost).for_each(|stage| check::check_stage(&draft, stage, &mut flaws));
        if is_whole {
            check::check_order(&draft, &mut flaws);
        }
        let problems = draft.sources.problems(flaws);
        draft.stages.iter_mut().for_each(|stage| stage.placing = Placing::Last);
        (draft, problems)
    }

    /// As [`Draft::read`], when nothing forbids to run it.
    ///
    /// # Errors
    /// Every problem, when one of them is an error.
    pub fn sound(file: SourceFile, library: Library) -> Result<Self, Vec<Problem>> {
        let (draft, problems) = Self::read(file, library);
        let is_wrong = problems.iter().any(|problem| problem.severity == Severity::Error);
        if is_wrong { Err(problems) } else { Ok(draft) }
    }

    /// The values of `[settings]` without their places.
    pub fn settings(&self) -> Map<String, Value> {
        self.settings.iter().map(|(name, value)| (name.clone(), value.value.clone())).collect()
    }

    /// A guest as it is asked for; absent for a native stage, and for one without a digest.
    pub fn guest(&self, stage: &StageEntry) -> Option<GuestSpec> {
        let path = stage.uses.value.strip_prefix("wasm:")?;
        let locked = || self.lock.0.get(&stage.uses.value).copied();
        Some(GuestSpec {
            stage: stage.name.value.clone(),
            path: path.into(),
            sha256: stage.sha256.as_ref().map(|digest| digest.value).or_else(locked)?,
            grants: stage.grants.iter().map(|grant| grant.value.clone()).collect(),
            limits: stage.limits.as_ref().map(|limits| limits.value).unwrap_or_default(),
            on_failure: stage.on_failure.as_ref().map(|on| on.value).unwrap_or_default(),
            with: stage.with.as_ref().map(|with| Value::Object(with.value.clone())).unwrap_or(Value::Null),
        })
    }
}

/// A pipeline that is being put together.
struct Reading {
    draft: Draft,
    /// Stages that found no place.
    lost: Vec<StageEntry>,
    flaws: Vec<Flaw>,
    library: Library,
    /// False when a file could not be read, so that its stages are missing.
    is_whole: bool,
}

impl Reading {
    /// Takes in a file, what it extends first.
    fn file(&mut self, source: SourceFile) {
        let number = self.draft.sources.push(source.clone());
        let document = Document::read(number, &source, &mut self.flaws);
        self.is_whole &= document.is_read;
        let is_extending = document.extends.is_some();
        if let Some(extends) = document.extends {
            self.base(&source.path, &extends);
        }
        for (key, value) in document.settings {
            self.draft.settings.insert(key.value, value);
        }
        self.lock(number, &source.path, &document.entries);
        for entry in document.entries {
            match entry {
                Entry::Stage(stage) => self.stage(*stage, is_extending, number),
                Entry::Remove(name) => {
                    if let Some(at) = self.find(&name, "to remove") {
                        self.draft.stages.remove(at);
                    }
                }
            }
        }
        self.draft.tests = document.tests;
    }

    fn base(&mut self, from: &str, extends: &At<String>) {
        let found = self.library.base(from, &extends.value);
        match found {
            Ok(base) if self.draft.sources.files().iter().any(|known| known.path == base.path) => {
                self.refuse(&extends.place, format!("{} extends itself by way of this", base.path));
            }
            Ok(_) if self.draft.sources.files().len() >= DEEPEST => {
                self.refuse(&extends.place, format!("more than {DEEPEST} files extend each other"));
            }
            Ok(base) => self.file(base),
            Err(reason) => self.refuse(&extends.place, format!("cannot extend {:?}: {reason}", extends.value)),
        }
    }

    fn refuse(&mut self, place: &Place, message: String) {
        self.is_whole = false;
        self.flaws.push(Flaw::error(place, message));
    }

    /// Reads the lock file, when a guest of the file needs it.
    fn lock(&mut self, number: usize, path: &str, entries: &[Entry]) {
        let needs = |entry: &Entry| matches!(entry, Entry::Stage(it) if it.uses.value.starts_with("wasm:") && it.sha256.is_none());
        if !entries.iter().any(needs) {
            return;
        }
        match self.library.lock(path) {
            Ok(Some(source)) => {
                let file = self.draft.sources.push(source.clone());
                self.draft.lock.0.extend(Lock::read(file, &source, &mut self.flaws).0);
            }
            Ok(None) => {}
            Err(reason) => self.refuse(&Place { file: number, span: 0..0 }, reason),
        }
    }

    fn stage(&mut self, stage: StageEntry, is_extending: bool, file: usize) {
        let at = match &stage.placing {
            Placing::Last if is_extending => {
                let message = "this pipeline extends another one: a stage must say where it stands, by before, after or \
                               replace";
                self.flaws.push(Flaw::error(&stage.place, message));
                None
            }
            Placing::Last => Some(self.draft.stages.len()),
            Placing::Before(name) => self.find(name, "to stand in front of"),
            Placing::Replace(name) => {
                let at = self.find(name, "to replace");
                if let Some(at) = at {
                    self.draft.stages.remove(at);
                }
                at
            }
            Placing::After(name) => self.find(name, "to stand behind").map(|at| {
                // Behind those that this file put there already.
                let is_same = |other: &&StageEntry| {
                    other.place.file == file
                        && matches!(&other.placing, Placing::After(anchor) if anchor.value == name.value)
                };
                let behind = self.draft.stages.get(at.saturating_add(1)..).unwrap_or_default();
                at.saturating_add(1).saturating_add(behind.iter().take_while(is_same).count())
            }),
        };
        match at {
            Some(at) => self.draft.stages.insert(at, stage),
            None => self.lost.push(stage),
        }
    }

    fn find(&mut self, name: &At<String>, purpose: &str) -> Option<usize> {
        let at = self.draft.stages.iter().position(|stage| stage.name.value == name.value);
        if at.is_none() && self.is_whole {
            let guess = nearest(&name.value, self.draft.stages.iter().map(|stage| stage.name.value.as_str()));
            let question = guess.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
            let message = format!("there is no stage {:?} {purpose}{question}", name.value);
            self.flaws.push(Flaw::error(&name.place, message));
        }
        at
    }
}
