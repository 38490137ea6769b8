//! How long the process lives: a plugin's ends with its call, an agent's goes on.

use std::sync::atomic::{AtomicBool, Ordering};

static ENDS_SOON: AtomicBool = AtomicBool::new(false);

/// For a process that ends with its call: large values stay until then, and go in one piece. To give them back one by one
/// takes a twentieth of an ADD's work.
pub fn ends_with_its_call() {
    ENDS_SOON.store(true, Ordering::Relaxed);
}

/// Gives a value back, unless the process does it soon.
pub(crate) fn give_back<T>(held: T) {
    if ENDS_SOON.load(Ordering::Relaxed) {
        std::mem::forget(held);
    }
}
