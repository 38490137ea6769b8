//! Memory in a static binary that lives for milliseconds: where its heap comes from, and how it copies.
//!
//! musl has both, made to be small. Who links this crate has others; there is nothing to call. That is the plugin, and the
//! floor that it is measured against.

// Elsewhere the C library copies well; and what is not optimised makes of each copy a call of itself.
#[cfg(all(target_arch = "x86_64", any(test, all(target_env = "musl", not(debug_assertions)))))]
mod copy;

use std::alloc::System;

use spinning_top::RawSpinlock;
use talc::{TalcLock, source::GlobalAllocSource};

/// Takes memory a megabyte at a time and packs it closely: a third fewer page faults than dlmalloc has. (musl's own gives every few
/// kilobytes back to the kernel and asks for them again: a hundred system calls an ADD.)
#[global_allocator]
static ALLOCATOR: TalcLock<RawSpinlock, GlobalAllocSource<System>> = TalcLock::new(GlobalAllocSource::new(System));
