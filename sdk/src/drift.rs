//! Drift: what of a recorded attachment is not as it was made.

use std::{collections::BTreeSet, fmt};

use crate::{Device, Edit, Family, Key, Model, diff, model::interface_of};

/// An object that is missing, or not as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The object.
    pub key: Key,
    /// What is wanted of it; absent = that it is not there.
    pub expected: Option<String>,
    /// What was found; absent = it is missing.
    pub found: Option<String>,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nothing = "nothing".to_owned();
        let (expected, found) = (self.expected.as_ref(), self.found.as_ref());
        let (expected, found) = (expected.unwrap_or(&nothing), found.unwrap_or(&nothing));
        write!(f, "{}: expected {expected}, found {found}", self.key)
    }
}

/// How `now` drifted from `wanted`, both restricted to the same keys; each object once.
///
/// What the kernel drops together with something else is not named beside it: everything on a link that is
/// gone or down, everything of a family on a link that does not speak it any more, and the neighbours of a link
/// whose hardware address was altered.
pub fn drifts(now: &Model, wanted: &Model) -> Vec<Drift> {
    let keys: BTreeSet<Key> = diff(now, wanted).iter().map(Edit::key).collect();
    let is_cause = |key: &Key| !is_consequence(key, now, wanted);
    let drift = |key: Key| Drift { expected: describe(wanted, &key), found: describe(now, &key), key };
    keys.into_iter().filter(is_cause).map(drift).collect()
}

fn is_consequence(key: &Key, now: &Model, wanted: &Model) -> bool {
    let is_dropped = |device: &Device| match (now.link(device), wanted.link(device)) {
        (None, Some(_)) => true,
        (Some(found), Some(expected)) => expected.flags.up && !found.flags.up,
        _ => false,
    };
    let is_off = |device: &Device| {
        let name = format!("net/ipv6/conf/{}/disable_ipv6", device.name);
        let (found, expected) = (now.sysctl(device.side, &name), wanted.sysctl(device.side, &name));
        found.is_some_and(|value| value != "0") && expected == Some("0")
    };
    // A link that loses its last IPv4 address loses its IPv4 routes and neighbours (tried).
    let is_bare = |device: &Device| {
        let has = |model: &Model| model.addresses_of(device).any(|address| Family::of(address.ip()) == Family::Ipv4);
        has(wanted) && !has(now)
    };
    let goes = |device: &Device, family: Family| {
        is_dropped(device)
            || match family {
                Family::Ipv4 => is_bare(device),
                Family::Ipv6 => is_off(device),
            }
    };
    let is_altered = |device: &Device| match (now.link(device), wanted.link(device)) {
        (Some(found), Some(expected)) => found.mac != expected.mac,
        _ => false,
    };
    match key {
        Key::Link(_) | Key::Rule(_) => false,
        Key::Address(device, prefix) => is_dropped(device) || prefix.addr().is_ipv6() && is_off(device),
        Key::Mark(device) => is_dropped(device),
        Key::Neighbour(device, ip) => goes(device, Family::of(*ip)) || is_altered(device),
        Key::Sysctl(side, name) => is_dropped(&Device { side: *side, name: interface_of(name).to_owned() }),
        Key::Route(side, _, to, _) => {
            let expected = wanted.routes.iter().filter(|known| Key::of_route(known) == *key);
            let mut devices = expected.flat_map(|known| &known.route.next_hops).filter_map(|hop| hop.device.clone());
            devices.any(|name| goes(&Device { side: *side, name }, Family::of(to.addr())))
        }
    }
}

/// An object's state in words; absent when the model does not have it.
fn describe(model: &Model, key: &Key) -> Option<String> {
    match key {
        Key::Link(device) => model.link(device).map(|link| {
            let state = if link.flags.up { "up" } else { "down" };
            let mac = link.mac.map(|mac| format!(", MAC {mac}")).unwrap_or_default();
            format!("{state}{mac}, mtu {}, transmit queue {}", link.mtu, link.transmit_queue)
        }),
        Key::Address(device, prefix) => model.address(device, *prefix).map(|address| address.prefix.to_string()),
        Key::Route(..) => {
            let routes = model.routes.iter().filter(|known| Key::of_route(known) == *key);
            let routes: Vec<String> = routes.map(|known| known.route.to_string()).collect();
            (!routes.is_empty()).then(|| routes.join(" and "))
        }
        Key::Rule(rule) => model.has_own_rule(rule).then(|| rule.to_string()),
        Key::Neighbour(device, ip) => model.neighbour(device, *ip).map(|entry| entry.mac.to_string()),
        Key::Sysctl(side, name) => model.sysctl(*side, name).map(str::to_owned),
        Key::Mark(device) => {
            model.marks.iter().find(|mark| mark.device == *device).map(|mark| format!("bit {}", mark.bit))
        }
    }
}
