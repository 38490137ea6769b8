//! Routes that the configuration names one by one: `policyRoutes`.

use coordinator_sdk::{
    Change, Decision, Facts, NextHop, PolicyRoute, Refusal, Route, RouteKind, Side, Stage, TABLE_MAIN,
};

/// Adds them to the attached interface's table; the first underlay interface's table is `main`.
#[derive(Debug, Clone, Copy)]
pub struct PolicyRoutesStage;

impl Stage for PolicyRoutesStage {
    type Options = ();

    fn decide(facts: &Facts, _options: &()) -> Result<Decision, Refusal> {
        let is_first = facts.request.interface == facts.settings.pod_default_cni_nic;
        let own = facts.attached_link().and_then(|link| link.table).filter(|_| !is_first);
        let table = own.unwrap_or(TABLE_MAIN);
        let families = facts.families();
        let mut decision = Decision::default();
        for policy in &facts.settings.policy_routes {
            let family = coordinator_sdk::Family::of(policy.gw);
            if families.contains(&family) {
                decision.push(Change::AddRoute(route(facts, policy, table)), "policyRoutes asks for it");
            } else {
                let interface = &facts.request.interface;
                decision.warn(format!("policyRoutes: {} is left out, {interface} has no {family} address", policy.dst));
            }
        }
        Ok(decision)
    }
}

fn route(facts: &Facts, policy: &PolicyRoute, table: u32) -> Route {
    let device = Some(facts.request.interface.as_str().to_owned());
    Route {
        side: Side::Pod,
        table,
        to: policy.dst,
        kind: RouteKind::Unicast,
        metric: None,
        source: None,
        link_scope: false,
        mtu: None,
        next_hops: vec![NextHop { gateway: Some(policy.gw), device, weight: 1, onlink: false }],
    }
}
