//! The guests' helper: a thread that maps artefacts while the kernel is being observed, then ticks while a guest runs.
//!
//! A tick lets the guest's own thread look at the processor time that it has used, so a guest that merely waits for
//! its turn on a busy node is not ended, and one that computes for too long is, within a tick. The thread starts with
//! the first guest; a process that runs none has none. (A signal's handler could tick as well and start sooner, at the
//! price of unsafe code and of interrupted system calls in every other thread; it could not map anything.)

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use super::{engine::Runtime, stage::Guest};

/// How long a guest may go on after its time is over, at most.
const TICK: Duration = Duration::from_millis(1);
/// Bytes; only what is touched costs.
const STACK: usize = 1 << 20;

/// How many guests run, and where the thread waits while none does.
#[derive(Debug, Default)]
struct Running {
    number: Mutex<usize>,
    begun: Condvar,
}

static RUNNING: Running = Running { number: Mutex::new(0), begun: Condvar::new() };
static IS_STARTED: AtomicBool = AtomicBool::new(false);

/// While this lives, the clock ticks.
#[derive(Debug)]
#[must_use]
pub(super) struct Ticking(());

/// Begins to tick; absent when no thread can be had.
pub(super) fn begin() -> Option<Ticking> {
    *lock() += 1;
    let ticking = Ticking(());
    let is_there = start(Vec::new());
    RUNNING.begun.notify_one();
    is_there.then_some(ticking)
}

/// Maps these guests' artefacts while the caller does something else. What fails is seen when the guest is asked.
pub fn warm_up(guests: Vec<Arc<Guest>>) {
    if !guests.is_empty() {
        start(guests);
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        *lock() -= 1;
    }
}

fn lock() -> MutexGuard<'static, usize> {
    RUNNING.number.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the thread unless it is there; it ends with the process.
fn start(guests: Vec<Arc<Guest>>) -> bool {
    if IS_STARTED.swap(true, Ordering::AcqRel) {
        return true;
    }
    let named = thread::Builder::new().name("guests".to_owned()).stack_size(STACK);
    let spawned = named.spawn(move || {
        for guest in &guests {
            guest.map_now();
        }
        drop(guests);
        tick();
    });
    IS_STARTED.store(spawned.is_ok(), Ordering::Release);
    spawned.is_ok()
}

fn tick() {
    // Whoever is to be ticked for has made the engine.
    loop {
        let mut running = lock();
        while *running == 0 {
            running = RUNNING.begun.wait(running).unwrap_or_else(PoisonError::into_inner);
        }
        drop(running);
        thread::sleep(TICK);
        if let Ok(runtime) = Runtime::get() {
            runtime.engine.increment_epoch();
        }
    }
}
