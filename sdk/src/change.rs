//! What a stage may propose: declarative edits of the model, each with its reason.

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Device, Mac, Neighbour, Probe, ReplyMark, Route, Rule, Setting, Sysctl};

/// A veth pair that joins Pod and node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VethPair {
    /// The name in the Pod.
    pub pod: String,
    /// The name on the node.
    pub node: String,
    /// The Pod's end; set explicitly, since systemd would otherwise choose one.
    pub pod_mac: Mac,
    /// The node's end.
    pub node_mac: Mac,
    /// Bytes, of both ends.
    pub mtu: u32,
}

/// New values for a link; absent = unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LinkEdit {
    /// The link.
    pub device: Device,
    /// Administrative state.
    pub up: Option<bool>,
    /// Hardware address.
    pub mac: Option<Mac>,
    /// Bytes.
    pub mtu: Option<u32>,
    /// Packets.
    pub transmit_queue: Option<u32>,
}

impl LinkEdit {
    /// An edit that changes nothing yet.
    pub fn of(device: Device) -> Self {
        Self { device, up: None, mac: None, mtu: None, transmit_queue: None }
    }
}

/// An address to add to or remove from a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AddressEdit {
    /// The link.
    pub device: Device,
    /// Address and prefix length.
    #[schemars(with = "String")]
    pub prefix: IpNet,
}

/// An observed route that goes to another table with all its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteMove {
    /// The route's id in the facts.
    pub id: u32,
    /// The table it goes to.
    pub table: u32,
}

/// One declarative edit of the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Makes a veth pair.
    CreateVeth(VethPair),
    /// Removes a link.
    DeleteLink(Device),
    /// Alters a link.
    SetLink(LinkEdit),
    /// Adds an address.
    AddAddress(AddressEdit),
    /// Removes an address.
    RemoveAddress(AddressEdit),
    /// Adds a route.
    AddRoute(Route),
    /// Moves an observed route to another table.
    MoveRoute(RouteMove),
    /// Removes an observed route, by id.
    RemoveRoute(u32),
    /// Adds a rule.
    AddRule(Rule),
    /// Removes a rule.
    RemoveRule(Rule),
    /// Adds a permanent neighbour.
    AddNeighbour(Neighbour),
    /// Removes a permanent neighbour.
    RemoveNeighbour(Neighbour),
    /// Sets a kernel parameter.
    SetSysctl(Sysctl),
    /// Marks the replies to what came in by a link.
    MarkReplies(ReplyMark),
    /// Steers later stages: sets a setting. The kernel never sees it.
    SetSetting(Setting),
    /// Asks the wire, or alters what is asked. The kernel never sees it.
    SetProbe(Probe),
}

impl Change {
    /// The grant that a guest needs to propose this: `pod.route`, `node.link`, `setting.podMACPrefix` …
    pub fn grant(&self) -> String {
        let (side, kind) = match self {
            Self::CreateVeth(_) => return "veth".to_owned(),
            Self::DeleteLink(device) => (device.side, "link"),
            Self::SetLink(edit) => (edit.device.side, "link"),
            Self::AddAddress(edit) | Self::RemoveAddress(edit) => (edit.device.side, "address"),
            Self::AddRoute(route) => (route.side, "route"),
            Self::MoveRoute(_) | Self::RemoveRoute(_) => return "pod.route".to_owned(),
            Self::AddRule(rule) | Self::RemoveRule(rule) => (rule.side, "rule"),
            Self::AddNeighbour(entry) | Self::RemoveNeighbour(entry) => (entry.device.side, "neighbour"),
            Self::SetSysctl(sysctl) => (sysctl.side, "sysctl"),
            Self::MarkReplies(mark) => (mark.device.side, "mark"),
            Self::SetSetting(setting) => return format!("setting.{}", setting.name),
            Self::SetProbe(probe) => {
                return format!(
                    "probe.{}",
                    if probe.kind == crate::ProbeKind::Address { "address" } else { "gateway" }
                );
            }
        };
        format!("{side}.{kind}")
    }
}

/// A change and why a stage asks for it, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Proposal {
    /// What.
    pub change: Change,
    /// Why.
    pub why: String,
}

/// What a stage says: its proposals, in the order in which they build on each other, and warnings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    /// The edits.
    pub proposals: Vec<Proposal>,
    /// What a person should know, though nothing is refused.
    pub warnings: Vec<String>,
}

impl Decision {
    /// Adds a proposal.
    #[must_use]
    pub fn propose(mut self, change: Change, why: impl Into<String>) -> Self {
        self.push(change, why);
        self
    }

    /// Adds a proposal in place.
    pub fn push(&mut self, change: Change, why: impl Into<String>) {
        self.proposals.push(Proposal { change, why: why.into() });
    }

    /// Adds a warning in place.
    pub fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }
}

/// A stage's reasoned "no": the ADD fails and nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// Why, with names and values.
    pub reason: String,
    /// What to try.
    pub hint: Option<String>,
    /// The same call may succeed later.
    pub retry: bool,
}

impl Refusal {
    /// A refusal that a retry will not heal.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), hint: None, retry: false }
    }

    /// Adds what to try.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
