//! What SpiderCoordinator's status says: the last known good prefixes, and whether they are still true.
//!
//! A prefix once found stays until another answer takes its place; "nobody says it any more" is no answer. What
//! is wrong meanwhile is said by the phase, in `reason` for people and in conditions for programs.

use serde::{Deserialize, Serialize};

use super::Answer;

/// The status subresource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// `Synced` or `NotReady`; empty before the first answer.
    pub phase: String,
    /// Why it is not ready, in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The overlay Pods' prefixes; absent when they never were known.
    #[serde(rename = "overlayPodCIDR", skip_serializing_if = "Option::is_none")]
    pub overlay_pod_cidr: Option<Vec<String>>,
    /// The services' prefixes; absent when they never were known.
    #[serde(rename = "serviceCIDR", skip_serializing_if = "Option::is_none")]
    pub service_cidr: Option<Vec<String>>,
    /// Each part of the phase on its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// A condition as the API's conventions want it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True` or `False`.
    pub status: String,
    /// One word for programs.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// When `status` changed last, RFC 3339.
    pub last_transition_time: String,
    /// The spec that it is about.
    pub observed_generation: i64,
}

/// All that a status is made from.
#[derive(Debug, Clone)]
pub struct Situation<'a> {
    /// The status as it stands.
    pub previous: &'a Status,
    /// The spec's generation.
    pub generation: i64,
    /// Wrong values of the spec.
    pub problems: &'a [String],
    /// What is found for overlayPodCIDR.
    pub overlay: &'a Answer,
    /// What is found for serviceCIDR.
    pub service: &'a Answer,
    /// Sources that cannot be watched, each with why.
    pub troubles: &'a [String],
    /// True when a source that is waited for has had its time.
    pub is_overdue: bool,
    /// Now, RFC 3339.
    pub now: &'a str,
}

/// The outcome of one question: its condition's status, reason and message.
struct Verdict {
    holds: bool,
    reason: &'static str,
    message: String,
}

impl Verdict {
    fn of(answer: &Answer) -> Self {
        match answer {
            Answer::Found { origin, .. } => Self { holds: true, reason: "Found", message: format!("from {origin}") },
            Answer::Waiting(what) => Self { holds: false, reason: "Waiting", message: what.clone() },
            Answer::Unknown(why) => Self { holds: false, reason: "Unknown", message: why.clone() },
        }
    }
}

impl Status {
    /// The phase of a status that is true and complete.
    pub const SYNCED: &'static str = "Synced";
    /// The phase of every other one.
    pub const NOT_READY: &'static str = "NotReady";

    /// What the status should say; nothing while a source is still waited for.
    pub fn next(situation: &Situation<'_>) -> Option<Self> {
        let is_waiting = |answer: &Answer| matches!(answer, Answer::Waiting(_));
        if (is_waiting(situation.overlay) || is_waiting(situation.service)) && !situation.is_overdue {
            return None;
        }
        let list = |entries: &[String], good: &'static str, bad: &'static str, well: &str| match entries {
            [] => Verdict { holds: true, reason: good, message: well.to_owned() },
            entries => Verdict { holds: false, reason: bad, message: entries.join("; ") },
        };
        let verdicts = [
            ("SpecValid", list(situation.problems, "Valid", "WrongValues", "the plugin takes every value")),
            ("ServiceCIDRKnown", Verdict::of(situation.service)),
            ("OverlayPodCIDRKnown", Verdict::of(situation.overlay)),
            ("SourcesWatched", list(situation.troubles, "Watched", "Unreadable", "every source can be read")),
        ];
        let reason = verdicts.iter().find(|(_, verdict)| !verdict.holds);
        let reason = reason.map(|(kind, verdict)| format!("{kind}: {}", verdict.message)).unwrap_or_default();
        let phase = if reason.is_empty() { Self::SYNCED } else { Self::NOT_READY };
        let condition = |(kind, verdict): (&str, Verdict)| Self::condition(situation, kind, verdict);
        let previous = situation.previous;
        Some(Self {
            phase: phase.to_owned(),
            reason,
            overlay_pod_cidr: kept(situation.overlay, previous.overlay_pod_cidr.as_ref()),
            service_cidr: kept(situation.service, previous.service_cidr.as_ref()),
            conditions: verdicts.into_iter().map(condition).collect(),
        })
    }

    fn condition(situation: &Situation<'_>, kind: &str, verdict: Verdict) -> Condition {
        let status = if verdict.holds { "True" } else { "False" };
        let known = situation.previous.conditions.iter().find(|known| known.kind == kind && known.status == status);
        Condition {
            kind: kind.to_owned(),
            status: status.to_owned(),
            reason: verdict.reason.to_owned(),
            message: verdict.message,
            last_transition_time: known.map_or_else(|| situation.now.to_owned(), |it| it.last_transition_time.clone()),
            observed_generation: situation.generation,
        }
    }

    /// A sentence when it says something else than before to a person; what an Event says.
    pub fn turned_from(&self, previous: &Self) -> Option<String> {
        let said = |status: &Self| {
            let Self { phase, reason, overlay_pod_cidr, service_cidr, .. } = status.clone();
            (phase, reason, overlay_pod_cidr, service_cidr)
        };
        if said(self) == said(previous) {
            return None;
        }
        if self.phase != Self::SYNCED {
            return Some(format!("{}; nodes keep the defaults that they have", self.reason));
        }
        let list = |prefixes: &Option<Vec<String>>| match prefixes.as_deref() {
            None | Some([]) => "none".to_owned(),
            Some(prefixes) => prefixes.join(", "),
        };
        Some(format!("overlayPodCIDR {}; serviceCIDR {}", list(&self.overlay_pod_cidr), list(&self.service_cidr)))
    }
}

/// The answer's prefixes, or else the last known good ones.
fn kept(answer: &Answer, previous: Option<&Vec<String>>) -> Option<Vec<String>> {
    match answer {
        Answer::Found { prefixes, .. } => Some(prefixes.iter().map(ToString::to_string).collect()),
        Answer::Waiting(_) | Answer::Unknown(_) => previous.cloned(),
    }
}
