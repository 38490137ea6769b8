//! Ticks: a signal to this process, again and again, from a timer of the kernel's. No thread is needed for them.

use std::{io, time::Duration};

use nix::{
    libc::SIGVTALRM,
    sys::{
        signal::{SigEvent, SigSet, SigevNotify, Signal},
        timer::{Expiration, Timer, TimerSetTimeFlags},
    },
    time::ClockId,
};

/// The signal's number. A process that does not handle it ends by it, so the handler must be there before the first
/// [`Ticks`].
pub const SIGNAL: i32 = SIGVTALRM;

/// While this lives, the signal comes.
#[derive(Debug)]
#[must_use]
pub struct Ticks {
    _timer: Timer,
}

impl Ticks {
    /// Begins to tick: for the first time after `first`, then every `interval`. The calling thread lets the signal pass from
    /// now on: a process inherits what is blocked from the one that executed it, and a signal that is held back is no clock.
    ///
    /// # Errors
    /// The kernel has no timer left for this process.
    pub fn after(first: Duration, interval: Duration) -> io::Result<Self> {
        let mut ours = SigSet::empty();
        ours.add(Signal::SIGVTALRM);
        ours.thread_unblock()?;
        let event = SigEvent::new(SigevNotify::SigevSignal { signal: Signal::SIGVTALRM, si_value: 0 });
        let mut timer = Timer::new(ClockId::CLOCK_MONOTONIC, event)?;
        timer.set(Expiration::IntervalDelayed(first.into(), interval.into()), TimerSetTimeFlags::empty())?;
        Ok(Self { _timer: timer })
    }
}
