//! What a guest may use, and the store's side of it.

use std::time::Duration;

use coordinator_stages::kernel::processor_time;
use wasmtime::ResourceLimiter;

/// The limits of one call. What is not set has the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Processor time.
    pub time: Duration,
    /// Linear memory, bytes.
    pub memory_bytes: usize,
    /// What may come out of one call into the host or back from the guest, bytes.
    pub output_bytes: usize,
    /// Proposals.
    pub changes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { time: Duration::from_millis(20), memory_bytes: 16 << 20, output_bytes: 1 << 20, changes: 1000 }
    }
}

impl Limits {
    /// The most that a pipeline can allow.
    pub const MOST: Self =
        Self { time: Duration::from_secs(10), memory_bytes: 256 << 20, output_bytes: 16 << 20, changes: 10_000 };
}

/// Tables of functions: entries. A Rust guest has some dozens, a Python one some thousands.
const TABLE_ENTRIES: usize = 100_000;
/// Modules of one component, and their tables: a Rust guest has four, a Python one some twenty.
const PARTS: usize = 64;
/// Lines that one call may log.
const LINES: usize = 100;
/// Bytes of one of them.
pub(super) const LINE_BYTES: usize = 1024;

/// Which limit was met first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Met {
    Time,
    Memory { wanted: usize },
    Table { wanted: usize },
}

/// A store's data: the limits, and what was seen.
#[derive(Debug)]
pub(super) struct State {
    pub(super) stage: String,
    limits: Limits,
    began: Duration,
    pub(super) met: Option<Met>,
    lines: usize,
    /// The last line that the guest logged as an error: a panic's message.
    pub(super) last_words: Option<String>,
    /// The memory that it has, bytes.
    pub(super) memory_bytes: usize,
}

/// Ends a guest; [`State::met`] says why.
#[derive(Debug, thiserror::Error)]
#[error("a limit was met")]
struct LimitMet;

impl State {
    pub(super) fn new(stage: &str, limits: Limits) -> Self {
        let began = processor_time::of_this_thread().unwrap_or_default();
        let stage = stage.to_owned();
        Self { stage, limits, began, met: None, lines: 0, last_words: None, memory_bytes: 0 }
    }

    /// Called at each tick while the guest runs.
    ///
    /// # Errors
    /// Its time is over.
    pub(super) fn tick(&mut self) -> wasmtime::Result<()> {
        let used = processor_time::of_this_thread().map(|now| now.saturating_sub(self.began));
        // Without a clock every guest is over its time.
        if used.is_none_or(|used| used >= self.limits.time) {
            self.met = Some(Met::Time);
            return Err(LimitMet.into());
        }
        Ok(())
    }

    /// Counts a line to be logged; false when there were too many.
    pub(super) fn may_log(&mut self) -> bool {
        self.lines = self.lines.saturating_add(1);
        self.lines <= LINES
    }

    fn meet(&mut self, met: Met) -> wasmtime::Result<bool> {
        self.met.get_or_insert(met);
        Err(LimitMet.into())
    }
}

impl ResourceLimiter for State {
    fn memory_growing(&mut self, current: usize, wanted: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        // Of all its memories together: some compilers make several.
        let wanted = self.memory_bytes.saturating_add(wanted.saturating_sub(current));
        if wanted > self.limits.memory_bytes {
            return self.meet(Met::Memory { wanted });
        }
        self.memory_bytes = wanted;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, wanted: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if wanted > TABLE_ENTRIES { self.meet(Met::Table { wanted }) } else { Ok(true) }
    }

    fn instances(&self) -> usize {
        PARTS
    }

    fn memories(&self) -> usize {
        // Each takes address space.
        4
    }

    fn tables(&self) -> usize {
        PARTS
    }
}
