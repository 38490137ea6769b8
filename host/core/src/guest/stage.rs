//! A guest in a pipeline: bound to its artefact, limits, grants and options, and asked once for each attachment.

#[cfg(feature = "compiler")]
use std::sync::OnceLock;
use std::{path::PathBuf, sync::Arc};

use coordinator_sdk::{Decision, Facts, Refusal};
use coordinator_stages::kernel::ticks::Ticks;
use wasmtime::{AsContextMut as _, Store, Trap, UpdateDeadline, component::Instance};

use super::{
    artefact::Digest,
    bindings::coordinator::stage::about,
    clock, convert,
    engine::{Runtime, STACK},
    exports::Exports,
    failure::GuestError,
    image::Image,
    limits::{Limits, Met, State},
    shelf::Shelf,
};
use crate::check::{self, Checker};

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
    shelf: Arc<Shelf>,
    limits: Limits,
    grants: Vec<String>,
    options: String,
    component: Option<PathBuf>,
    #[cfg(feature = "compiler")]
    compiled: OnceLock<Result<Exports, GuestError>>,
}

/// A guest whose code is in memory: it can be asked any number of times.
pub struct Loaded<'g> {
    guest: &'g Guest,
    exports: Exports,
    /// What the code is in, which must go after it.
    _image: Option<Image>,
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Guest");
        shown.field("name", &self.name).field("digest", &self.digest.to_string()).finish_non_exhaustive()
    }
}

impl Guest {
    /// The guest called `name` in its pipeline, whose component has this digest and its artefact on this shelf. Nothing is
    /// opened yet.
    pub fn new(name: impl Into<String>, digest: Digest, shelf: Arc<Shelf>) -> Self {
        Self {
            name: name.into(),
            digest,
            shelf,
            limits: Limits::default(),
            grants: Vec::new(),
            options: "{}".to_owned(),
            component: None,
            #[cfg(feature = "compiler")]
            compiled: OnceLock::new(),
        }
    }

    /// The guest that this component is, compiled here and now.
    ///
    /// # Errors
    /// It does not fit our world.
    #[cfg(feature = "compiler")]
    pub fn of_component(name: impl Into<String>, component: &[u8]) -> Result<Self, GuestError> {
        let guest = Self::new(name, Digest::of(component), Shelf::of_this_node());
        let (compiled, _) = super::compile::compiled(component)?;
        let exports = Exports::of(Runtime::get()?, &compiled);
        Ok(Self { compiled: OnceLock::from(exports), ..guest })
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
        let loaded = self.load()?;
        let mut call = Call::begin(&loaded.exports, &self.name, self.limits)?;
        call.check_options(&self.options)
    }

    /// Whether its artefact is, byte for byte, what was compiled: by its SHA-256, which takes ten times as long as what
    /// is verified at each use.
    ///
    /// # Errors
    /// There is no artefact, it is another, or somebody else could have written it.
    pub fn verify(&self) -> Result<(), GuestError> {
        self.shelf.open(self.digest)?.verify(self.digest).map(drop)
    }

    /// Decides once. Its code goes right after that, and the memory that it took is the next guest's.
    ///
    /// # Errors
    /// As [`Guest::load`] and [`Loaded::decide`].
    pub fn decide(&self, facts: &Facts) -> Result<Decision, StageFailure> {
        self.load()?.decide(facts)
    }

    /// Maps its artefact.
    ///
    /// # Errors
    /// There is none that can be used.
    pub fn load(&self) -> Result<Loaded<'_>, GuestError> {
        let runtime = Runtime::get()?;
        #[cfg(feature = "compiler")]
        if let Some(compiled) = self.compiled(runtime) {
            return Ok(Loaded { guest: self, exports: compiled?, _image: None });
        }
        let artefacts = self.shelf.open(self.digest)?;
        let image = artefacts.image(self.digest)?;
        let component = image.component(runtime);
        let unfit = |error| artefacts.problem(self.digest, format!("cannot be mapped: {error:#}"));
        let exports = Exports::of(runtime, &component.map_err(unfit)?)?;
        Ok(Loaded { guest: self, exports, _image: Some(image) })
    }

    /// What was compiled here, once; absent for a guest that has an artefact.
    #[cfg(feature = "compiler")]
    fn compiled(&self, runtime: &Runtime) -> Option<Result<Exports, GuestError>> {
        if let Some(path) = &self.component {
            let compile = || Exports::of(runtime, &super::compile::compiled_file(path, self.digest)?);
            self.compiled.get_or_init(compile);
        }
        self.compiled.get().cloned()
    }
}

impl Loaded<'_> {
    /// Decides, in a fresh instance.
    ///
    /// # Errors
    /// It refuses, or it fails: it could not run, met a limit, trapped, or proposed what it must not.
    pub fn decide(&self, facts: &Facts) -> Result<Decision, StageFailure> {
        let Guest { name, limits, grants, options, .. } = self.guest;
        let mut call = Call::begin(&self.exports, name, *limits)?;
        call.check_options(options)?;
        let mut decision = call.decide(facts, options)?;
        drop(call);
        let number = decision.proposals.len();
        if number > limits.changes {
            return Err(GuestError::Changes { number, limit: limits.changes }.into());
        }
        let checker = Checker::new(facts, grants);
        for (at, proposal) in decision.proposals.iter().enumerate() {
            let checked = checker.check(at, &proposal.change);
            checked.map_err(|wrong| GuestError::Proposal(Box::new(wrong)))?;
        }
        check::clean(&mut decision);
        Ok(decision)
    }
}

/// One use of a guest: an instance that lives as long as this.
pub(super) struct Call<'g> {
    /// First, so that the clock stops before anything else goes.
    _ticks: Ticks,
    store: Store<State>,
    instance: Instance,
    exports: &'g Exports,
    limits: Limits,
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
            Ok(instance) => Ok(Self { _ticks: ticks, store, instance, exports, limits }),
            Err(error) => Err(failure(&error, store.data(), limits)),
        }
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
