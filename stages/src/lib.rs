//! The native stages of `coordinator`, one folder a phase, and the room that speaks to the kernel.

pub mod kernel;
