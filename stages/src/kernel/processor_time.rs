//! How long a thread has computed: time in which it only waited for its turn does not count.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The processor time that the calling thread has used; absent when the kernel does not say.
pub fn of_this_thread() -> Option<Duration> {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).ok().map(Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_work_and_not_sleep() {
        let begin = of_this_thread().unwrap();
        std::thread::sleep(Duration::from_millis(30));
        let slept = of_this_thread().unwrap() - begin;
        assert!(slept < Duration::from_millis(25), "{slept:?}");
        while of_this_thread().unwrap() - begin < Duration::from_millis(30) {}
    }
}
