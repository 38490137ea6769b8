//! Whether packets come back the way they went: for each local address and each kind of destination, what the kernel
//! itself says on both sides.
//!
//! Nothing is sent. The kernel's forwarding tables of Pod and node are asked for the way out and the way back, with
//! source, mark and incoming interface, so that rules, tables and reverse path filters decide as they do for a real
//! packet. What a network between other hosts does is not seen: a reply is expected on the interface that bears the
//! address, or by way of the node where the node was asked.

mod ask;
mod survey;
mod target;
mod trace;

use std::{fmt, net::IpAddr};

use coordinator_sdk::Rule;
use coordinator_stages::kernel::namespace::Namespace;

use crate::{attachment::AttachmentError, record::Record};

pub use target::Class;

/// What is asked.
#[derive(Debug)]
pub struct Inquiry<'q> {
    /// The Pod's namespace.
    pub namespace: &'q Namespace,
    /// The records of its attachments.
    pub records: &'q [Record],
    /// Only this destination.
    pub to: Option<IpAddr>,
    /// Only this local address.
    pub from: Option<IpAddr>,
}

/// Who begins the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// The Pod.
    Outbound,
    /// The other side; the request comes in by the path's interface.
    Inbound,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Outbound { "outbound" } else { "inbound" })
    }
}

/// A step of a packet: where it leaves, and what decided it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// The side that decided.
    pub side: coordinator_sdk::Side,
    /// The link by which the packet leaves.
    pub link: String,
    /// The router that it is sent to; absent when the destination is a neighbour.
    pub gateway: Option<IpAddr>,
    /// The table that decided.
    pub table: u32,
    /// The rule that led to the table; absent when only the kernel's own did.
    pub rule: Option<Rule>,
    /// The route that decided.
    pub route: String,
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {} ({} in table {}", self.side, self.link, self.route, self.table)?;
        match &self.rule {
            Some(rule) => write!(f, ", rule {rule})"),
            None => f.write_str(")"),
        }
    }
}

/// One conversation between a local address and a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// The Pod's address.
    pub local: IpAddr,
    /// The interface that the conversation should use both ways.
    pub interface: String,
    /// The other side.
    pub remote: IpAddr,
    /// What the other side is.
    pub class: Class,
    /// Who begins.
    pub direction: Direction,
    /// The way out of the Pod.
    pub out: Option<Hop>,
    /// The node's way back, where the node decides it.
    pub back: Option<Hop>,
    /// What is wrong; absent when packets come back the way they went.
    pub fault: Option<Fault>,
    /// Objects of ours that are not as they were made and that bear on this.
    pub drifts: Vec<String>,
}

impl Path {
    /// True when packets come back the way they went.
    pub fn is_symmetric(&self) -> bool {
        self.fault.is_none()
    }
}

/// Why packets do not come back the way they went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The interface has lost the address.
    AddressGone,
    /// An interface is down or gone.
    LinkDown(String),
    /// The Pod has no route.
    NoRoute(String),
    /// The packet leaves by another interface than the conversation's.
    WrongWay(Hop),
    /// The node sends to the Pod's address by another interface.
    NodeWrongWay(Hop),
    /// The node has no route to the Pod's address.
    NodeNoRoute(String),
    /// Replies to what came in from the node are not marked any more.
    MarkLost(Hop),
    /// The Pod's reverse path filter drops what comes in.
    ReverseFilter {
        /// The interface.
        link: String,
        /// The value in force.
        value: u8,
    },
    /// The node's reverse path filter drops what the Pod sends.
    NodeReverseFilter {
        /// The interface.
        link: String,
        /// The value in force.
        value: u8,
    },
    /// The node does not forward what the Pod sends.
    ForwardingOff(String),
    /// A permanent neighbour has the wrong hardware address, or none.
    Neighbour(String),
    /// Other interfaces may answer for the address on the wire.
    Answers(String),
    /// The kernel drops the packet and says no more.
    Refused(String),
}

impl Fault {
    /// A word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::AddressGone => "address-gone",
            Self::LinkDown(_) => "link-down",
            Self::NoRoute(_) => "no-route",
            Self::WrongWay(_) => "wrong-way",
            Self::NodeWrongWay(_) => "node-wrong-way",
            Self::NodeNoRoute(_) => "node-no-route",
            Self::MarkLost(_) => "mark-lost",
            Self::ReverseFilter { .. } => "reverse-filter",
            Self::NodeReverseFilter { .. } => "node-reverse-filter",
            Self::ForwardingOff(_) => "forwarding-off",
            Self::Neighbour(_) => "neighbour",
            Self::Answers(_) => "answers",
            Self::Refused(_) => "refused",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressGone => f.write_str("the address is not on its interface any more"),
            Self::LinkDown(link) => write!(f, "{link} is down or gone"),
            Self::NoRoute(said) => write!(f, "the pod has no route: {said}"),
            Self::WrongWay(hop) => write!(f, "it leaves the {hop}"),
            Self::NodeWrongWay(hop) => write!(f, "it comes back from the {hop}"),
            Self::NodeNoRoute(said) => write!(f, "the node has no way back: {said}"),
            Self::MarkLost(hop) => {
                write!(f, "replies are not marked, the table \"inet coordinator\" is not whole: it leaves the {hop}")
            }
            Self::ReverseFilter { link, value } => {
                write!(f, "the pod's rp_filter {value} on {link} drops what comes in")
            }
            Self::NodeReverseFilter { link, value } => {
                write!(f, "the node's rp_filter {value} on {link} drops what the pod sends")
            }
            Self::ForwardingOff(link) => write!(f, "forwarding is off on the node's {link}"),
            Self::Neighbour(what) => write!(f, "a permanent neighbour is wrong: {what}"),
            Self::Answers(what) => write!(f, "another interface may answer for the address: {what}"),
            Self::Refused(said) => write!(f, "the kernel drops it: {said}"),
        }
    }
}

/// Follows every path of a Pod.
///
/// # Errors
/// The kernel cannot be asked.
pub fn paths(inquiry: &Inquiry<'_>) -> Result<Vec<Path>, AttachmentError> {
    let mut survey = survey::survey(inquiry)?;
    trace::all(&mut survey, inquiry)
}
