//! rail-routing: the rails of a GPU node keep to themselves.
//!
//! Each rail is an interface of the Pod with a switch of its own. Traffic from a rail's address must leave by that rail
//! and reach the same rail of all other nodes, so each rail gets a table with its own routes and a rule that leads there.
//! The built-in `interface-routes` comes after it and adds what every further interface needs to that table.

#![forbid(unsafe_code)]

use coordinator_sdk::{
    Change, Decision, Facts, Family, NextHop, Refusal, Route, Rule, SOURCE_RULE_PRIORITY, Side, Stage, TABLE_MAIN,
};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

/// What a pipeline says.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// What the rails' interfaces are called before their number: `rail` for `rail0`, `rail1` …
    pub prefix: String,
    /// How many rails a node has.
    pub rails: u32,
    /// Rail n uses table `first_table` + n.
    #[serde(default = "first_table")]
    pub first_table: u32,
    /// What all rails together reach, through the rail's router; absent = the rail's own subnet only.
    #[schemars(with = "Option<String>")]
    pub fabric: Option<IpNet>,
}

fn first_table() -> u32 {
    1000
}

/// The stage.
#[derive(Debug, Clone, Copy)]
pub struct RailRouting;

impl Stage for RailRouting {
    type Options = Options;

    fn decide(facts: &Facts, options: &Options) -> Result<Decision, Refusal> {
        let mut decision = Decision::default();
        let name = facts.request.interface.as_str();
        let Some(number) = name.strip_prefix(&options.prefix).and_then(|number| number.parse::<u32>().ok()) else {
            return Ok(decision);
        };
        if number >= options.rails {
            return Err(Refusal::new(format!("{name} is rail {number}, and a node has {} rails", options.rails))
                .hint("correct the network's interface name, or rails in the pipeline"));
        }
        let table = options.first_table.saturating_add(number);
        for address in facts.attached_addresses() {
            let family = Family::of(address.ip());
            let rule = Rule {
                sources: Some(IpNet::from(address.ip())),
                ..Rule::all(Side::Pod, family, SOURCE_RULE_PRIORITY, table)
            };
            decision.push(Change::AddRule(rule), format!("what {} sends leaves by rail {number}", address.ip()));
            let source = Some(address.ip()).filter(|ip| ip.is_ipv4());
            let subnet = Route { source, ..Route::direct(Side::Pod, table, address.prefix, name) };
            decision.push(Change::AddRoute(subnet), format!("rail {number} of the other nodes"));
            if let Some(fabric) = options.fabric.filter(|fabric| Family::of(fabric.addr()) == family) {
                let gateway = router(facts, name, family).or(address.gateway);
                let Some(gateway) = gateway else {
                    decision.warn(format!("{name} has no {family} router: it reaches its own subnet only"));
                    continue;
                };
                let hop = NextHop { gateway: Some(gateway), device: Some(name.to_owned()), weight: 1, onlink: false };
                let direct = Route::direct(Side::Pod, table, fabric, name);
                let route = Route { source, link_scope: false, next_hops: vec![hop], ..direct };
                decision.push(Change::AddRoute(route), format!("the fabric, through the router of rail {number}"));
            }
        }
        Ok(decision)
    }
}

/// The router of an interface's default route.
fn router(facts: &Facts, interface: &str, family: Family) -> Option<std::net::IpAddr> {
    let mut routes = facts.model.routes_of(Side::Pod).map(|known| &known.route);
    let default = routes.find(|route| {
        route.is_default() && route.family() == family && route.table == TABLE_MAIN && route.leaves_only_by(interface)
    })?;
    default.next_hops.first()?.gateway
}

coordinator_sdk::export_stage!(RailRouting, needs: ["pod.route", "pod.rule"]);

#[cfg(test)]
mod tests {
    use coordinator_sdk::testing::{Scenario, plan, refusal};

    use super::*;

    const WITH: &str = r#"{"prefix": "rail", "rails": 8, "fabric": "10.0.0.0/8"}"#;

    fn gpu(interface: &str, addresses: &[&str]) -> Scenario {
        Scenario::overlay(interface, addresses).in_network("rail").of_pod("gpu-train", "worker-0")
    }

    #[test]
    fn a_rail_gets_a_rule_and_a_table_of_its_own() {
        let facts = gpu("rail3", &["10.13.0.7/24"]).with_gateway("rail3", "10.13.0.1").facts();
        let planned = plan::<RailRouting>(&facts, WITH).unwrap();
        let planned = planned.has("add pod rule ipv4 1001: from 10.13.0.7/32 lookup 1003");
        let planned = planned.has("10.13.0.0/24 dev rail3 src 10.13.0.7 table 1003");
        planned.has("10.0.0.0/8 via 10.13.0.1 dev rail3 src 10.13.0.7 table 1003").lacks("table 254");
    }

    #[test]
    fn both_families_and_several_addresses_are_served() {
        let facts = gpu("rail0", &["10.10.0.7/24", "10.10.0.8/24", "fd00:10::7/64"]).facts();
        let planned = plan::<RailRouting>(&facts, r#"{"prefix": "rail", "rails": 1, "first_table": 200}"#).unwrap();
        planned.has("from 10.10.0.8/32 lookup 200").has("from fd00:10::7/128 lookup 200").has("fd00:10::/64 dev rail0");
    }

    #[test]
    fn other_interfaces_are_left_alone_and_a_ninth_rail_is_refused() {
        let planned = plan::<RailRouting>(&gpu("net1", &["10.9.0.7/24"]).facts(), WITH).unwrap();
        assert!(planned.plan.edits.is_empty(), "{planned}");
        assert!(refusal::<RailRouting>(&gpu("rail8", &["10.18.0.7/24"]).facts(), WITH).reason.contains("8 rails"));
    }

    #[test]
    fn a_rail_without_a_router_is_warned_about() {
        let facts = gpu("rail1", &["10.11.0.7/24"]).facts();
        plan::<RailRouting>(&facts, WITH).unwrap().has("warning: the stage: rail1 has no ipv4 router");
    }
}
