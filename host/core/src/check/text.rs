//! Texts that come from a guest: bounded, and fit for a log and a plan.

use coordinator_sdk::{Device, InterfaceName};

use super::Problem;

/// Bytes of a reason, a warning or a refusal.
pub const TEXT_BYTES: usize = 2048;
/// Warnings of one decision.
pub const MOST_WARNINGS: usize = 64;
/// Bytes of a wrong value that a message repeats.
const SHOWN_BYTES: usize = 64;

/// One line without control characters, cut.
pub(super) fn cleaned(text: &str) -> String {
    cut(text, TEXT_BYTES)
}

/// A wrong value, as a message shows it.
pub(super) fn shown(text: &str) -> String {
    cut(text, SHOWN_BYTES)
}

pub(super) fn shown_device(device: &Device) -> Device {
    Device { side: device.side, name: shown(&device.name) }
}

fn cut(text: &str, bytes: usize) -> String {
    let mut line = String::new();
    for c in text.chars() {
        if line.len() >= bytes {
            line.push('…');
            break;
        }
        line.push(if c.is_control() { ' ' } else { c });
    }
    line
}

pub(super) fn bounded(name: &'static str, value: &str, bytes: usize) -> Result<(), Problem> {
    let reason = match value {
        value if value.len() > bytes => "it is too long",
        value if value.chars().any(char::is_control) => "it has control characters",
        _ => return Ok(()),
    };
    Err(Problem::Text { name, value: shown(value), reason })
}

pub(super) fn interface(name: &'static str, value: &str) -> Result<(), Problem> {
    let reason = "it is no interface's name";
    let parsed = value.parse::<InterfaceName>();
    parsed.map(drop).map_err(|_| Problem::Text { name, value: shown(value), reason })
}
