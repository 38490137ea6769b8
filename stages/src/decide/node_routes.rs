//! The node's way to the Pod: a shared rule before `main`, and one host route for each Pod address.

use std::net::IpAddr;

use coordinator_sdk::{
    Address, Change, Decision, Facts, Family, NODE_RULE_PRIORITY, Refusal, Route, Rule, Side, Stage,
};
use ipnet::IpNet;

use super::reach;

/// The metric of our IPv6 host routes: better than the kernel's default of 1024, so that what an
/// earlier Pod left behind never wins. IPv4 has 0, the best.
const IPV6_METRIC: u32 = 1;

/// Sends what the node has for the Pod into the veth pair.
#[derive(Debug, Clone, Copy)]
pub struct NodeRoutesStage;

impl Stage for NodeRoutesStage {
    type Options = ();

    fn decide(facts: &Facts, _options: &()) -> Result<Decision, Refusal> {
        let table = facts.settings.host_rule_table;
        let end = reach::node_end(facts).name;
        let served = reach::served(facts);
        for address in &served {
            refuse_hijack(facts, address)?;
        }
        let mut decision = Decision::default();
        for family in Family::ALL {
            if served.iter().any(|address| Family::of(address.ip()) == family) {
                let rule = Rule::all(Side::Node, family, NODE_RULE_PRIORITY, table);
                decision.push(Change::AddRule(rule), "the routes to Pods precede the node's own");
            }
        }
        for address in served {
            let mut route = Route::direct(Side::Node, table, IpNet::from(address.ip()), &end);
            route.metric = address.ip().is_ipv6().then_some(IPV6_METRIC);
            decision.push(Change::AddRoute(route), "the Pod's address is behind the pair that leads to it");
        }
        Ok(decision)
    }
}

/// These routes precede the node's own, so an address that is not the Pod's alone must not get one.
fn refuse_hijack(facts: &Facts, address: &Address) -> Result<(), Refusal> {
    let ip: IpAddr = address.ip();
    let is_of_node = facts.model.addresses.iter().any(|a| a.device.side == Side::Node && a.ip() == ip);
    if is_of_node {
        return Err(Refusal::new(format!("address {ip} of the Pod is the node's own address"))
            .hint("exclude the nodes' addresses from the Pods' IP pool"));
    }
    if facts.node_next_hops.contains(&ip) {
        return Err(Refusal::new(format!("address {ip} of the Pod is a router of the node"))
            .hint("exclude the gateway from the Pods' IP pool"));
    }
    if let Some(prefix) = facts.settings.service_cidr.iter().find(|prefix| prefix.contains(&ip)) {
        return Err(Refusal::new(format!("address {ip} of the Pod lies in serviceCIDR {prefix}"))
            .hint("the Pods' IP pool and the cluster's services must not overlap"));
    }
    if let Some(claim) = facts.claims.iter().find(|claim| claim.ip == ip) {
        return Err(Refusal::new(format!("address {ip} of the Pod is in use by container {}", claim.container))
            .hint("the IPAM gave one address to two Pods of this node"));
    }
    Ok(())
}
