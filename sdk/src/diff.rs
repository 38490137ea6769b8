//! The one difference: what must be done to bring one model to another, in kernel order.
//!
//! Adding, planning, undoing, checking and deleting are all `diff` with other arguments. Each
//! [`Edit`] holds what it expects to find, so that apply can notice when the kernel moved on.

mod routes;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Address, Device, Key, KnownRoute, LinkEdit, Mac, Model, Neighbour, PROTOCOL, ReplyMark, Rule, Side, Sysctl,
    VethPair, model::interface_of,
};

/// One step for the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Edit {
    /// Takes away a reply mark.
    UnmarkReplies(ReplyMark),
    /// Takes away a rule of ours.
    RemoveRule(Rule),
    /// Takes away a route; it is observed as this.
    RemoveRoute(KnownRoute),
    /// Takes away a permanent neighbour.
    RemoveNeighbour(Neighbour),
    /// Takes away an address.
    RemoveAddress(Address),
    /// Takes away a link, and with it everything on it.
    DeleteLink {
        /// The link.
        device: Device,
        /// The ifalias by which it is known for ours.
        alias: Option<String>,
        /// Its derived hardware address: what marks it before it has its ifalias.
        mac: Option<Mac>,
    },
    /// Makes both ends of a veth pair, up, with this ifalias.
    CreateVeth {
        /// The pair.
        pair: VethPair,
        /// The ifalias of both ends.
        alias: String,
    },
    /// Alters a link: only the fields that differ are set.
    SetLink {
        /// The values now.
        before: LinkEdit,
        /// The values wanted.
        after: LinkEdit,
    },
    /// Sets a kernel parameter.
    SetSysctl {
        /// The parameter with the wanted value.
        sysctl: Sysctl,
        /// The value now, where it was read.
        before: Option<String>,
    },
    /// Adds an address.
    AddAddress(Address),
    /// Adds a permanent neighbour.
    AddNeighbour {
        /// The wanted entry.
        entry: Neighbour,
        /// The permanent entry it takes the place of.
        before: Option<Neighbour>,
    },
    /// Adds a route.
    AddRoute(KnownRoute),
    /// Takes an observed route to another table, with all its attributes.
    MoveRoute {
        /// The route as observed.
        route: KnownRoute,
        /// The table it goes to.
        table: u32,
        /// Whose it is there (`rtm_protocol`): ours, or its maker's when it returns.
        protocol: u8,
    },
    /// Adds a rule.
    AddRule(Rule),
    /// Marks replies.
    MarkReplies(ReplyMark),
}

impl Edit {
    /// The side on which it is done.
    pub fn side(&self) -> Side {
        match self {
            Self::UnmarkReplies(mark) | Self::MarkReplies(mark) => mark.device.side,
            Self::RemoveRule(rule) | Self::AddRule(rule) => rule.side,
            Self::RemoveRoute(known) | Self::AddRoute(known) | Self::MoveRoute { route: known, .. } => known.route.side,
            Self::RemoveNeighbour(entry) | Self::AddNeighbour { entry, .. } => entry.device.side,
            Self::RemoveAddress(address) | Self::AddAddress(address) => address.device.side,
            Self::DeleteLink { device, .. } => device.side,
            Self::CreateVeth { .. } => Side::Node,
            Self::SetLink { after, .. } => after.device.side,
            Self::SetSysctl { sysctl, .. } => sysctl.side,
        }
    }

    /// What it is about; for a move, where the route goes to.
    pub fn key(&self) -> Key {
        match self {
            Self::UnmarkReplies(mark) | Self::MarkReplies(mark) => Key::Mark(mark.device.clone()),
            Self::RemoveRule(rule) | Self::AddRule(rule) => Key::Rule(rule.clone()),
            Self::RemoveRoute(known) | Self::AddRoute(known) => Key::of_route(known),
            Self::MoveRoute { route, table, .. } => {
                let (side, _, to, metric) = route.route.key();
                Key::Route(side, *table, to, metric)
            }
            Self::RemoveNeighbour(entry) | Self::AddNeighbour { entry, .. } => {
                Key::Neighbour(entry.device.clone(), entry.ip)
            }
            Self::RemoveAddress(address) | Self::AddAddress(address) => {
                Key::Address(address.device.clone(), address.prefix)
            }
            Self::DeleteLink { device, .. } => Key::Link(device.clone()),
            Self::CreateVeth { pair, .. } => Key::Link(Device::pod(&pair.pod)),
            Self::SetLink { after, .. } => Key::Link(after.device.clone()),
            Self::SetSysctl { sysctl, .. } => Key::Sysctl(sysctl.side, sysctl.key.clone()),
        }
    }

    /// Kernel order: removals first, from rules down to links; then links, parameters, addresses,
    /// neighbours, routes, rules and marks. The veth pair needs the node, everything else is the
    /// Pod's first and the node's then, so that the side switches as rarely as it can.
    fn rank(&self) -> (u8, u8) {
        let node = u8::from(self.side() == Side::Node);
        match self {
            // Removal begins on the node: a Pod that has gone away must not stand in the way.
            Self::RemoveRule(_) => (1 - node, 0),
            Self::UnmarkReplies(_) => (1 - node, 1),
            // Nothing brings one back just as it was but the next advertisement: it goes when all else is done.
            Self::RemoveRoute(known) if known.flags.from_router_advertisement => (6, 0),
            Self::RemoveRoute(known) => (1 - node, 3 - u8::from(known.route.has_gateway())),
            Self::RemoveNeighbour(_) => (1 - node, 4),
            Self::RemoveAddress(_) => (1 - node, 5),
            Self::DeleteLink { .. } => (2, 0),
            Self::CreateVeth { .. } => (3, 0),
            Self::SetLink { .. } => (4 + node, 0),
            Self::SetSysctl { .. } => (4 + node, 1),
            Self::AddAddress(_) => (4 + node, 2),
            Self::AddNeighbour { .. } => (4 + node, 3),
            // A router is reached by a route without one.
            Self::AddRoute(known) | Self::MoveRoute { route: known, .. } => {
                (4 + node, 4 + u8::from(known.route.has_gateway()))
            }
            Self::AddRule(_) => (4 + node, 6),
            Self::MarkReplies(_) => (4 + node, 7),
        }
    }
}

/// What must be done to bring `before` to `after`, in kernel order.
///
/// Objects that hang on a deleted link are not named: the kernel removes them with it.
pub fn diff(before: &Model, after: &Model) -> Vec<Edit> {
    let mut edits = Vec::new();
    let deleted: Vec<&Device> =
        before.links.iter().map(|link| &link.device).filter(|device| after.link(device).is_none()).collect();
    let goes_away = |side: Side, name: &str| deleted.iter().any(|device| device.side == side && device.name == name);
    let emptied = emptied(before, after);
    let is_emptied = |side: Side, name: &str| emptied.iter().any(|it| it.side == side && it.name == name);

    link_edits(before, after, &mut edits);
    let is_like = |one: &Address, other: &Address| one.prefix == other.prefix && one.device == other.device;
    for (at, address) in before.addresses.iter().enumerate() {
        let stays = after.addresses.get(at).is_some_and(|it| is_like(it, address));
        if !stays
            && after.address(&address.device, address.prefix).is_none()
            && !goes_away(address.device.side, &address.device.name)
        {
            edits.push(Edit::RemoveAddress(address.clone()));
        }
    }
    for (at, address) in after.addresses.iter().enumerate() {
        let was = before.addresses.get(at).is_some_and(|it| is_like(it, address));
        let is_new = !was && before.address(&address.device, address.prefix).is_none();
        if is_new || goes_down(before, after, address) {
            edits.push(Edit::AddAddress(address.clone()));
        }
    }
    neighbour_edits(before, after, &goes_away, &is_emptied, &mut edits);
    routes::route_edits(before, after, &goes_away, &is_emptied, &mut edits);
    for known in &before.rules {
        if known.protocol == PROTOCOL && !after.has_own_rule(&known.rule) {
            edits.push(Edit::RemoveRule(known.rule.clone()));
        }
    }
    for known in &after.rules {
        if known.protocol == PROTOCOL && !before.has_own_rule(&known.rule) {
            edits.push(Edit::AddRule(known.rule.clone()));
        }
    }
    for (at, sysctl) in after.sysctls.iter().enumerate() {
        // Usually it stands where it stood.
        let is_it = |known: &&Sysctl| known.side == sysctl.side && known.key == sysctl.key;
        let here = before.sysctls.get(at).filter(is_it).map(|known| known.value.as_str());
        let now = here.or_else(|| before.sysctl(sysctl.side, &sysctl.key));
        if now != Some(&sysctl.value) && !goes_away(sysctl.side, interface_of(&sysctl.key)) {
            edits.push(Edit::SetSysctl { sysctl: sysctl.clone(), before: now.map(str::to_owned) });
        }
    }
    for mark in before.marks.iter().filter(|mark| !after.marks.contains(mark)) {
        edits.push(Edit::UnmarkReplies(mark.clone()));
    }
    for mark in after.marks.iter().filter(|mark| !before.marks.contains(mark)) {
        edits.push(Edit::MarkReplies(mark.clone()));
    }
    edits.sort_by_key(Edit::rank);
    edits
}

/// A link that goes down loses its IPv6 addresses (tried), also those that it had before it was raised.
fn goes_down(before: &Model, after: &Model, address: &Address) -> bool {
    let is_up = |model: &Model| model.link(&address.device).map(|link| link.flags.up);
    address.ip().is_ipv6() && is_up(before) == Some(true) && is_up(after) == Some(false)
}

fn link_edits(before: &Model, after: &Model, edits: &mut Vec<Edit>) {
    for link in &before.links {
        // A veth goes by its Pod end; the node end goes along.
        let goes_with_pod_end = before.links.iter().any(|other| {
            other.device.side == Side::Pod
                && link.device.side == Side::Node
                && other.peer.as_deref() == Some(&link.device.name)
                && after.link(&other.device).is_none()
        });
        if after.link(&link.device).is_none() && !goes_with_pod_end {
            let end = link.peer.clone().filter(|_| link.kind == "veth").map(Device::node);
            let device = end.unwrap_or_else(|| link.device.clone());
            let node_mac = before.link(&device).and_then(|link| link.mac);
            edits.push(Edit::DeleteLink { device, alias: link.alias.clone(), mac: node_mac });
        }
    }
    for link in &after.links {
        let Some(now) = before.link(&link.device) else {
            let other_end = link.peer.as_ref().and_then(|peer| after.link(&Device::node(peer)));
            if let (Side::Pod, Some(node), Some(pod_mac)) = (link.device.side, other_end, link.mac) {
                let pair = VethPair {
                    pod: link.device.name.clone(),
                    node: node.device.name.clone(),
                    pod_mac,
                    node_mac: node.mac.unwrap_or(pod_mac),
                    mtu: link.mtu,
                };
                if let Some(leftover) = before.link(&node.device) {
                    // The node end of a Pod that is gone makes room.
                    let (alias, mac) = (leftover.alias.clone(), leftover.mac);
                    edits.push(Edit::DeleteLink { device: node.device.clone(), alias, mac });
                }
                edits.push(Edit::CreateVeth { pair, alias: link.alias.clone().unwrap_or_default() });
            }
            continue;
        };
        if is_made_anew(before, after, &link.device) {
            continue;
        }
        let mut old = LinkEdit::of(link.device.clone());
        let mut new = old.clone();
        if now.flags.up != link.flags.up {
            (old.up, new.up) = (Some(now.flags.up), Some(link.flags.up));
        }
        if now.mac != link.mac {
            (old.mac, new.mac) = (now.mac, link.mac);
        }
        if now.mtu != link.mtu {
            (old.mtu, new.mtu) = (Some(now.mtu), Some(link.mtu));
        }
        if now.transmit_queue != link.transmit_queue {
            (old.transmit_queue, new.transmit_queue) = (Some(now.transmit_queue), Some(link.transmit_queue));
        }
        if old != new {
            edits.push(Edit::SetLink { before: old, after: new });
        }
    }
}

/// The node end of a pair whose Pod end is new.
fn is_made_anew(before: &Model, after: &Model, device: &Device) -> bool {
    device.side == Side::Node
        && after.links.iter().any(|other| {
            other.peer.as_deref() == Some(&device.name)
                && other.device.side == Side::Pod
                && before.link(&other.device).is_none()
        })
}

fn neighbour_edits(
    before: &Model,
    after: &Model,
    goes_away: &impl Fn(Side, &str) -> bool,
    is_emptied: &impl Fn(Side, &str) -> bool,
    edits: &mut Vec<Edit>,
) {
    for entry in &before.neighbours {
        if after.neighbour(&entry.device, entry.ip).is_none() && !goes_away(entry.device.side, &entry.device.name) {
            edits.push(Edit::RemoveNeighbour(entry.clone()));
        }
    }
    for entry in &after.neighbours {
        let now = before.neighbour(&entry.device, entry.ip);
        // A change of a link's MAC flushes its neighbours, the permanent ones too (tried).
        let mac_changes = match (before.link(&entry.device), after.link(&entry.device)) {
            (Some(old), Some(new)) => old.mac != new.mac,
            _ => false,
        };
        let is_dropped = entry.ip.is_ipv4() && is_emptied(entry.device.side, &entry.device.name);
        if now != Some(entry) || mac_changes || is_dropped {
            edits.push(Edit::AddNeighbour { entry: entry.clone(), before: now.cloned() });
        }
    }
}

/// Links that lose their last IPv4 address: the kernel drops their IPv4 routes and neighbours with it (tried).
fn emptied<'m>(before: &'m Model, after: &Model) -> Vec<&'m Device> {
    let speaks_v4 = |device: &Device| after.addresses_of(device).any(|address| address.ip().is_ipv4());
    let mut devices: Vec<&Device> =
        before.addresses.iter().filter(|address| address.ip().is_ipv4()).map(|address| &address.device).collect();
    devices.dedup();
    devices.retain(|device| !speaks_v4(device));
    devices
}

/// An edit with the stage that asked for it, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedEdit {
    /// What is done.
    pub edit: Edit,
    /// Who asked.
    pub stage: String,
    /// Why.
    pub why: String,
}

/// A difference in kernel order, each entry with its reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// The steps.
    pub edits: Vec<PlannedEdit>,
}

impl fmt::Display for Plan {
    /// A line for each edit: stage, edit, reason.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for PlannedEdit { edit, stage, why } in &self.edits {
            writeln!(f, "{stage}: {edit}, because {why}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnmarkReplies(mark) => write!(f, "unmark replies to what came in by {}", mark.device),
            Self::RemoveRule(rule) => write!(f, "remove {} rule {rule}", rule.side),
            Self::RemoveRoute(known) => write!(f, "remove {} route {}", known.route.side, known.route),
            Self::RemoveNeighbour(entry) => write!(f, "remove neighbour {} from {}", entry.ip, entry.device),
            Self::RemoveAddress(address) => write!(f, "remove address {} from {}", address.prefix, address.device),
            Self::DeleteLink { device, .. } => write!(f, "delete link {device}"),
            Self::CreateVeth { pair, .. } => write!(
                f,
                "create veth pair pod/{} ({}) and node/{} ({}), mtu {}",
                pair.pod, pair.pod_mac, pair.node, pair.node_mac, pair.mtu
            ),
            Self::SetLink { after, .. } => {
                write!(f, "set link {}", after.device)?;
                if let Some(up) = after.up {
                    f.write_str(if up { " up" } else { " down" })?;
                }
                if let Some(mac) = after.mac {
                    write!(f, " mac {mac}")?;
                }
                if let Some(mtu) = after.mtu {
                    write!(f, " mtu {mtu}")?;
                }
                if let Some(length) = after.transmit_queue {
                    write!(f, " transmit queue {length}")?;
                }
                Ok(())
            }
            Self::SetSysctl { sysctl, .. } => write!(f, "set {} sysctl {} = {}", sysctl.side, sysctl.key, sysctl.value),
            Self::AddAddress(address) => write!(f, "add address {} to {}", address.prefix, address.device),
            Self::AddNeighbour { entry, .. } => {
                write!(f, "add neighbour {} ({}) on {}", entry.ip, entry.mac, entry.device)
            }
            Self::AddRoute(known) => write!(f, "add {} route {}", known.route.side, known.route),
            Self::MoveRoute { route, table, .. } => {
                write!(f, "move {} route {} to table {table}", route.route.side, route.route)
            }
            Self::AddRule(rule) => write!(f, "add {} rule {rule}", rule.side),
            Self::MarkReplies(mark) => {
                write!(f, "mark replies to what came in by {} with bit {}", mark.device, mark.bit)
            }
        }
    }
}
