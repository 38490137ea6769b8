//! The one thing that a guest can ask of the host: a line in the log.

use tracing::{debug, error, info, warn};

use super::{
    bindings::coordinator::stage::{about, changes, facts, host, types},
    limits::{LINE_BYTES, State},
};

impl host::Host for State {
    fn log(&mut self, level: host::Level, text: String) {
        let line = one_line(&text);
        if level == host::Level::Error {
            self.last_words = Some(line.clone());
        }
        if !self.may_log() {
            return;
        }
        let stage = self.stage.as_str();
        match level {
            host::Level::Debug => debug!(stage, "{line}"),
            host::Level::Info => info!(stage, "{line}"),
            host::Level::Warn => warn!(stage, "{line}"),
            host::Level::Error => error!(stage, "{line}"),
        }
    }
}

impl types::Host for State {}
impl facts::Host for State {}
impl changes::Host for State {}
impl about::Host for State {}

/// What a guest wrote, as a log can take it: one line, no control characters, not too long.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::new();
    for c in text.chars() {
        if line.len() > LINE_BYTES {
            line.push('…');
            break;
        }
        line.push(if c.is_control() { ' ' } else { c });
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_writes_lines_into_the_log_that_look_like_ours() {
        assert_eq!(one_line("a\n2026-11-24 INFO all is well\x1b[2J"), "a 2026-11-24 INFO all is well [2J");
        assert!(one_line(&"ä".repeat(100_000)).len() < LINE_BYTES + 10);
    }
}
