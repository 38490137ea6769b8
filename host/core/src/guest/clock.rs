//! The guests' clock: it ticks when a guest has run for its time, and costs no thread.
//!
//! A tick lets the guest look at the processor time that its thread has used, so a guest that merely waits for its turn
//! on a busy node is not ended, and one that computes for too long is, within a tick. The ticks are a signal's; its
//! handler is set up with the first guest, and a process that runs none has none. (A thread would need no unsafe code,
//! and takes 0.1 ms of an ADD: to begin it, and in all that a process with two threads does.)

use std::{sync::OnceLock, time::Duration};

use coordinator_stages::kernel::ticks::{SIGNAL, Ticks};

use super::{engine::Runtime, failure::GuestError};

/// How long a guest may go on after its time is over, at most.
const TICK: Duration = Duration::from_millis(1);

/// Begins to tick, for a guest that has this `time`. Before that has passed on the wall it cannot have used it: a timer for
/// sooner would be the processor's next event, and in a virtual machine to set that, and to set it back, takes 0.02 ms.
///
/// # Errors
/// The kernel has no timer left for this process, or takes no handler.
pub(super) fn begin(runtime: &'static Runtime, time: Duration) -> Result<Ticks, GuestError> {
    static IS_HANDLED: OnceLock<Result<(), String>> = OnceLock::new();
    let no_clock = |reason: String| GuestError::Engine { reason: format!("there is no clock for it: {reason}") };
    let handled = IS_HANDLED.get_or_init(|| handle(runtime).map_err(|error| error.to_string()));
    handled.clone().map_err(no_clock)?;
    Ticks::after(time, TICK).map_err(|error| no_clock(error.to_string()))
}

/// Has each tick move the engine's epoch on.
#[allow(unsafe_code, reason = "a signal's handler may do next to nothing")]
fn handle(runtime: &'static Runtime) -> std::io::Result<()> {
    let engine = &runtime.engine;
    // The handler may do only what is async-signal-safe, and must not panic; the engine lives as long as the process.
    // SAFETY: `Engine::increment_epoch` is documented to be so: no system call, one addition to an atomic number.
    unsafe { signal_hook_registry::register(SIGNAL, || engine.increment_epoch()) }.map(drop)
}
