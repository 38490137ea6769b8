//! The native stages of `coordinator`, one folder a phase, and the room that speaks to the kernel.
//!
//! `unsafe` is denied everywhere but in `kernel/packet/`, which says why.

pub mod announce;
pub mod apply;
pub mod decide;
pub mod kernel;
pub mod observe;
pub mod probe;
pub mod raw_routes;
pub mod sockets;
