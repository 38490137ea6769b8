//! Questions to the wire and what came back.

use std::net::IpAddr;

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
