//! Routes of Pods with several interfaces: a table for each further interface, one default in `main`.
//!
//! What is sent from an interface's address looks up the interface's own table, which holds all that the
//! interface reaches and the way to the node, so a reply leaves by the interface that was asked.

use std::collections::BTreeSet;

use coordinator_sdk::{
    Change, Decision, Device, FIRST_INTERFACE_TABLE, Facts, Family, KnownRoute, Mode, NextHop, REPLY_TABLE, Refusal,
    Route, RouteKind, RouteMove, Rule, SOURCE_RULE_PRIORITY, Side, Stage, Sysctl, TABLE_LOCAL, TABLE_MAIN,
};
use ipnet::IpNet;

use super::{first_interface, reach};

/// The number of the routing table `default` (`RT_TABLE_DEFAULT`).
const TABLE_DEFAULT: u32 = 253;

/// Gives interfaces tables of their own, and `main` one default route: `tunePodRoutes`, `podDefaultRouteNic`.
#[derive(Debug, Clone, Copy)]
pub struct InterfaceRoutesStage;

impl Stage for InterfaceRoutesStage {
    type Options = ();

    fn decide(facts: &Facts, _options: &()) -> Result<Decision, Refusal> {
        let mut decision = Decision::default();
        if !facts.settings.tune_pod_routes {
            return Ok(decision);
        }
        let first = facts.settings.pod_default_cni_nic.as_str();
        let attached = facts.request.interface.as_str();
        let mut used = used_tables(facts);
        let mut is_first_tuned = false;
        let mut interfaces = tuned(facts);
        // The attached one takes its number first.
        interfaces.sort_by_key(|interface| interface != attached);
        for interface in interfaces {
            let is_overlay_first = facts.mode() == Mode::Overlay && interface == first;
            let known = facts.model.link(&Device::pod(&interface)).and_then(|link| link.table);
            let table = match known {
                Some(table) => table,
                None if is_overlay_first => REPLY_TABLE,
                None => lowest_free(&used),
            };
            used.insert(table);
            own_table(facts, &interface, table, &mut decision);
            is_first_tuned |= interface == first;
        }
        first_interface::keep_its_way(facts, &used, is_first_tuned, &mut decision);
        Ok(decision)
    }
}

/// The interfaces that get a table: the attached one unless it is the first, a first one that leads to the
/// node or shares its subnet, where `main` knows one way for both, and every one whose default route gives way
/// in `main`.
fn tuned(facts: &Facts) -> Vec<String> {
    let first = facts.settings.pod_default_cni_nic.as_str();
    let attached = facts.request.interface.as_str();
    let gives_way = |name: &str| {
        let is_default = |known: &&KnownRoute| known.route.is_default() && known.route.leaves_only_by(name);
        let mut defaults = in_main(facts).filter(is_default);
        defaults.any(|known| holder(facts, known.route.family()).as_deref() != Some(name))
    };
    let others = facts.others.iter().map(|other| other.interface.as_str());
    let mut names: Vec<String> = Vec::new();
    for name in [first, attached].into_iter().chain(others) {
        let has_table = facts.model.link(&Device::pod(name)).is_some_and(|link| link.table.is_some());
        let is_first_tuned = name == first && (has_table || reach::is_of_overlay(facts, first));
        let is_always = is_first_tuned || name == attached && name != first;
        let shares = || name == first && facts.model.shares_subnet(&Device::pod(name));
        if (is_always || gives_way(name) || shares()) && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

/// The interface whose default route stays in `main`: `podDefaultRouteNic` when it has one, else the first that has.
fn holder(facts: &Facts, family: Family) -> Option<String> {
    let has_default = |name: &str| {
        in_main(facts)
            .any(|known| known.route.is_default() && known.route.family() == family && known.route.leaves_only_by(name))
    };
    let attached = facts.request.interface.as_str();
    let wanted = facts.settings.pod_default_route_nic.as_ref().map(|name| name.as_str());
    let first = facts.settings.pod_default_cni_nic.as_str();
    let links = facts.model.links.iter().filter(|link| link.device.side == Side::Pod && !link.flags.ours);
    let earlier = links.map(|link| link.device.name.as_str()).filter(|name| *name != attached);
    let mut candidates = wanted.into_iter().chain([first]).chain(earlier).chain([attached]);
    candidates.find(|name| has_default(name)).map(str::to_owned)
}

pub(super) fn in_main(facts: &Facts) -> impl Iterator<Item = &KnownRoute> {
    facts.model.routes_of(Side::Pod).filter(|known| known.route.table == TABLE_MAIN)
}

/// Tables that are somebody's: those with routes, those that a rule names, those of other attachments.
fn used_tables(facts: &Facts) -> BTreeSet<u32> {
    let with_routes = facts.model.routes_of(Side::Pod).map(|known| known.route.table);
    let rules = facts.model.rules.iter().filter(|known| known.rule.side == Side::Pod);
    let others = facts.others.iter().filter_map(|other| other.table);
    with_routes.chain(rules.map(|known| known.rule.table)).chain(others).collect()
}

pub(super) fn lowest_free(used: &BTreeSet<u32>) -> u32 {
    let is_free = |table: &u32| !used.contains(table) && !(TABLE_DEFAULT..=TABLE_LOCAL).contains(table);
    (FIRST_INTERFACE_TABLE..=u32::MAX).find(is_free).unwrap_or(u32::MAX)
}

/// Fills an interface's table and leads to it what comes from the interface's addresses.
fn own_table(facts: &Facts, interface: &str, table: u32, decision: &mut Decision) {
    let exit = reach::exit(facts).name;
    let device = Device::pod(interface);
    let addresses: Vec<_> = facts.pod_addresses().filter(|address| address.device == device).collect();
    for family in Family::ALL {
        if !addresses.iter().any(|address| Family::of(address.ip()) == family) {
            continue;
        }
        let is_holder = holder(facts, family).as_deref() == Some(interface);
        let of_family = |known: &&KnownRoute| known.route.family() == family && known.route.kind == RouteKind::Unicast;
        let mut has_default = false;
        let mut copied = Vec::new();
        for known in in_main(facts).filter(of_family).filter(|known| known.route.leaves_only_by(interface)) {
            let is_default = known.route.is_default();
            has_default |= is_default;
            if is_default && !is_holder && !known.flags.ours {
                let moved = RouteMove { id: known.id, table };
                decision.push(Change::MoveRoute(moved), "only one interface has its default route in main");
                if known.flags.from_router_advertisement {
                    keep_away(facts, interface, decision);
                }
            } else {
                copied.push(Route { table, ..known.route.clone() });
            }
        }
        for copy in joined(copied) {
            decision.push(Change::AddRoute(copy), format!("what {interface} reaches, it reaches from its addresses"));
        }
        // What an earlier ADD moved here is no longer in main: it is claimed again.
        let here = facts.model.routes_of(Side::Pod).filter(of_family);
        let here = here.filter(|known| known.route.table == table && known.flags.ours && known.route.is_default());
        let here: Vec<_> = if has_default { Vec::new() } else { here.collect() };
        has_default |= !here.is_empty();
        for known in joined(here.into_iter().map(|known| known.route.clone())) {
            decision.push(Change::AddRoute(known), "it was moved out of main");
            keep_moved(facts, interface, family, decision);
        }
        if !has_default && interface != exit {
            default_by_gateway(facts, interface, table, family, decision);
        }
        if interface != exit && !reach::leads_to_node(facts, interface) {
            let behind = reach::behind_node(facts, family);
            // Ours, and what somebody else laid to the same destinations.
            let through = in_main(facts).filter(of_family).filter(|known| known.route.leaves_only_by(&exit));
            for known in through.filter(|known| behind.iter().any(|(to, _)| *to == known.route.to)) {
                let copy = Route { table, source: None, ..known.route.clone() };
                decision.push(
                    Change::AddRoute(copy),
                    format!("{interface}'s addresses reach the node and what is behind it"),
                );
            }
        }
    }
    for address in addresses {
        let mut rule = Rule::all(Side::Pod, Family::of(address.ip()), SOURCE_RULE_PRIORITY, table);
        rule.sources = Some(IpNet::from(address.ip()));
        decision.push(Change::AddRule(rule), format!("what comes from {interface}'s address leaves by {interface}"));
    }
}

/// Routes with one key are one route with all their next hops: of IPv6 the kernel shows each on its own.
pub(super) fn joined(routes: impl IntoIterator<Item = Route>) -> Vec<Route> {
    let mut joined: Vec<Route> = Vec::new();
    for route in routes {
        match joined.iter_mut().find(|known| known.family() == Family::Ipv6 && known.key() == route.key()) {
            Some(known) => known.next_hops.extend(route.next_hops),
            None => joined.push(route),
        }
    }
    joined
}

/// The default route that nobody made, by the gateway that `prevResult` names.
fn default_by_gateway(facts: &Facts, interface: &str, table: u32, family: Family, decision: &mut Decision) {
    let device = Device::pod(interface);
    let gateways = facts.model.addresses_of(&device).filter_map(|address| address.gateway);
    let Some(gateway) = gateways.filter(|gateway| Family::of(*gateway) == family).min() else { return };
    let hop = NextHop { gateway: Some(gateway), device: Some(interface.to_owned()), weight: 1, onlink: false };
    let to = family.default_prefix();
    let route = Route { link_scope: false, next_hops: vec![hop], ..Route::direct(Side::Pod, table, to, interface) };
    decision.push(Change::AddRoute(route), format!("replies from {interface}'s address leave by its gateway"));
}

/// A default that came by router advertisement would be back with the next one.
fn keep_away(facts: &Facts, interface: &str, decision: &mut Decision) {
    let key = format!("net/ipv6/conf/{interface}/accept_ra_defrtr");
    if facts.model.sysctl(Side::Pod, &key).is_some() {
        let sysctl = Sysctl { side: Side::Pod, key, value: "0".to_owned() };
        decision.push(Change::SetSysctl(sysctl), "the next router advertisement would bring the default route back");
        decision.warn(format!("{interface} takes no default route from router advertisements any more"));
    }
}

/// What an earlier ADD switched off stays so.
fn keep_moved(facts: &Facts, interface: &str, family: Family, decision: &mut Decision) {
    let key = format!("net/ipv6/conf/{interface}/accept_ra_defrtr");
    if family == Family::Ipv6 && facts.model.sysctl(Side::Pod, &key) == Some("0") {
        keep_away(facts, interface, decision);
    }
}
