//! The checker of proposals: what may be asked for an attachment by somebody who is not to be trusted.
//!
//! A guest's decision passes it before it is projected. It knows no guest: it looks at a change, at the facts, and at
//! what a pipeline grants. What it lets pass concerns this attachment's links, tables and priorities and nothing else.

mod link;
mod route;
mod text;

use std::net::IpAddr;

use coordinator_sdk::{Change, Device, Facts, Mac, Mode, POD_VETH, Probe, ProbeKind, Refusal, Setting, Side};
use coordinator_stages::decide::node_veth_name;

pub use text::{MOST_WARNINGS, TEXT_BYTES};

/// A proposal that must not be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("proposal {at} ({what}) {problem}")]
pub struct WrongProposal {
    /// Its place in the decision, from 0.
    pub at: usize,
    /// Its kind, as a grant is called.
    pub what: String,
    /// What is wrong with it.
    pub problem: Problem,
}

impl WrongProposal {
    /// What to do about it.
    pub fn remedy(&self, stage: &str) -> String {
        match &self.problem {
            Problem::NotGranted => {
                format!("if stage {stage} is to do that, add {:?} to its grant in the pipeline", self.what)
            }
            _ => format!(
                "stage {stage} asks for what no stage may: report it to who made it, with the facts of this Pod"
            ),
        }
    }
}

/// What is wrong with a proposal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The pipeline does not grant its kind.
    #[error("is not granted")]
    NotGranted,
    /// It is about a link of somebody else.
    #[error("is about link {0}, which is not this attachment's")]
    Link(Device),
    /// It is about a table that is not ours to fill or to look up.
    #[error("is about table {table}: {reason}")]
    Table {
        /// The table.
        table: u32,
        /// Which ones may be named.
        reason: &'static str,
    },
    /// A rule stands where ours do not.
    #[error("has priority {priority}, which is not from {first} to {last}")]
    Priority {
        /// The priority.
        priority: u32,
        /// The first that may be used.
        first: u32,
        /// The last.
        last: u32,
    },
    /// A hardware address cannot be an interface's own.
    #[error("has MAC {0}, which is not a unicast address")]
    Mac(Mac),
    /// An address cannot be what it is to be.
    #[error("names address {ip}: {reason}")]
    Address {
        /// The address.
        ip: IpAddr,
        /// Why not.
        reason: &'static str,
    },
    /// A number is out of its range.
    #[error("has {name} {value}, which is not from {least} to {most}")]
    Number {
        /// What it is.
        name: &'static str,
        /// The number.
        value: u64,
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// A text cannot be what it is to be.
    #[error("has {name} {value:?}: {reason}")]
    Text {
        /// What it is.
        name: &'static str,
        /// The text, cut.
        value: String,
        /// Why not.
        reason: &'static str,
    },
    /// It names a route that was not observed.
    #[error("names route {0}, which is not in the facts")]
    NoRoute(u32),
}

/// What may be proposed for one attachment.
#[derive(Debug)]
pub struct Checker<'f> {
    facts: &'f Facts,
    grants: &'f [String],
    node_veth: String,
}

impl<'f> Checker<'f> {
    /// For these facts, with these grants, such as `pod.route`.
    pub fn new(facts: &'f Facts, grants: &'f [String]) -> Self {
        Self { facts, grants, node_veth: node_veth_name(&facts.request.container) }
    }

    /// Checks one change; `at` is its place among others.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, at: usize, change: &Change) -> Result<(), WrongProposal> {
        let what = change.grant();
        let checked = if self.grants.contains(&what) { self.sound(change) } else { Err(Problem::NotGranted) };
        checked.map_err(|problem| WrongProposal { at, what: text::shown(&what), problem })
    }

    fn sound(&self, change: &Change) -> Result<(), Problem> {
        match change {
            Change::CreateVeth(pair) => self.veth(pair),
            Change::DeleteLink(device) => self.made_link(device),
            Change::SetLink(edit) => self.link_edit(edit),
            Change::AddAddress(edit) | Change::RemoveAddress(edit) => self.address(edit),
            Change::AddRoute(route) => self.route(route),
            Change::MoveRoute(to) => {
                self.observed_route(to.id)?;
                self.pod_table(to.table)
            }
            Change::RemoveRoute(id) => self.observed_route(*id),
            Change::AddRule(rule) | Change::RemoveRule(rule) => self.rule(rule),
            Change::AddNeighbour(entry) | Change::RemoveNeighbour(entry) => self.neighbour(entry),
            Change::SetSysctl(sysctl) => self.sysctl(sysctl),
            Change::MarkReplies(mark) => {
                self.own_link(&mark.device)?;
                number("bit", u64::from(mark.bit), 0, 31)?;
                self.pod_table(mark.table)
            }
            Change::SetSetting(setting) => Self::setting(setting),
            Change::SetProbe(probe) => self.probe(probe),
        }
    }

    /// The links of this attachment: the attached interface, the veth pair, and an overlay Pod's first interface.
    fn is_own(&self, device: &Device) -> bool {
        let name = device.name.as_str();
        let first = self.facts.settings.pod_default_cni_nic.as_str();
        match device.side {
            Side::Pod => {
                name == self.facts.request.interface.as_str()
                    || name == POD_VETH
                    || self.facts.mode() == Mode::Overlay && name == first
            }
            Side::Node => name == self.node_veth,
        }
    }

    fn own_link(&self, device: &Device) -> Result<(), Problem> {
        if self.is_own(device) { Ok(()) } else { Err(Problem::Link(text::shown_device(device))) }
    }

    /// Settings steer the built-in stages, and each is granted by its name; where the plugin logs, and what it runs, is
    /// nobody's to steer.
    fn setting(setting: &Setting) -> Result<(), Problem> {
        match setting.name.as_str() {
            "pipeline" | "logOptions" => {
                Err(Problem::Text { name: "setting", value: setting.name.clone(), reason: "no stage can set it" })
            }
            _ => text::bounded("value", &setting.value.to_string(), 64 << 10),
        }
    }

    fn probe(&self, probe: &Probe) -> Result<(), Problem> {
        self.own_link(&probe.device)?;
        number("retries", u64::from(probe.retries), 1, 100)?;
        number("interval_ms", u64::from(probe.interval_ms), 0, 10_000)?;
        number("timeout_ms", u64::from(probe.timeout_ms), 0, 10_000)?;
        let is_attached = self.facts.attached_addresses().iter().any(|address| address.ip() == probe.target);
        match probe.kind {
            ProbeKind::Address if !is_attached => {
                Err(Problem::Address { ip: probe.target, reason: "it is not the attached interface's" })
            }
            _ => unicast(probe.target),
        }
    }
}

/// The texts of a decision beside its changes: reasons and warnings, each made fit for a plan and a log.
///
/// They are cut and cleaned instead of refused: no text endangers a Pod.
pub fn clean(decision: &mut coordinator_sdk::Decision) {
    for proposal in &mut decision.proposals {
        proposal.why = text::cleaned(&proposal.why);
    }
    decision.warnings.truncate(MOST_WARNINGS);
    for warning in &mut decision.warnings {
        *warning = text::cleaned(warning);
    }
}

/// The texts of a refusal, likewise.
pub fn clean_refusal(refusal: &mut Refusal) {
    refusal.reason = text::cleaned(&refusal.reason);
    refusal.hint = refusal.hint.as_deref().map(text::cleaned);
}

fn number(name: &'static str, value: u64, least: u64, most: u64) -> Result<(), Problem> {
    if (least..=most).contains(&value) { Ok(()) } else { Err(Problem::Number { name, value, least, most }) }
}

fn unicast(ip: IpAddr) -> Result<(), Problem> {
    let is_broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    let reason = match ip {
        ip if ip.is_multicast() => "it is a multicast address",
        ip if ip.is_unspecified() => "it is no host's address",
        ip if ip.is_loopback() => "it is a loopback address",
        _ if is_broadcast => "it is the broadcast address",
        _ => return Ok(()),
    };
    Err(Problem::Address { ip, reason })
}

#[cfg(test)]
mod tests;
