//! What the first interface's addresses send to another interface's network: it leaves by the first interface all the
//! same, as what came in there must.
//!
//! The first interface uses `main`, which leads to such a network by the other interface. A rule for each of its
//! addresses and each such network looks into a table that does not. A first interface with a table of its own needs
//! none of this; what was made before it got one stays.

use std::collections::BTreeSet;

use coordinator_sdk::{
    Address, Change, Decision, Device, Facts, Family, KnownRoute, PROTOCOL, REPLY_TABLE, Route, Rule,
    SOURCE_RULE_PRIORITY, Side,
};
use ipnet::IpNet;

use super::{
    interface_routes::{in_main, joined, lowest_free},
    reach,
};

/// Leads to the first interface what its addresses send to the networks of the attached one, or of all others when it
/// is attached itself. With a table of its own (`is_tuned`) it keeps what it has.
pub(super) fn keep_its_way(facts: &Facts, used: &BTreeSet<u32>, is_tuned: bool, decision: &mut Decision) {
    let first = Device::pod(facts.settings.pod_default_cni_nic.as_str());
    let attached = facts.attached();
    let is_other = |device: &Device| *device != first && (attached == first || *device == attached);
    let table = known_table(facts, &first).unwrap_or_else(|| highest_free(used));
    for family in Family::ALL {
        let own = of_device(facts, family, |device| *device == first);
        let shared =
            |network: &IpNet| own.iter().any(|own| network.contains(&own.ip()) || own.prefix.contains(network));
        let networks = of_device(facts, family, is_other).into_iter().map(|address| address.prefix.trunc());
        let is_network = |network: &IpNet| network.prefix_len() < network.max_prefix_len() && !shared(network);
        let networks: BTreeSet<IpNet> = networks.filter(is_network).collect();
        let mut rules = Vec::new();
        for (address, network) in own.iter().flat_map(|own| networks.iter().map(move |network| (own, network))) {
            let mut rule = Rule::all(Side::Pod, family, SOURCE_RULE_PRIORITY, table);
            (rule.sources, rule.to) = (Some(IpNet::from(address.ip())), Some(*network));
            if !is_tuned || facts.model.rules.iter().any(|known| known.protocol == PROTOCOL && known.rule == rule) {
                rules.push(rule);
            }
        }
        if rules.is_empty() {
            continue;
        }
        let is_way = |known: &&KnownRoute| known.route.is_default() && known.route.leaves_only_by(&first.name);
        let of_family = |known: &&KnownRoute| known.route.family() == family;
        let mut defaults: Vec<&KnownRoute> = in_main(facts).filter(of_family).filter(is_way).collect();
        if defaults.is_empty() {
            // It gave way in `main` since.
            let here = facts.model.routes_of(Side::Pod).filter(|known| known.flags.ours && known.route.table == table);
            defaults = here.filter(of_family).filter(is_way).collect();
        }
        if defaults.is_empty() {
            continue;
        }
        let defaults = joined(defaults.into_iter().map(|known| Route { table, ..known.route.clone() }));
        let exit = reach::exit(facts).name;
        let is_there = |to: &IpNet| networks.iter().any(|network| network.contains(to));
        // The node itself may have an address there.
        let to_node = in_main(facts).filter(of_family).map(|known| &known.route);
        let to_node = to_node.filter(|route| route.leaves_only_by(&exit) && is_there(&route.to));
        let to_node = to_node.map(|route| Route { table, source: None, ..route.clone() });
        for route in defaults.into_iter().chain(to_node) {
            decision.push(Change::AddRoute(route), format!("what came in by {} goes back there", first.name));
        }
        for rule in rules {
            decision.push(Change::AddRule(rule), format!("{}'s address answers there by {0}", first.name));
        }
    }
}

fn of_device(facts: &Facts, family: Family, is_it: impl Fn(&Device) -> bool) -> Vec<&Address> {
    let addresses = facts.pod_addresses().filter(|address| Family::of(address.ip()) == family);
    addresses.filter(|address| is_it(&address.device)).collect()
}

/// The table that an earlier attachment chose.
fn known_table(facts: &Facts, first: &Device) -> Option<u32> {
    let rules = facts.model.rules.iter().filter(|known| known.protocol == PROTOCOL && known.rule.side == Side::Pod);
    let mut rules = rules.map(|known| &known.rule).filter(|rule| rule.to.is_some());
    let is_own = |ip: IpNet| facts.model.addresses_of(first).any(|address| IpNet::from(address.ip()) == ip);
    rules.find(|rule| rule.sources.is_some_and(is_own)).map(|rule| rule.table)
}

/// From above, so that the numbers of the further interfaces' tables do not depend on it.
fn highest_free(used: &BTreeSet<u32>) -> u32 {
    (1..REPLY_TABLE).rev().find(|table| !used.contains(table)).unwrap_or_else(|| lowest_free(used))
}
