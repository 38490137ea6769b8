//! Questions to the wire and what came back.

use std::{fmt, net::IpAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Device, Mac};

/// What a probe asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProbeKind {
    /// Does another host use this address?
    Address,
    /// Does this gateway answer?
    Gateway,
}

/// What a finding leads to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFinding {
    /// A bad finding fails the ADD.
    #[default]
    Refuse,
    /// A bad finding is a warning.
    Warn,
    /// A later stage decides.
    Report,
}

/// One question, asked on one interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Probe {
    /// What is asked.
    pub kind: ProbeKind,
    /// Where it is asked.
    pub device: Device,
    /// The address in question.
    #[schemars(with = "String")]
    pub target: IpAddr,
    /// How often it is asked.
    pub retries: u32,
    /// Milliseconds between two questions.
    pub interval_ms: u32,
    /// Milliseconds to listen after the last one.
    pub timeout_ms: u32,
    /// What a bad answer leads to.
    pub on_finding: OnFinding,
}

/// What a probe learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Nobody else uses the address.
    Free,
    /// Another host uses the address.
    Conflict,
    /// The gateway answered.
    Answered,
    /// The gateway did not answer.
    Silent,
}

impl Outcome {
    /// True when it is what nobody hopes for: a conflict, or silence.
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Conflict | Self::Silent)
    }
}

/// The answer to a probe.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// What was asked.
    pub probe: Probe,
    /// What was learned.
    pub outcome: Outcome,
    /// Who answered.
    pub mac: Option<Mac>,
}

impl Finding {
    /// True when it answers this question, whatever is to follow from the answer.
    pub fn answers(&self, probe: &Probe) -> bool {
        let asked = &self.probe;
        (asked.kind, &asked.device, asked.target) == (probe.kind, &probe.device, probe.target)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Probe { device, target, retries, interval_ms, timeout_ms, .. } = &self.probe;
        let name = &device.name;
        match (self.outcome, self.mac) {
            (Outcome::Free, _) => write!(f, "address {target} on {name} is free"),
            (Outcome::Conflict, Some(mac)) => {
                write!(f, "address {target} on {name} is used by another host, MAC {mac}")
            }
            (Outcome::Conflict, None) => {
                write!(f, "address {target} on {name} is used by another host: duplicate address detection has failed")
            }
            (Outcome::Answered, Some(mac)) => write!(f, "gateway {target} answers on {name}, MAC {mac}"),
            (Outcome::Answered, None) => write!(f, "gateway {target} answers on {name}"),
            (Outcome::Silent, _) => write!(
                f,
                "gateway {target} does not answer on {name}: it was asked {retries} times, {interval_ms} ms apart, and \
                 given {timeout_ms} ms"
            ),
        }
    }
}
