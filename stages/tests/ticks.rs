//! The clock's ticks. They are the process's, so this test has a process of its own.

#![allow(unsafe_code, reason = "a handler of a signal")]

use std::{
    sync::atomic::{AtomicU32, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use coordinator_stages::kernel::ticks::{SIGNAL, Ticks};
use nix::sys::signal::{SigSet, Signal};

static COUNTED: AtomicU32 = AtomicU32::new(0);

/// Whether so many more ticks are seen within ten seconds.
fn come(more: u32) -> bool {
    let (begin, before) = (Instant::now(), COUNTED.load(Ordering::Relaxed));
    while begin.elapsed() < Duration::from_secs(10) {
        if COUNTED.load(Ordering::Relaxed) >= before + more {
            return true;
        }
        sleep(Duration::from_millis(1));
    }
    false
}

#[test]
fn ticks_come_while_they_are_wanted_and_even_if_they_were_blocked() {
    // SAFETY: To count is all that the handler does.
    let handled = unsafe {
        signal_hook_registry::register(SIGNAL, || {
            COUNTED.fetch_add(1, Ordering::Relaxed);
        })
    };
    handled.unwrap();
    let mut ours = SigSet::empty();
    ours.add(Signal::SIGVTALRM);
    ours.thread_block().unwrap();
    assert!(!come_within_a_moment());
    let ticks = Ticks::after(Duration::from_millis(5), Duration::from_millis(1)).unwrap();
    assert!(come(5));
    assert!(!SigSet::thread_get_mask().unwrap().contains(Signal::SIGVTALRM));
    drop(ticks);
    // One may have been on its way.
    sleep(Duration::from_millis(5));
    assert!(!come_within_a_moment());
}

fn come_within_a_moment() -> bool {
    let before = COUNTED.load(Ordering::Relaxed);
    sleep(Duration::from_millis(30));
    COUNTED.load(Ordering::Relaxed) != before
}
