//! A stage's own lines in the plugin's log.

use crate::LogLevel;

/// Writes a line into the plugin's log, with the stage's name. A stage that runs natively, as in a test, writes nothing.
pub fn log(level: LogLevel, text: &str) {
    #[cfg(target_arch = "wasm32")]
    crate::guest::log(level, text);
    #[cfg(not(target_arch = "wasm32"))]
    let _ = (level, text);
}
