//! A component that fits the interface, and what it exports.
//!
//! Whether the types of a component are those of `wit/` is asked once, when it is compiled. To ask again at each use takes
//! a tenth of all that a guest costs, and what is mapped is, byte for byte, what was asked ([`Image`](super::image::Image)).

use wasmtime::{
    AsContextMut, Engine, StoreContextMut,
    component::{Component, ComponentExportIndex, HasSelf, Instance, InstancePre, Linker, TypedFunc},
};

use super::{
    bindings::{
        Stage,
        coordinator::stage::{
            about::Problem,
            changes::{Decision, Refusal},
            facts::Snapshot,
        },
    },
    engine::Runtime,
    failure::GuestError,
    limits::State,
};

/// A component whose types are those of the interface.
pub(super) struct Fitting(Component);

impl Fitting {
    /// Asks.
    ///
    /// # Errors
    /// It wants or offers something else than this host does.
    #[cfg(feature = "compiler")]
    pub(super) fn asked(runtime: &Runtime, component: Component) -> Result<Self, GuestError> {
        match runtime.linker.instantiate_pre(&component).and_then(super::bindings::StagePre::new) {
            Ok(_) => Ok(Self(component)),
            Err(error) => Err(unfit(&error)),
        }
    }

    /// Takes it that the component fits.
    ///
    /// # Safety
    /// [`Fitting::asked`] said so, of this component in this or another process.
    #[allow(unsafe_code, reason = "what is called as of another type than it has may do anything")]
    pub(super) unsafe fn known(component: Component) -> Self {
        Self(component)
    }

    #[cfg(feature = "compiler")]
    pub(super) fn component(&self) -> &Component {
        &self.0
    }
}

/// What can be instantiated and called.
#[derive(Clone)]
pub(super) struct Exports {
    instances: InstancePre<State>,
    check: ComponentExportIndex,
    decide: ComponentExportIndex,
}

/// What `decide` answers.
pub(super) type Said = Result<Decision, Refusal>;

impl Exports {
    /// Satisfies the component's one import, and finds its exports.
    ///
    /// # Errors
    /// It lacks one.
    pub(super) fn of(runtime: &Runtime, Fitting(component): &Fitting) -> Result<Self, GuestError> {
        let export = |name: &str| {
            let found = component.get_export_index(None, name);
            found.ok_or_else(|| GuestError::Interface { reason: format!("it does not export the function {name}") })
        };
        let instances = runtime.linker.instantiate_pre(component);
        Ok(Self {
            instances: instances.map_err(|error| unfit(&error))?,
            check: export("check")?,
            decide: export("decide")?,
        })
    }

    /// A new instance.
    ///
    /// # Errors
    /// It traps, or meets a limit.
    pub(super) fn instantiate(&self, store: impl AsContextMut<Data = State>) -> wasmtime::Result<Instance> {
        self.instances.instantiate(store)
    }

    /// Calls `check` with the options.
    ///
    /// # Errors
    /// As [`Exports::instantiate`].
    #[allow(unsafe_code, reason = "the type is not asked again")]
    pub(super) fn check(
        &self,
        instance: Instance,
        mut store: StoreContextMut<'_, State>,
        options: &str,
    ) -> wasmtime::Result<Vec<Problem>> {
        let function = instance.get_func(&mut store, self.check).ok_or_else(lost)?;
        // SAFETY: A `Fitting` component exports `check` under this index, of the type in `wit/stage.wit`.
        let function = unsafe { TypedFunc::<(&str,), (Vec<Problem>,)>::new_unchecked(function) };
        function.call(store, (options,)).map(|(problems,)| problems)
    }

    /// Calls `decide` with the facts and the options.
    ///
    /// # Errors
    /// As [`Exports::instantiate`].
    #[allow(unsafe_code, reason = "the type is not asked again")]
    pub(super) fn decide(
        &self,
        instance: Instance,
        mut store: StoreContextMut<'_, State>,
        facts: &Snapshot,
        options: &str,
    ) -> wasmtime::Result<Said> {
        let function = instance.get_func(&mut store, self.decide).ok_or_else(lost)?;
        // SAFETY: As for `check`.
        let function = unsafe { TypedFunc::<(&Snapshot, &str), (Said,)>::new_unchecked(function) };
        function.call(store, (facts, options)).map(|(said,)| said)
    }
}

/// What there is for a component's one import.
///
/// # Errors
/// The engine does not know it.
pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    Stage::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    Ok(linker)
}

fn unfit(error: &wasmtime::Error) -> GuestError {
    GuestError::Interface { reason: format!("{error:#}") }
}

fn lost() -> wasmtime::Error {
    wasmtime::Error::msg("an export of it is no function")
}
