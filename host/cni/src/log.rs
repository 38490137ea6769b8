//! The log: what a call was asked, decided and did. It never fails a call.

use std::path::Path;

use coordinator_core::{chain::chain, log_file};
use coordinator_sdk::{LogLevel, LogOptions};
use tracing::level_filters::LevelFilter;

/// Begins to write what is traced; says why not, when it cannot.
pub(crate) fn start(options: &LogOptions, directory: &Path) -> Option<String> {
    let file = match log_file::open(options, directory) {
        Ok(file) => file,
        Err(error) => return Some(chain(&error)),
    };
    let level = match options.level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    let subscriber =
        tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_target(false).with_writer(file);
    let set = tracing::subscriber::set_global_default(subscriber.finish());
    set.err().map(|error| error.to_string())
}
