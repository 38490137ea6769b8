//! The native stages of `coordinator`, one folder a phase, and the room that speaks to the kernel.

#![forbid(unsafe_code)]

pub mod apply;
pub mod decide;
pub mod kernel;
pub mod observe;
pub mod raw_routes;
pub mod sockets;
