//! The Pod's way to its node, to services and to overlay Pods: through `veth0`.

use std::net::IpAddr;

use coordinator_sdk::{
    Change, Decision, Facts, Family, NextHop, POD_VETH, Refusal, Route, RouteKind, Side, Stage, TABLE_MAIN,
};
use ipnet::IpNet;

use super::reach;

/// Routes the node's addresses and the configured prefixes into the veth pair.
#[derive(Debug, Clone, Copy)]
pub struct PodRoutesStage;

impl Stage for PodRoutesStage {
    type Options = ();

    fn decide(facts: &Facts, _options: &()) -> Result<Decision, Refusal> {
        let mut decision = Decision::default();
        for family in facts.families() {
            let node = reach::of_node(facts, family);
            // An IPv6 route takes no source: one that is still tentative would be refused.
            let source = reach::source(facts, family).filter(IpAddr::is_ipv4);
            for ip in &node {
                let mut route = Route::direct(Side::Pod, TABLE_MAIN, IpNet::from(*ip), POD_VETH);
                route.source = source;
                propose(facts, &mut decision, route, "the node's address is behind the veth pair");
            }
            let settings = &facts.settings;
            let lists = [
                ("overlayPodCIDR", &settings.overlay_pod_cidr),
                ("serviceCIDR", &settings.service_cidr),
                ("hijackCIDR", &settings.hijack_cidr),
            ];
            let Some(gateway) = node.first() else {
                decision.warn(format!(
                    "the node has no {family} address: services and overlay Pods of that family stay out of reach"
                ));
                continue;
            };
            for (name, prefixes) in lists {
                for prefix in prefixes.iter().filter(|prefix| Family::of(prefix.addr()) == family) {
                    let mut route = through_veth(TABLE_MAIN, *prefix, *gateway);
                    route.source = source;
                    propose(facts, &mut decision, route, &format!("{name} is reached through the node"));
                }
            }
        }
        Ok(decision)
    }
}

/// A route of the Pod through the node, whose `gateway` is a permanent neighbour on `veth0`.
pub(super) fn through_veth(table: u32, to: IpNet, gateway: IpAddr) -> Route {
    let hop = NextHop { gateway: Some(gateway), device: Some(POD_VETH.to_owned()), weight: 1, onlink: false };
    Route {
        side: Side::Pod,
        table,
        to: to.trunc(),
        kind: RouteKind::Unicast,
        metric: None,
        source: None,
        link_scope: false,
        mtu: None,
        next_hops: vec![hop],
    }
}

/// Proposes a route, unless the Pod has one to the same prefix that somebody else made: it stays.
fn propose(facts: &Facts, decision: &mut Decision, route: Route, why: &str) {
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
        None if decision.proposals.iter().any(|p| p.change == Change::AddRoute(route.clone())) => {}
        None => decision.push(Change::AddRoute(route), why),
    }
}
