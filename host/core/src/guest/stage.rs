//! A guest in a pipeline: bound to its artefact, limits, grants and options, and asked once for each attachment.

use std::{path::Path, path::PathBuf, sync::OnceLock};

use coordinator_sdk::{Decision, Facts, Refusal};
use coordinator_stages::kernel::ticks::Ticks;
use wasmtime::{AsContextMut as _, Store, Trap, UpdateDeadline, component::Instance};

use super::{
    artefact::{self, Artefacts, Digest},
    bindings::coordinator::stage::about,
    clock, convert,
    engine::{Runtime, STACK},
    exports::Exports,
    failure::GuestError,
    image::Image,
    limits::{Limits, Met, State},
};
use crate::{
    check::{self, Checker},
    process,
};

/// Problems with options that one message names.
const MOST_PROBLEMS: usize = 20;

/// Why a guest gave no decision.
#[derive(Debug, thiserror::Error)]
pub enum StageFailure {
    /// It refuses the attachment, for a reason.
    #[error(transparent)]
    Refused(Refusal),
    /// It failed.
    #[error(transparent)]
    Failed(#[from] GuestError),
}

/// A guest with what a pipeline says of it.
pub struct Guest {
    name: String,
    digest: Digest,
    directory: PathBuf,
    limits: Limits,
    grants: Vec<String>,
    options: String,
    component: Option<PathBuf>,
    loaded: OnceLock<Result<Loaded, GuestError>>,
}

/// A guest that can be instantiated, and the image of its code, which must go last.
struct Loaded {
    exports: Exports,
    _image: Option<Image>,
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Guest");
        shown.field("name", &self.name).field("digest", &self.digest.to_string()).finish_non_exhaustive()
    }
}

impl Guest {
    /// The guest called `name` in its pipeline, whose component has this digest. Nothing is opened yet.
    pub fn new(name: impl Into<String>, digest: Digest) -> Self {
        Self {
            name: name.into(),
            digest,
            directory: artefact::default_directory(),
            limits: Limits::default(),
            grants: Vec::new(),
            options: "{}".to_owned(),
            component: None,
            loaded: OnceLock::new(),
        }
    }

    /// The guest that this component is, compiled here and now.
    ///
    /// # Errors
    /// It does not fit our world.
    #[cfg(feature = "compiler")]
    pub fn of_component(name: impl Into<String>, component: &[u8]) -> Result<Self, GuestError> {
        let guest = Self::new(name, Digest::of(component));
        let (compiled, _) = super::compile::compiled(component)?;
        let loaded = Loaded { exports: Exports::of(Runtime::get()?, &compiled)?, _image: None };
        guest.loaded.get_or_init(|| Ok(loaded)).as_ref().map_err(Clone::clone)?;
        Ok(guest)
    }

    /// Looks for the artefact elsewhere than in [`DIRECTORY`](super::DIRECTORY).
    #[must_use]
    pub fn artefacts(mut self, directory: &Path) -> Self {
        directory.clone_into(&mut self.directory);
        self
    }

    /// Sets its limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets what it may propose.
    #[must_use]
    pub fn grants(mut self, grants: Vec<String>) -> Self {
        self.grants = grants;
        self
    }

    /// Sets its options, a JSON object.
    #[must_use]
    pub fn options(mut self, options: impl Into<String>) -> Self {
        self.options = options.into();
        self
    }

    /// Says where the component itself lies, for a program that has a compiler: it needs no artefact then.
    #[must_use]
    pub fn component(mut self, path: PathBuf) -> Self {
        self.component = Some(path);
        self
    }

    /// Its name in the pipeline.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the pipeline lets it propose changes of this kind, such as `pod.route`.
    pub fn may(&self, grant: &str) -> bool {
        self.grants.iter().any(|granted| granted == grant)
    }

    /// Whether it could run now, with these options.
    ///
    /// # Errors
    /// There is no usable artefact, or its own check finds the options wrong.
    pub fn ready(&self) -> Result<(), GuestError> {
        let mut call = Call::begin(self.loaded()?, &self.name, self.limits)?;
        call.check_options(&self.options)
    }

    /// Whether its artefact is, byte for byte, what was compiled: by its SHA-256, which takes ten times as long as what
    /// is verified at each use.
    ///
    /// # Errors
    /// There is no artefact, it is another, or somebody else could have written it.
    pub fn verify(&self) -> Result<(), GuestError> {
        let artefacts = Artefacts::open(&self.directory)?;
        let artefacts = artefacts.ok_or_else(|| artefact::not_compiled(self.digest, &self.directory))?;
        artefacts.verify(self.digest).map(drop)
    }

    /// Decides, in a fresh instance.
    ///
    /// # Errors
    /// It refuses, or it fails: it could not run, met a limit, trapped, or proposed what it must not.
    pub fn decide(&self, facts: &Facts) -> Result<Decision, StageFailure> {
        let mut call = Call::begin(self.loaded()?, &self.name, self.limits)?;
        call.check_options(&self.options)?;
        let mut decision = call.decide(facts, &self.options)?;
        call.end();
        let number = decision.proposals.len();
        if number > self.limits.changes {
            return Err(GuestError::Changes { number, limit: self.limits.changes }.into());
        }
        let checker = Checker::new(facts, &self.grants);
        for (at, proposal) in decision.proposals.iter().enumerate() {
            let checked = checker.check(at, &proposal.change);
            checked.map_err(|wrong| GuestError::Proposal(Box::new(wrong)))?;
        }
        check::clean(&mut decision);
        Ok(decision)
    }

    /// The artefact, mapped at its first use.
    fn loaded(&self) -> Result<&Exports, GuestError> {
        self.loaded.get_or_init(|| self.load()).as_ref().map(|loaded| &loaded.exports).map_err(Clone::clone)
    }

    fn load(&self) -> Result<Loaded, GuestError> {
        let runtime = Runtime::get()?;
        #[cfg(feature = "compiler")]
        if let Some(path) = &self.component {
            let compiled = super::compile::compiled_file(path, self.digest)?;
            return Ok(Loaded { exports: Exports::of(runtime, &compiled)?, _image: None });
        }
        let artefacts = Artefacts::open(&self.directory)?;
        let artefacts = artefacts.ok_or_else(|| artefact::not_compiled(self.digest, &self.directory))?;
        let image = artefacts.image(self.digest)?;
        let component = image.component(runtime);
        let unfit = |error| artefacts.problem(self.digest, format!("cannot be mapped: {error:#}"));
        let exports = Exports::of(runtime, &component.map_err(unfit)?)?;
        Ok(Loaded { exports, _image: Some(image) })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        process::give_back(self.loaded.take());
    }
}

/// One use of a guest: an instance that lives as long as this.
pub(super) struct Call<'g> {
    store: Store<State>,
    instance: Instance,
    exports: &'g Exports,
    limits: Limits,
    ticks: Ticks,
}

impl<'g> Call<'g> {
    /// Makes the instance, within the limits.
    pub(super) fn begin(exports: &'g Exports, name: &str, limits: Limits) -> Result<Self, GuestError> {
        let runtime = Runtime::get()?;
        let mut store = Store::new(&runtime.engine, State::new(name, limits));
        store.limiter(|state| state);
        store.set_hostcall_fuel(limits.output_bytes);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| {
            store.data_mut().tick()?;
            Ok(UpdateDeadline::Continue(1))
        });
        let ticks = clock::begin(runtime, limits.time)?;
        match exports.instantiate(&mut store) {
            Ok(instance) => Ok(Self { store, instance, exports, limits, ticks }),
            Err(error) => Err(failure(&error, store.data(), limits)),
        }
    }

    /// Ends it: the clock stops now, whatever happens to the rest.
    fn end(self) {
        let Self { store, ticks, .. } = self;
        drop(ticks);
        process::give_back(store);
    }

    /// What it says of itself.
    #[cfg(feature = "compiler")]
    pub(super) fn describe(&mut self) -> Result<about::Description, GuestError> {
        let function = self.instance.get_typed_func::<(), (about::Description,)>(&mut self.store, "describe");
        let said = function.and_then(|function| function.call(&mut self.store, ()));
        said.map(|(said,)| said).map_err(|error| self.failure(&error))
    }

    fn check_options(&mut self, options: &str) -> Result<(), GuestError> {
        let said = self.exports.check(self.instance, self.store.as_context_mut(), options);
        let problems = said.map_err(|error| self.failure(&error))?;
        if problems.is_empty() {
            return Ok(());
        }
        let line = |problem: &about::Problem| match problem.path.as_str() {
            "" => super::log::one_line(&problem.text),
            path => super::log::one_line(&format!("{path}: {}", problem.text)),
        };
        Err(GuestError::Options { problems: problems.iter().take(MOST_PROBLEMS).map(line).collect() })
    }

    fn decide(&mut self, facts: &Facts, options: &str) -> Result<Decision, StageFailure> {
        let snapshot = convert::snapshot(facts);
        let said = self.exports.decide(self.instance, self.store.as_context_mut(), &snapshot, options);
        match said.map_err(|error| self.failure(&error))? {
            Ok(decision) => {
                let decision = convert::decision(&self.store.data().stage, decision);
                Ok(decision.map_err(|reason| GuestError::Unreadable { reason })?)
            }
            Err(refusal) => {
                let mut refusal = convert::refusal(refusal);
                check::clean_refusal(&mut refusal);
                Err(StageFailure::Refused(refusal))
            }
        }
    }

    fn failure(&self, error: &wasmtime::Error) -> GuestError {
        failure(error, self.store.data(), self.limits)
    }
}

/// Why a guest was ended.
fn failure(error: &wasmtime::Error, state: &State, limits: Limits) -> GuestError {
    match state.met {
        Some(Met::Time) => return GuestError::Time { limit: limits.time },
        Some(Met::Memory { wanted }) => return GuestError::Memory { wanted, limit: limits.memory_bytes },
        Some(Met::Table { wanted }) => {
            return GuestError::Unreadable { reason: format!("a table of {wanted} functions is too large") };
        }
        None => {}
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => GuestError::Stack { limit: STACK },
        Some(trap) => GuestError::Trap { trap: trap.to_string(), words: state.last_words.clone() },
        None => {
            let reason = super::log::one_line(&format!("{error:#}"));
            if reason.contains("too much data") || reason.contains("fuel") {
                return GuestError::Output { limit: limits.output_bytes };
            }
            GuestError::Unreadable { reason }
        }
    }
}
