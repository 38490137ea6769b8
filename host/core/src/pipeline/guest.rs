//! What a pipeline says about a guest: typed, checked, and not yet bound to anything that can run.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use coordinator_sdk::Settings;
use serde_json::Value;

use super::{
    source::{At, Flaw},
    table::Table,
};
use crate::{
    guest::{self, Digest},
    settings::nearest,
};

pub(super) const LIMIT_KEYS: [&str; 4] = ["time", "memory", "output", "changes"];
/// A guest decides in microseconds; whoever needs more than this keeps the runtime waiting.
const LONGEST: Duration = Duration::from_secs(10);
const MEMORY_BYTES: RangeInclusive<u64> = (64 << 10)..=(256 << 20);
const OUTPUT_BYTES: RangeInclusive<u64> = (1 << 10)..=(16 << 20);
/// More than this no plan can be read by a person, nor written by a kernel in time.
const CHANGES: RangeInclusive<u64> = 0..=10_000;

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
    /// Of what it says in one call, bytes.
    pub output_bytes: Option<u64>,
    /// Of its proposals, their number.
    pub changes: Option<u64>,
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

impl Limits {
    pub(super) fn read(table: &Table<'_>, flaws: &mut Vec<Flaw>) -> Self {
        table.refuse_unknown(&LIMIT_KEYS, flaws);
        let mut take = |key: &str| table.text(key, flaws);
        let (time, memory, output) = (take("time"), take("memory"), take("output"));
        let changes = table.has("changes").then(|| (table.integer("changes"), table.place_of("changes")));
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
        if let Some(At { value, place }) = output {
            match bytes(&value) {
                Some(bytes) if OUTPUT_BYTES.contains(&bytes) => limits.output_bytes = Some(bytes),
                _ => flaws
                    .push(Flaw::error(&place, format!("output {value:?}: expected 1KiB to 16MiB, such as \"1MiB\""))),
            }
        }
        if let Some((number, Some(place))) = changes {
            match number.and_then(|text| text.parse().ok()) {
                Some(number) if CHANGES.contains(&number) => limits.changes = Some(number),
                _ => flaws.push(Flaw::error(&place, "changes: expected a whole number from 0 to 10000, such as 1000")),
            }
        }
        limits
    }

    /// Those that are set, as a file says them.
    pub fn to_json(self) -> Value {
        let time = self.time.map(|time| match time.as_micros() {
            micros if micros.is_multiple_of(1000) => format!("{}ms", time.as_millis()),
            micros => format!("{micros}us"),
        });
        // What is read is a whole number of KiB.
        let bytes = |bytes: u64| match bytes.is_multiple_of(1 << 20) {
            true => format!("{}MiB", bytes >> 20),
            false => format!("{}KiB", bytes >> 10),
        };
        let texts =
            [("time", time), ("memory", self.memory_bytes.map(bytes)), ("output", self.output_bytes.map(bytes))];
        let texts = texts.into_iter().filter_map(|(key, text)| Some((key.to_owned(), Value::from(text?))));
        texts.chain(self.changes.map(|changes| ("changes".to_owned(), changes.into()))).collect()
    }

    /// As the guest's room wants them.
    pub fn in_force(self) -> guest::Limits {
        let default = guest::Limits::default();
        let size = |given: Option<u64>, default| given.and_then(|it| usize::try_from(it).ok()).unwrap_or(default);
        guest::Limits {
            time: self.time.unwrap_or(default.time),
            memory_bytes: size(self.memory_bytes, default.memory_bytes),
            output_bytes: size(self.output_bytes, default.output_bytes),
            changes: size(self.changes, default.changes),
        }
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
