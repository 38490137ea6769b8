//! The destinations that stand for each kind.

use std::{fmt, net::IpAddr};

use coordinator_sdk::{Family, Side};
use ipnet::IpNet;

use super::survey::Survey;

/// What a destination is to the Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// An address of the node.
    Node,
    /// A Pod of the overlay network (`overlayPodCIDR`).
    Pod,
    /// A service (`serviceCIDR`).
    Service,
    /// What else is led through the node (`hijackCIDR`).
    Hijacked,
    /// A neighbour on the interface's own network.
    Neighbour,
    /// Anything behind a router.
    Outside,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "node",
            Self::Pod => "pod network",
            Self::Service => "service",
            Self::Hijacked => "hijacked",
            Self::Neighbour => "same subnet",
            Self::Outside => "outside",
        })
    }
}

impl Class {
    /// True when the way there leads through the node.
    pub(super) fn is_through_node(self) -> bool {
        matches!(self, Self::Node | Self::Pod | Self::Service | Self::Hijacked)
    }
}

/// Addresses of documentation (RFC 5737, RFC 3849) that stand for everything outside.
const OUTSIDE: [&str; 2] = ["203.0.113.1", "2001:db8:ffff:ffff::1"];

/// The destinations for an address of an interface with this prefix.
pub(super) fn targets(survey: &Survey, local: IpNet) -> Vec<(Class, IpAddr)> {
    let family = Family::of(local.addr());
    let of_family = |prefix: &&IpNet| Family::of(prefix.addr()) == family;
    let mut targets = Vec::new();
    // The node's addresses are those that an ADD laid routes to: what is gone from the kernel is still wanted.
    let exit = survey.exit.as_ref().map(|exit| exit.name.as_str()).unwrap_or_default();
    let routes = survey.wanted.routes_of(Side::Pod).map(|known| &known.route);
    for route in routes.filter(|route| route.to.prefix_len() == route.to.max_prefix_len()) {
        let is_of_node = survey.node_addresses.contains(&route.to.addr());
        let is_new = !targets.contains(&(Class::Node, route.to.addr()));
        if is_of_node && is_new && route.family() == family && route.leaves_only_by(exit) {
            targets.push((Class::Node, route.to.addr()));
        }
    }
    let lists = [
        (Class::Pod, &survey.settings.overlay_pod_cidr),
        (Class::Service, &survey.settings.service_cidr),
        (Class::Hijacked, &survey.settings.hijack_cidr),
    ];
    for (class, prefixes) in lists {
        targets.extend(prefixes.iter().filter(of_family).map(|prefix| (class, inside(*prefix, local.addr()))));
    }
    if local.prefix_len() < local.max_prefix_len() {
        targets.push((Class::Neighbour, inside(local.trunc(), local.addr())));
    }
    let outside = OUTSIDE.iter().filter_map(|text| text.parse::<IpAddr>().ok());
    targets.extend(outside.filter(|ip| Family::of(*ip) == family).map(|ip| (Class::Outside, ip)));
    targets
}

/// What a destination that the caller names is.
pub(super) fn class_of(survey: &Survey, local: IpNet, to: IpAddr) -> Class {
    let has = |prefixes: &[IpNet]| prefixes.iter().any(|prefix| prefix.contains(&to));
    match () {
        () if survey.node_addresses.contains(&to) => Class::Node,
        () if has(&survey.settings.service_cidr) => Class::Service,
        () if has(&survey.settings.overlay_pod_cidr) => Class::Pod,
        () if has(&survey.settings.hijack_cidr) => Class::Hijacked,
        () if local.contains(&to) => Class::Neighbour,
        () => Class::Outside,
    }
}

/// An address of a prefix that is neither its first nor `other`: the first one often is a router or nobody.
fn inside(prefix: IpNet, other: IpAddr) -> IpAddr {
    let mut hosts = prefix.hosts().filter(|ip| *ip != prefix.network() && *ip != other);
    let first = hosts.next();
    hosts.next().or(first).unwrap_or(prefix.addr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_stood_for_by_one_of_its_addresses() {
        for (prefix, other, expected) in [
            ("10.96.0.0/16", "10.6.2.20", "10.96.0.2"),
            ("10.6.0.0/16", "10.6.0.2", "10.6.0.3"),
            ("169.254.20.10/32", "10.6.2.20", "169.254.20.10"),
            ("fd00:96::/112", "fd00::1", "fd00:96::2"),
            ("10.0.0.0/31", "10.0.0.1", "10.0.0.0"),
        ] {
            let found = inside(prefix.parse().unwrap(), other.parse().unwrap());
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{prefix}");
        }
    }
}
