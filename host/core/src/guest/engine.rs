//! The engine and its settings: one for the process, made when the first guest is wanted.
//!
//! The plugin's engine can map and run artefacts, and has no compiler. The tool's has one, and is set up by the
//! same function, so that what one compiles the other takes.

use std::sync::OnceLock;

use wasmtime::{Config, Engine, ModuleVersionStrategy, component::Linker};

use super::{exports, failure::GuestError, limits::State};

/// Identifies what made an artefact: wasmtime's exact version, every crate that has a say in compiled code, and the
/// interface's version. Artefacts of another build are never mapped.
pub const BUILD: &str = concat!("wasmtime-48.0.8-", env!("COORDINATOR_ENGINE_BUILD"), "-wit-0.1.0");

/// The same as a part of a file's name.
pub(super) const BUILD_NUMBER: &str = concat!(env!("COORDINATOR_ENGINE_BUILD"), "-0.1.0");

/// Address space that a linear memory gets, bytes: as much as 32 bits can name, so that no access needs a check of its
/// own, which makes artefacts a fifth smaller. Only what is touched costs. It cannot move.
pub(super) const MEMORY_RESERVATION: u64 = 4 << 30;
/// What follows it and faults, bytes.
const GUARD: u64 = 64 << 10;
/// The stack of a guest, bytes.
pub(super) const STACK: usize = 512 << 10;

/// The engine, and what it offers to every component.
pub struct Runtime {
    pub(super) engine: Engine,
    pub(super) linker: Linker<State>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").finish_non_exhaustive()
    }
}

impl Runtime {
    /// The process's engine.
    ///
    /// # Errors
    /// This machine cannot run it.
    pub fn get() -> Result<&'static Self, GuestError> {
        static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
        let made = RUNTIME.get_or_init(|| {
            let engine = configuration().and_then(|config| Engine::new(&config));
            let made = engine.and_then(|engine| Ok(Self { linker: exports::linker(&engine)?, engine }));
            made.map_err(|error| format!("{error:#}"))
        });
        made.as_ref().map_err(|reason| GuestError::Engine { reason: reason.clone() })
    }
}

/// Measured for a process that lives for milliseconds; the figures stand in `docs/performance.md`.
fn configuration() -> wasmtime::Result<Config> {
    let mut config = Config::new();
    config.gc_support(false);
    config.concurrency_support(false);
    config.epoch_interruption(true);
    config.generate_address_map(false);
    config.native_unwind_info(false);
    config.memory_reservation(MEMORY_RESERVATION);
    config.memory_may_move(false);
    config.memory_guard_size(GUARD);
    config.max_wasm_stack(STACK);
    super::image::configure(&mut config);
    config.module_version(ModuleVersionStrategy::Custom(BUILD.to_owned()))?;
    #[cfg(feature = "compiler")]
    {
        config.cranelift_opt_level(wasmtime::OptLevel::SpeedAndSize);
        // Code for any processor of this architecture. To ask the processor what it can do takes 0.05 ms in a virtual
        // machine, which ends every such question in its hypervisor; the plugin asks none when the code wants nothing.
        config.target(env!("COORDINATOR_TARGET"))?;
    }
    Ok(config)
}
