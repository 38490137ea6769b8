//! What tells kernel objects apart, and the parts of a model that a set of keys selects.
//!
//! Attribution, claims, undo and drift reports all speak of objects by their key.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use ipnet::IpNet;

use crate::{
    Address, Device, KnownRoute, LinkEdit, Model, Neighbour, PROTOCOL, Rule, Side, Sysctl, TABLE_MAIN,
    model::interface_of,
};

/// The identity of a kernel object, without its state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A link.
    Link(Device),
    /// An address of a link.
    Address(Device, IpNet),
    /// A route by side, table, destination and effective metric.
    Route(Side, u32, IpNet, u32),
    /// A rule; it has no state beside its identity.
    Rule(Rule),
    /// A permanent neighbour of a link.
    Neighbour(Device, IpAddr),
    /// A kernel parameter.
    Sysctl(Side, String),
    /// The reply mark of a link.
    Mark(Device),
}

impl Key {
    /// The key of a route.
    pub fn of_route(known: &KnownRoute) -> Self {
        let (side, table, to, metric) = known.route.key();
        Self::Route(side, table, to, metric)
    }

    /// The namespace in which the object lives.
    pub fn side(&self) -> Side {
        match self {
            Self::Link(device) | Self::Address(device, _) | Self::Neighbour(device, _) | Self::Mark(device) => {
                device.side
            }
            Self::Route(side, ..) | Self::Sysctl(side, _) => *side,
            Self::Rule(rule) => rule.side,
        }
    }

    /// True for an object that attachments of several containers share: a rule of the node.
    pub fn is_shared_on_node(&self) -> bool {
        matches!(self, Self::Rule(rule) if rule.side == Side::Node)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(device) => write!(f, "link {device}"),
            Self::Address(device, prefix) => write!(f, "address {prefix} on {device}"),
            Self::Route(side, table, to, metric) => write!(f, "{side} route {to} metric {metric} in table {table}"),
            Self::Rule(rule) => write!(f, "{} rule {rule}", rule.side),
            Self::Neighbour(device, ip) => write!(f, "neighbour {ip} on {device}"),
            Self::Sysctl(side, key) => write!(f, "{side} sysctl {key}"),
            Self::Mark(device) => write!(f, "reply mark of {device}"),
        }
    }
}

impl Model {
    /// The keys of all objects that can be ours: links, addresses, neighbours, parameters and marks,
    /// and those routes and rules that carry our protocol number.
    pub fn own_keys(&self) -> BTreeSet<Key> {
        self.own().collect()
    }

    /// As [`Model::own_keys`], in no order, and a key as often as there are objects with it.
    pub fn own(&self) -> impl Iterator<Item = Key> {
        let links = self.links.iter().map(|link| Key::Link(link.device.clone()));
        let addresses = self.addresses.iter().map(|it| Key::Address(it.device.clone(), it.prefix));
        let routes = self.routes.iter().filter(|known| known.protocol == PROTOCOL).map(Key::of_route);
        let rules = self.rules.iter().filter(|known| known.protocol == PROTOCOL);
        let rules = rules.map(|known| Key::Rule(known.rule.clone()));
        let neighbours = self.neighbours.iter().map(|it| Key::Neighbour(it.device.clone(), it.ip));
        let sysctls = self.sysctls.iter().map(|it| Key::Sysctl(it.side, it.key.clone()));
        let marks = self.marks.iter().map(|mark| Key::Mark(mark.device.clone()));
        links.chain(addresses).chain(routes).chain(rules).chain(neighbours).chain(sysctls).chain(marks)
    }

    /// True when the key is among [`Model::own_keys`].
    pub fn has_own(&self, key: &Key) -> bool {
        match key {
            Key::Link(device) => self.link(device).is_some(),
            Key::Address(device, prefix) => self.address(device, *prefix).is_some(),
            Key::Route(side, table, to, metric) => self.routes.iter().any(|known| {
                let is_there = known.route.table == *table && known.protocol == PROTOCOL;
                is_there && known.route.key() == (*side, *table, *to, *metric)
            }),
            Key::Rule(rule) => self.has_own_rule(rule),
            Key::Neighbour(device, ip) => self.neighbour(device, *ip).is_some(),
            Key::Sysctl(side, name) => self.sysctl(*side, name).is_some(),
            Key::Mark(device) => self.marks.iter().any(|mark| mark.device == *device),
        }
    }

    /// The keys of our objects that serve one link alone: rules for what comes from its addresses, the routes of the
    /// tables that these name, routes that leave by it, and its parameters.
    pub fn keys_of_link(&self, link: &Device, addresses: &[IpAddr]) -> BTreeSet<Key> {
        let is_from = |rule: &Rule| {
            let from = rule.sources.filter(|prefix| prefix.prefix_len() == prefix.max_prefix_len());
            rule.side == link.side && from.is_some_and(|prefix| addresses.contains(&prefix.addr()))
        };
        let rules: Vec<&Rule> = self
            .rules
            .iter()
            .filter(|known| known.protocol == PROTOCOL && is_from(&known.rule))
            .map(|known| &known.rule)
            .collect();
        let serves = |known: &&KnownRoute| {
            let route = &known.route;
            let is_in_table = rules.iter().any(|rule| rule.table == route.table && rule.table != TABLE_MAIN);
            known.protocol == PROTOCOL && route.side == link.side && (is_in_table || route.leaves_only_by(&link.name))
        };
        let mut keys: BTreeSet<Key> = self.routes.iter().filter(serves).map(Key::of_route).collect();
        keys.extend(rules.iter().map(|rule| Key::Rule((*rule).clone())));
        let sysctls = self.sysctls.iter().filter(|sysctl| {
            sysctl.side == link.side && !link.name.is_empty() && interface_of(&sysctl.key) == link.name
        });
        keys.extend(sysctls.map(|sysctl| Key::Sysctl(sysctl.side, sysctl.key.clone())));
        keys
    }

    /// The objects with these keys and nothing else.
    #[must_use]
    pub fn restricted(&self, keys: &BTreeSet<Key>) -> Self {
        self.selected(&Selection::of(keys), true)
    }

    /// The objects with other keys.
    #[must_use]
    pub fn without(&self, keys: &BTreeSet<Key>) -> Self {
        self.selected(&Selection::of(keys), false)
    }

    /// The objects that `other` does not have just so; links stay.
    #[must_use]
    pub fn differing_from(&self, other: &Self) -> Self {
        let mut part = self.clone();
        part.addresses.retain(|address| other.address(&address.device, address.prefix).is_none());
        part.routes.retain(|known| !other.routes.iter().any(|theirs| theirs.same(known)));
        part.rules.retain(|known| !other.rules.contains(known));
        part.neighbours.retain(|entry| !other.neighbours.contains(entry));
        part.sysctls.retain(|sysctl| !other.sysctls.contains(sysctl));
        part.marks.retain(|mark| !other.marks.contains(mark));
        part
    }

    /// Takes in the objects of another model, which must have other keys.
    pub fn extend(&mut self, other: Self) {
        self.links.extend(other.links);
        self.addresses.extend(other.addresses);
        self.routes.extend(other.routes);
        self.rules.extend(other.rules);
        self.neighbours.extend(other.neighbours);
        self.sysctls.extend(other.sysctls);
        self.marks.extend(other.marks);
    }

    /// Brings the objects with these keys back to what `before` says of them.
    ///
    /// An object that `before` does not have goes, and with a link all that hangs on it; one that it
    /// has returns, unless its link goes. Parameters of which `before` knows nothing stay.
    pub fn restore(&mut self, before: &Self, keys: &BTreeSet<Key>) {
        let gone: Vec<Device> = self.links_gone(before, keys);
        for key in keys {
            match key {
                Key::Link(device) => match before.link(device) {
                    None => self.remove_link(device),
                    Some(old) => self.set_link(&LinkEdit {
                        device: device.clone(),
                        up: Some(old.flags.up),
                        mac: old.mac,
                        mtu: Some(old.mtu),
                        transmit_queue: Some(old.transmit_queue),
                    }),
                },
                Key::Sysctl(side, name) => {
                    let is_gone = gone.iter().any(|link| link.side == *side && link.name == interface_of(name));
                    if let (Some(value), false) = (before.sysctl(*side, name), is_gone) {
                        let value = value.to_owned();
                        self.set_sysctl(Sysctl { side: *side, key: name.clone(), value });
                    }
                }
                _ => {}
            }
        }
        let mut old = before.restricted(keys);
        old.links.clear();
        old.sysctls.clear();
        old.retain_off_links(&gone);
        let released = Selection::of(keys);
        self.addresses.retain(|address| !released.has_address(address));
        self.neighbours.retain(|entry| !released.has_neighbour(entry));
        self.marks.retain(|mark| !released.has_mark(&mark.device));
        self.routes.retain(|known| known.protocol != PROTOCOL || !released.has_route(known));
        self.rules.retain(|known| known.protocol != PROTOCOL || !released.has_rule(&known.rule));
        self.return_routes(before, std::mem::take(&mut old.routes));
        old.rules.retain(|known| !self.rules.contains(known));
        self.extend(old);
    }

    /// Takes routes back in, where `before` has them among others with their key: the kernel takes the first.
    fn return_routes(&mut self, before: &Self, returning: Vec<KnownRoute>) {
        for known in returning {
            if self.routes.iter().any(|now| now.same(&known)) {
                continue;
            }
            let key = Key::of_route(&known);
            let later = before.routes.iter().skip_while(|other| !other.same(&known)).skip(1);
            let later: Vec<&KnownRoute> = later.filter(|other| Key::of_route(other) == key).collect();
            let place = self.routes.iter().position(|now| later.iter().any(|other| other.same(now)));
            self.routes.insert(place.unwrap_or(self.routes.len()), known);
        }
    }

    /// The links that go when these keys are brought back to `before`, with their other ends.
    fn links_gone(&self, before: &Self, keys: &BTreeSet<Key>) -> Vec<Device> {
        let mut gone = Vec::new();
        for key in keys {
            if let Key::Link(device) = key
                && before.link(device).is_none()
            {
                gone.push(device.clone());
                gone.extend(self.link(device).and_then(|link| link.peer.clone()).map(Device::node));
            }
        }
        gone
    }

    /// Keeps only objects that do not hang on one of these links.
    fn retain_off_links(&mut self, gone: &[Device]) {
        self.addresses.retain(|address| !gone.contains(&address.device));
        self.neighbours.retain(|entry| !gone.contains(&entry.device));
        self.marks.retain(|mark| !gone.contains(&mark.device));
        self.routes.retain(|known| {
            let side = known.route.side;
            let names = known.route.next_hops.iter().filter_map(|hop| hop.device.clone());
            !names.map(|name| Device { side, name }).any(|device| gone.contains(&device))
        });
    }

    /// The objects that are among the selected ones, or that are not.
    fn selected(&self, selection: &Selection<'_>, is_among: bool) -> Self {
        fn part<T: Clone>(objects: &[T], is_wanted: impl Fn(&T) -> bool) -> Vec<T> {
            objects.iter().filter(|object| is_wanted(object)).cloned().collect()
        }
        Self {
            links: part(&self.links, |it| selection.has_link(&it.device) == is_among),
            addresses: part(&self.addresses, |it| selection.has_address(it) == is_among),
            routes: part(&self.routes, |it| selection.has_route(it) == is_among),
            rules: part(&self.rules, |it| selection.has_rule(&it.rule) == is_among),
            neighbours: part(&self.neighbours, |it| selection.has_neighbour(it) == is_among),
            sysctls: part(&self.sysctls, |it| selection.has_sysctl(it) == is_among),
            marks: part(&self.marks, |it| selection.has_mark(&it.device) == is_among),
        }
    }
}

/// Keys by the kinds of their objects, each kind sorted, so that an object's key need not be made to look for it.
#[derive(Default)]
struct Selection<'k> {
    links: Vec<&'k Device>,
    addresses: Vec<(&'k Device, IpNet)>,
    routes: Vec<(Side, u32, IpNet, u32)>,
    rules: Vec<&'k Rule>,
    neighbours: Vec<(&'k Device, IpAddr)>,
    sysctls: Vec<(Side, &'k str)>,
    marks: Vec<&'k Device>,
}

impl<'k> Selection<'k> {
    fn of(keys: &'k BTreeSet<Key>) -> Self {
        let mut selection = Self::default();
        // They come sorted, kind by kind.
        for key in keys {
            match key {
                Key::Link(device) => selection.links.push(device),
                Key::Address(device, prefix) => selection.addresses.push((device, *prefix)),
                Key::Route(side, table, to, metric) => selection.routes.push((*side, *table, *to, *metric)),
                Key::Rule(rule) => selection.rules.push(rule),
                Key::Neighbour(device, ip) => selection.neighbours.push((device, *ip)),
                Key::Sysctl(side, name) => selection.sysctls.push((*side, name)),
                Key::Mark(device) => selection.marks.push(device),
            }
        }
        selection
    }

    fn has_link(&self, device: &Device) -> bool {
        self.links.binary_search(&device).is_ok()
    }

    fn has_address(&self, address: &Address) -> bool {
        self.addresses.binary_search(&(&address.device, address.prefix)).is_ok()
    }

    fn has_route(&self, known: &KnownRoute) -> bool {
        !self.routes.is_empty() && self.routes.binary_search(&known.route.key()).is_ok()
    }

    fn has_rule(&self, rule: &Rule) -> bool {
        self.rules.binary_search(&rule).is_ok()
    }

    fn has_neighbour(&self, entry: &Neighbour) -> bool {
        self.neighbours.binary_search(&(&entry.device, entry.ip)).is_ok()
    }

    fn has_sysctl(&self, sysctl: &Sysctl) -> bool {
        self.sysctls.binary_search(&(sysctl.side, &sysctl.key)).is_ok()
    }

    fn has_mark(&self, device: &Device) -> bool {
        self.marks.binary_search(&device).is_ok()
    }
}
