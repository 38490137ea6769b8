//! The Pod's way to its node, to services and to overlay Pods: through `veth0`, or through an overlay Pod's
//! first interface.

use std::net::IpAddr;

use coordinator_sdk::{Change, Decision, Facts, Refusal, Route, Side, Stage, TABLE_MAIN};
use ipnet::IpNet;

use super::reach;

/// Routes the node's addresses and the configured prefixes to where the node is.
#[derive(Debug, Clone, Copy)]
pub struct PodRoutesStage;

impl Stage for PodRoutesStage {
    type Options = ();

    fn decide(facts: &Facts, _options: &()) -> Result<Decision, Refusal> {
        let mut decision = Decision::default();
        for family in facts.families() {
            let Some(mut through) = reach::through_node(facts, family) else {
                let lack = match reach::is_beside(facts, family) {
                    true => format!("the node has no {family} address"),
                    false => format!("the first interface has no {family} default route"),
                };
                decision.warn(format!("{lack}: services and overlay Pods of that family stay out of reach"));
                continue;
            };
            let is_beside = reach::is_beside(facts, family);
            if is_beside {
                // An IPv6 route takes no source: one that is still tentative would be refused.
                through.source = reach::source(facts, family).filter(IpAddr::is_ipv4);
            }
            let node = reach::of_node(facts, family);
            for (to, why) in reach::behind_node(facts, family) {
                // Beside it, the node itself is a neighbour, and the router to all else.
                let route = match is_beside && node.iter().any(|ip| IpNet::from(*ip) == to) {
                    true => Route {
                        source: through.source,
                        ..Route::direct(Side::Pod, TABLE_MAIN, to, &reach::exit(facts).name)
                    },
                    false => Route { to, ..through.clone() },
                };
                propose(facts, &mut decision, route, &why);
            }
        }
        Ok(decision)
    }
}

/// Proposes a route, unless the Pod has one to the same prefix that somebody else made: it stays. One that an
/// earlier attachment made keeps its source while that is an address of the Pod.
fn propose(facts: &Facts, decision: &mut Decision, mut route: Route, why: &str) {
    let ours = facts.model.routes_of(Side::Pod).find(|known| known.flags.ours && known.route.key() == route.key());
    let known_source = ours.and_then(|known| known.route.source);
    if known_source.is_some_and(|ip| facts.pod_addresses().any(|address| address.ip() == ip)) {
        route.source = known_source;
    }
    let mut routes = facts.model.routes.iter();
    let foreign = routes.find(|known| {
        !known.flags.ours && known.route.key() == route.key() || {
            known.flags.connected
                && (known.route.side, known.route.table, known.route.to) == (Side::Pod, route.table, route.to)
        }
    });
    match foreign {
        Some(known) if known.route.next_hops == route.next_hops => {}
        Some(known) => decision.warn(format!("{} stays with the Pod's route {}", route.to, known.route)),
        None => decision.push(Change::AddRoute(route), why),
    }
}
