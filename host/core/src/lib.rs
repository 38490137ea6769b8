//! What `coordinator`'s binaries share: settings, pipelines, records, and the life of an attachment.

// `guest/image.rs` maps artefacts, `guest/exports.rs` calls them and `guest/clock.rs` handles a signal, which are unsafe by
// nature.
#![deny(unsafe_code)]

pub mod attachment;
pub mod chain;
pub mod check;
pub mod conflict_report;
pub mod doctor;
pub mod effective;
pub mod guest;
pub mod log_file;
pub mod node_defaults;
pub mod path;
pub mod pipeline;
pub mod preparation;
pub mod process;
pub mod record;
pub mod replay;
pub mod runner;
pub mod settings;
pub mod tally;
