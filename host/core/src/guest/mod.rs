//! Guests: stages that are WebAssembly components, run without being trusted.
//!
//! A pipeline names a guest by the SHA-256 of its component. On a node it lies compiled in a directory of root's
//! ([`Artefacts`]); an ADD maps that artefact, makes an instance, asks it once and throws it away. Nothing is compiled
//! here, and a process that runs no guest makes no engine.
//!
//! Architecture invariant: wasmtime appears in this room and nowhere else. The room knows no kernel and no
//! pipeline file: limits, grants and options come as values, facts go in, and a decision that passed
//! [`check`](crate::check) comes out.

mod artefact;
mod bindings;
mod clock;
#[cfg(feature = "compiler")]
mod compile;
mod convert;
mod engine;
mod exports;
mod failure;
mod image;
mod limits;
mod log;
#[cfg(feature = "compiler")]
mod measure;
mod shelf;
mod stage;

pub use artefact::{Artefacts, DIRECTORY, Digest, DigestError, Manifest};
#[cfg(feature = "compiler")]
pub use compile::{Compiled, compile, encode, is_component};
pub use engine::{BUILD, Runtime};
pub use failure::GuestError;
pub use limits::Limits;
#[cfg(feature = "compiler")]
pub use measure::{Used, measure};
pub use shelf::Shelf;
pub use stage::{Guest, Loaded, StageFailure};
