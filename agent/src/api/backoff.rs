//! How long to wait after a failure: longer each time, and never all nodes at once.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

/// Doubles from the first wait to the longest, half of each left to chance.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// Begins with `first`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// The next wait; at least what the server asked for.
    pub fn wait(&mut self, asked: Option<Duration>) -> Duration {
        let wait = spread(self.next);
        self.next = self.next.saturating_mul(2).min(self.longest);
        // What the server asks for is spread too, or all nodes come back in the same second.
        wait.max(asked.map(|asked| asked.saturating_add(spread(asked))).unwrap_or_default())
    }

    /// After a success: the next failure is a first one again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// A time between half of `duration` and all of it.
pub fn spread(duration: Duration) -> Duration {
    // The standard library seeds each map's hasher differently; nothing better is needed here.
    let chance = RandomState::new().hash_one(0_u8) % 1024;
    let part = duration.checked_div(2048).unwrap_or_default();
    let part = part.saturating_mul(u32::try_from(chance).unwrap_or_default());
    duration.checked_div(2).unwrap_or_default().saturating_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_again() {
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::new(second, 8 * second);
        for most in [1, 2, 4, 8, 8] {
            let wait = backoff.wait(None);
            assert!(wait >= most * second / 2 && wait <= most * second, "{wait:?} of {most} s");
        }
        assert!(backoff.wait(Some(60 * second)) >= 60 * second);
        backoff.reset();
        assert!(backoff.wait(None) <= second);
    }
}
