//! The state of both namespaces as a value: what was observed, or what is wanted.
//!
//! There is one model. It is read from the kernel, edited by projection, written to records and
//! compared by [`diff`](crate::diff); no other representation of kernel state exists.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Address, Device, KnownRoute, KnownRule, Link, LinkEdit, Neighbour, PROTOCOL, ReplyMark, Route, Rule, Side, Sysctl,
    is_default,
};

/// Kernel objects of Pod and node, each kind a list in the kernel's order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Model {
    /// Links.
    #[serde(skip_serializing_if = "is_default")]
    pub links: Vec<Link>,
    /// Addresses of links.
    #[serde(skip_serializing_if = "is_default")]
    pub addresses: Vec<Address>,
    /// Routes, without those of table `local`.
    #[serde(skip_serializing_if = "is_default")]
    pub routes: Vec<KnownRoute>,
    /// Policy rules.
    #[serde(skip_serializing_if = "is_default")]
    pub rules: Vec<KnownRule>,
    /// Permanent neighbours.
    #[serde(skip_serializing_if = "is_default")]
    pub neighbours: Vec<Neighbour>,
    /// Kernel parameters that were read or are set.
    #[serde(skip_serializing_if = "is_default")]
    pub sysctls: Vec<Sysctl>,
    /// Links whose incoming connections mark their replies.
    #[serde(skip_serializing_if = "is_default")]
    pub marks: Vec<ReplyMark>,
}

impl Model {
    /// The link called so.
    pub fn link(&self, device: &Device) -> Option<&Link> {
        self.links.iter().find(|link| link.device == *device)
    }

    /// The link called so, to edit.
    pub(crate) fn link_mut(&mut self, device: &Device) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.device == *device)
    }

    /// The addresses of a link.
    pub fn addresses_of<'m>(&'m self, device: &'m Device) -> impl Iterator<Item = &'m Address> {
        self.addresses.iter().filter(move |address| address.device == *device)
    }

    /// The route with this id.
    pub fn route(&self, id: u32) -> Option<&KnownRoute> {
        self.routes.iter().find(|known| known.route.side == Side::Pod && known.id == id)
    }

    /// The routes of a side.
    pub fn routes_of(&self, side: Side) -> impl Iterator<Item = &KnownRoute> {
        self.routes.iter().filter(move |known| known.route.side == side)
    }

    /// The value of a kernel parameter that was read.
    pub fn sysctl(&self, side: Side, key: &str) -> Option<&str> {
        self.sysctls.iter().find(|s| s.side == side && s.key == key).map(|s| s.value.as_str())
    }

    /// The hardware address that a permanent entry gives for `ip`.
    pub fn neighbour(&self, device: &Device, ip: IpAddr) -> Option<&Neighbour> {
        self.neighbours.iter().find(|entry| entry.device == *device && entry.ip == ip)
    }

    /// The address, when the link has it.
    pub fn address(&self, device: &Device, prefix: IpNet) -> Option<&Address> {
        self.addresses.iter().find(|address| address.prefix == prefix && address.device == *device)
    }

    /// True when another link of the Pod has an address in a subnet of this one's, other than the veth pair.
    pub fn shares_subnet(&self, device: &Device) -> bool {
        let subnets: Vec<IpNet> = self
            .addresses_of(device)
            .filter(|address| address.is_in_subnet())
            .map(|address| address.prefix.trunc())
            .collect();
        self.addresses.iter().any(|other| {
            other.device.side == device.side
                && other.is_in_subnet()
                && subnets.contains(&other.prefix.trunc())
                && other.device != *device
                && self.link(&other.device).is_some_and(|link| !link.flags.ours)
        })
    }

    /// Gives each link of the Pod the table that a source rule of ours names for one of its addresses.
    pub fn number_tables(&mut self) {
        for link in self.links.iter_mut().filter(|link| link.device.side == Side::Pod) {
            let mut addresses = self.addresses.iter().filter(|address| address.device == link.device);
            let table = addresses.find_map(|address| {
                let from = Some(IpNet::from(address.ip()));
                let mut rules = self.rules.iter().filter(|known| known.protocol == PROTOCOL);
                // One with a destination as well is about a part of what the address sends.
                let is_whole = |rule: &Rule| rule.side == Side::Pod && rule.sources == from && rule.to.is_none();
                rules.find(|known| is_whole(&known.rule))
            });
            link.table = table.map(|known| known.rule.table).or(link.table);
        }
    }

    pub(crate) fn has_own_rule(&self, rule: &Rule) -> bool {
        self.rules.iter().any(|known| known.rule == *rule && known.protocol == PROTOCOL)
    }

    pub(crate) fn set_sysctl(&mut self, sysctl: Sysctl) {
        match self.sysctls.iter_mut().find(|s| s.side == sysctl.side && s.key == sysctl.key) {
            Some(known) => known.value = sysctl.value,
            None => self.sysctls.push(sysctl),
        }
    }

    pub(crate) fn set_neighbour(&mut self, entry: Neighbour) {
        match self.neighbours.iter_mut().find(|n| n.device == entry.device && n.ip == entry.ip) {
            Some(known) => known.mac = entry.mac,
            None => self.neighbours.push(entry),
        }
    }

    pub(crate) fn set_link(&mut self, edit: &LinkEdit) {
        if let Some(link) = self.link_mut(&edit.device) {
            link.flags.up = edit.up.unwrap_or(link.flags.up);
            link.mac = edit.mac.or(link.mac);
            link.mtu = edit.mtu.unwrap_or(link.mtu);
            link.transmit_queue = edit.transmit_queue.unwrap_or(link.transmit_queue);
        }
    }

    /// Adds a route of ours, in place of those with the same key that are ours too.
    ///
    /// In a table of the node ours is the only route to its destination: whatever stood there, with
    /// any metric, is a dead Pod's leftover.
    pub(crate) fn set_route(&mut self, route: Route) {
        let route = route.normal();
        let mut missing = route.siblings();
        let is_own = |known: &KnownRoute| known.protocol == PROTOCOL && known.route.has_key_of(&route);
        let is_leftover = |known: &KnownRoute| {
            route.side == Side::Node && (known.route.side, known.route.to) == (route.side, route.to)
        };
        let mut in_the_way = Vec::new();
        for (at, known) in self.routes.iter().enumerate().filter(|(_, known)| known.route.table == route.table) {
            let is_own = is_own(known);
            match missing.iter().position(|wanted| is_own && *wanted == known.route) {
                Some(standing) => _ = missing.remove(standing),
                None if is_own || is_leftover(known) => in_the_way.push(at),
                None => {}
            }
        }
        for at in in_the_way.into_iter().rev() {
            self.routes.remove(at);
        }
        let flags = crate::RouteFlags { ours: true, planned: true, ..Default::default() };
        for route in missing {
            let id = self.next_route_id();
            self.routes.push(KnownRoute { id, route, protocol: PROTOCOL, flags });
        }
    }

    /// Puts routes of ours where they were, in place of what has their keys.
    pub fn recall(&mut self, recorded: &[KnownRoute]) {
        let keys: BTreeSet<_> = recorded.iter().map(|known| known.route.key()).collect();
        let is_recorded = |known: &KnownRoute| recorded.iter().any(|other| other.same(known));
        self.routes
            .retain(|known| known.protocol != PROTOCOL || !keys.contains(&known.route.key()) || is_recorded(known));
        for route in recorded {
            if !self.routes.iter().any(|known| known.same(route)) {
                let id = self.next_route_id();
                self.routes.push(KnownRoute { id, ..route.clone() });
            }
        }
    }

    fn next_route_id(&self) -> u32 {
        self.routes.iter().map(|known| known.id).max().map_or(0, |id| id.saturating_add(1))
    }

    /// Removes a link and, as the kernel does, all that hangs on it; a veth takes its other end along.
    pub(crate) fn remove_link(&mut self, device: &Device) {
        let peer = self.link(device).and_then(|link| link.peer.clone()).map(Device::node);
        let gone = |other: &Device| other == device || Some(other) == peer.as_ref();
        let gone_by = |side: Side, name: &Option<String>| {
            name.as_ref().is_some_and(|name| gone(&Device { side, name: name.clone() }))
        };
        self.links.retain(|link| !gone(&link.device));
        self.links
            .retain(|link| !(link.kind == "veth" && link.device.side == Side::Pod && gone_by(Side::Node, &link.peer)));
        self.addresses.retain(|address| !gone(&address.device));
        self.neighbours.retain(|entry| !gone(&entry.device));
        self.routes.retain(|known| !known.route.next_hops.iter().any(|hop| gone_by(known.route.side, &hop.device)));
        self.sysctls
            .retain(|sysctl| !(gone(&Device { side: sysctl.side, name: interface_of(&sysctl.key).to_owned() })));
        self.marks.retain(|mark| !gone(&mark.device));
    }
}

/// The interface in a key such as `net/ipv4/conf/<interface>/rp_filter`, or nothing.
pub(crate) fn interface_of(key: &str) -> &str {
    let mut parts = key.split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("net"), Some(_), Some("conf" | "neigh"), Some(name)) => name,
        _ => "",
    }
}
