//! What a pipeline says about a guest: typed, checked, and not yet bound to anything that can run.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use coordinator_sdk::Settings;
use serde_json::Value;

use super::{
    source::{At, Flaw},
    table::Table,
};
use crate::settings::nearest;

pub(super) const LIMIT_KEYS: [&str; 2] = ["time", "memory"];
/// A guest decides in microseconds; whoever needs more than this keeps the runtime waiting.
const LONGEST: Duration = Duration::from_secs(10);
const MEMORY_BYTES: std::ops::RangeInclusive<u64> = (64 << 10)..=(256 << 20);

/// Kinds of change that can be granted, beside `setting.<name>`.
pub const GRANTS: [&str; 17] = [
    "veth",
    "pod.link",
    "node.link",
    "pod.address",
    "node.address",
    "pod.route",
    "node.route",
    "pod.rule",
    "node.rule",
    "pod.neighbour",
    "node.neighbour",
    "pod.sysctl",
    "node.sysctl",
    "pod.mark",
    "node.mark",
    "probe.address",
    "probe.gateway",
];

/// A guest as a pipeline asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestSpec {
    /// The stage's name in the pipeline.
    pub stage: String,
    /// The component's file, as it is written.
    pub path: PathBuf,
    /// The component's digest: its artefact is found by it.
    pub sha256: Digest,
    /// The kinds of change that it may propose.
    pub grants: Vec<String>,
    /// What it may use.
    pub limits: Limits,
    /// What its failure leads to.
    pub on_failure: OnFailure,
    /// Its options, as JSON.
    pub with: Value,
}

/// What a guest may use; what is absent has the host's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Of one decision.
    pub time: Option<Duration>,
    /// Of its linear memory, bytes.
    pub memory_bytes: Option<u64>,
}

/// What a stage's failure leads to. A refusal is no failure: it is an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// The ADD fails, and nothing was changed.
    #[default]
    Refuse,
    /// The pipeline goes on without this stage, and says so.
    Skip,
}

/// A SHA-256 digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

/// The text is no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 digest has 64 hexadecimal digits")]
pub struct DigestError;

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(DigestError);
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            let digits = text.get(at.saturating_mul(2)..).and_then(|rest| rest.get(..2)).ok_or(DigestError)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| DigestError)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Limits {
    pub(super) fn read(table: &Table<'_>, flaws: &mut Vec<Flaw>) -> Self {
        table.refuse_unknown(&LIMIT_KEYS, flaws);
        let mut take = |key: &str| table.text(key, flaws);
        let (time, memory) = (take("time"), take("memory"));
        let mut limits = Self::default();
        if let Some(At { value, place }) = time {
            match duration(&value) {
                Some(time) if !time.is_zero() && time <= LONGEST => limits.time = Some(time),
                _ => flaws.push(Flaw::error(&place, format!("time {value:?}: expected 1us to 10s, such as \"20ms\""))),
            }
        }
        if let Some(At { value, place }) = memory {
            match bytes(&value) {
                Some(bytes) if MEMORY_BYTES.contains(&bytes) => limits.memory_bytes = Some(bytes),
                _ => flaws.push(Flaw::error(
                    &place,
                    format!("memory {value:?}: expected 64KiB to 256MiB, such as \"16MiB\""),
                )),
            }
        }
        limits
    }
}

/// A whole number of `us`, `ms` or `s`.
fn duration(text: &str) -> Option<Duration> {
    let units: [(&str, u64); 3] = [("us", 1), ("ms", 1_000), ("s", 1_000_000)];
    let scaled = |(unit, scale): (&str, u64)| text.strip_suffix(unit)?.trim().parse::<u64>().ok()?.checked_mul(scale);
    units.into_iter().find_map(scaled).map(Duration::from_micros)
}

/// A whole number of `KiB` or `MiB`.
fn bytes(text: &str) -> Option<u64> {
    let units: [(&str, u64); 2] = [("KiB", 1 << 10), ("MiB", 1 << 20)];
    units.into_iter().find_map(|(unit, scale)| text.strip_suffix(unit)?.trim().parse::<u64>().ok()?.checked_mul(scale))
}

/// What is wrong with a grant; nothing when it can be given.
pub(super) fn wrong_grant(grant: &str) -> Option<String> {
    match grant.split_once('.') {
        Some(("setting", name)) if Settings::NAMES.contains(&name) && name != "pipeline" => None,
        Some(("setting", name)) => {
            let guess = nearest(name, Settings::NAMES).map(|name| format!("; did you mean setting.{name}?"));
            Some(format!("there is no setting {name:?} to grant{}", guess.unwrap_or_default()))
        }
        None if matches!(grant, "setting" | "probe") => {
            Some(format!("{grant} is granted by name, such as \"setting.podMACPrefix\" or \"probe.address\""))
        }
        _ if GRANTS.contains(&grant) => None,
        _ => {
            let guess = nearest(grant, GRANTS).map(|name| format!("; did you mean {name}?"));
            Some(format!("there is no kind of change {grant:?} to grant{}", guess.unwrap_or_default()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_comes_back_as_it_was_written() {
        let text = "00ff".repeat(16);
        assert_eq!(text.parse::<Digest>().unwrap().to_string(), text);
        for bad in ["", "00", &"0".repeat(63), &"g".repeat(64), &"é".repeat(32), &"+1".repeat(32)] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn units_are_read() {
        assert_eq!(duration("20ms"), Some(Duration::from_millis(20)));
        assert_eq!(duration("2 s"), Some(Duration::from_secs(2)));
        assert_eq!((duration("20"), duration("-1ms"), duration("1h")), (None, None, None));
        assert_eq!((bytes("16MiB"), bytes("64KiB")), (Some(16 << 20), Some(64 << 10)));
        assert_eq!((bytes("16MB"), bytes("18446744073709551615MiB")), (None, None));
    }

    #[test]
    fn every_change_can_be_granted() {
        use coordinator_sdk::{Change, Device, LinkEdit};
        let change = Change::SetLink(LinkEdit::of(Device::pod("eth0")));
        assert_eq!(wrong_grant(&change.grant()), None);
        assert_eq!(wrong_grant("setting.podMACPrefix"), None);
        assert!(wrong_grant("setting.podMacPrefix").unwrap().ends_with("did you mean setting.podMACPrefix?"));
        assert!(wrong_grant("pod.routes").unwrap().ends_with("did you mean pod.route?"));
        assert!(wrong_grant("setting").unwrap().contains("by name"));
    }
}
