//! The cluster's objects: what they say, what follows from them, and what is wrong with them.
//!
//! Pure: values and texts in, values and texts out. Who reads objects from a cluster and writes them there is the agent's
//! business; `coordinatorctl manifest` asks the same code about files. `kind` names the kinds, `crd` has the definitions with
//! their rules, `coordinator` says what SpiderCoordinator means, `network` makes a NetworkAttachmentDefinition from a
//! SpiderMultusConfig, `manifest` does all of that to a file.

#![forbid(unsafe_code)]

pub mod coordinator;
pub mod crd;
mod kind;
pub mod manifest;
pub mod network;

pub use kind::Kind;
