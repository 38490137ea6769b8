//! One difference serves adding, undoing and deleting: what a projection plans can be taken back.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use std::collections::BTreeSet;

use coordinator_sdk::{
    Change, Decision, Device, Edit, Facts, Family, Key, KnownRoute, KnownRule, Link, LinkEdit, LinkFlags, Mac, Model,
    Neighbour, POD_VETH, PROTOCOL, Projection, ReplyMark, Route, RouteFlags, Rule, Side, Sysctl, VethPair, diff,
};
use proptest::prelude::*;

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

fn link(device: Device, last: u8) -> Link {
    Link { mac: Some(mac(last)), flags: LinkFlags { up: true, ..LinkFlags::default() }, ..Link::named(device) }
}

fn sysctl(key: &str, value: &str) -> Sysctl {
    Sysctl { side: Side::Pod, key: key.to_owned(), value: value.to_owned() }
}

/// A Pod with eth0, a neighbour of its own, and a dead Pod's route on the node.
fn observed() -> Model {
    let blackhole = Route {
        kind: coordinator_sdk::RouteKind::Blackhole,
        next_hops: Vec::new(),
        link_scope: false,
        ..Route::direct(Side::Node, 500, "10.6.0.7/32".parse().unwrap(), "")
    };
    Model {
        links: vec![link(Device::pod("eth0"), 1), link(Device::node("ens1"), 2)],
        routes: vec![KnownRoute { id: 0, route: blackhole, protocol: 4, flags: RouteFlags::default() }],
        neighbours: vec![Neighbour { device: Device::pod("eth0"), ip: "10.6.0.9".parse().unwrap(), mac: mac(9) }],
        sysctls: vec![sysctl("net/ipv4/conf/all/rp_filter", "1"), sysctl("net/ipv4/conf/eth0/rp_filter", "2")],
        ..Model::default()
    }
}

fn changes() -> Vec<Change> {
    let veth = Device::pod(POD_VETH);
    let end = Device::node("veth0123456789a");
    let rule = Rule {
        fwmark: Some(coordinator_sdk::Mark { value: 1, mask: 1 }),
        ..Rule::all(Side::Pod, Family::Ipv4, 1000, 100)
    };
    vec![
        Change::SetLink(LinkEdit { mac: Some(mac(7)), ..LinkEdit::of(Device::pod("eth0")) }),
        Change::CreateVeth(VethPair {
            pod: veth.name.clone(),
            node: end.name.clone(),
            pod_mac: mac(3),
            node_mac: mac(4),
            mtu: 1500,
        }),
        Change::AddNeighbour(Neighbour { device: veth.clone(), ip: "10.6.1.10".parse().unwrap(), mac: mac(4) }),
        Change::AddNeighbour(Neighbour { device: end.clone(), ip: "10.6.0.7".parse().unwrap(), mac: mac(3) }),
        Change::AddRule(Rule::all(Side::Node, Family::Ipv4, 1000, 500)),
        Change::AddRoute(Route::direct(Side::Node, 500, "10.6.0.7/32".parse().unwrap(), &end.name)),
        Change::AddRoute(Route::direct(Side::Pod, 254, "10.6.1.10/32".parse().unwrap(), POD_VETH)),
        Change::AddRule(rule),
        Change::MarkReplies(ReplyMark { device: veth, bit: 0, table: 100 }),
        Change::SetSysctl(sysctl("net/ipv4/conf/all/rp_filter", "0")),
        Change::SetSysctl(sysctl("net/ipv4/conf/eth0/rp_filter", "0")),
        Change::SetSysctl(sysctl("net/ipv4/conf/veth0/rp_filter", "0")),
    ]
}

fn project(changes: &[Change]) -> Projection {
    let mut projection = Projection::new(Facts { model: observed(), ..Facts::default() });
    let mut decision = Decision::default();
    for change in changes {
        decision.push(change.clone(), "a test asks for it");
    }
    projection.project("test", decision).unwrap();
    projection
}

#[test]
fn the_plan_is_in_kernel_order() {
    let plan = project(&changes()).plan();
    let at = |is: &dyn Fn(&Edit) -> bool| plan.edits.iter().position(|planned| is(&planned.edit)).unwrap();
    let removal = at(&|edit| matches!(edit, Edit::RemoveRoute(_)));
    let veth = at(&|edit| matches!(edit, Edit::CreateVeth { .. }));
    let sysctl = at(&|edit| matches!(edit, Edit::SetSysctl { .. }));
    let pod_route = at(&|edit| matches!(edit, Edit::AddRoute(known) if known.route.side == Side::Pod));
    let mark = at(&|edit| matches!(edit, Edit::MarkReplies(_)));
    let node_route = at(&|edit| matches!(edit, Edit::AddRoute(known) if known.route.side == Side::Node));
    assert!(removal < veth && veth < sysctl && sysctl < pod_route && pod_route < mark && mark < node_route);
}

#[test]
fn a_mac_change_plans_the_neighbours_that_the_kernel_flushes() {
    let plan = project(&changes()).plan();
    let again = plan.edits.iter().find(
        |planned| matches!(&planned.edit, Edit::AddNeighbour { entry, .. } if entry.device == Device::pod("eth0")),
    );
    assert_eq!(again.unwrap().stage, "projection");
}

#[test]
fn nothing_is_planned_twice() {
    let done = project(&changes());
    let mut again = Projection::new(Facts { model: done.facts().model.clone(), ..Facts::default() });
    let mut decision = Decision::default();
    changes().into_iter().for_each(|change| decision.push(change, "once more"));
    again.project("test", decision).unwrap();
    assert_eq!(again.plan().edits, []);
}

#[test]
fn a_foreign_route_of_the_pod_is_never_taken_over() {
    let mut facts = Facts { model: observed(), ..Facts::default() };
    let foreign = Route::direct(Side::Pod, 254, "10.96.0.0/16".parse().unwrap(), "eth0");
    let ours = Route::direct(Side::Pod, 254, "10.96.0.0/16".parse().unwrap(), "eth9");
    facts.model.links.push(link(Device::pod("eth9"), 8));
    facts.model.routes.push(KnownRoute { id: 1, route: foreign, protocol: 4, flags: RouteFlags::default() });
    let mut projection = Projection::new(facts);
    let decision = Decision::default().propose(Change::AddRoute(ours), "a test asks for it");
    let error = projection.project("test", decision).unwrap_err();
    assert!(error.to_string().contains("10.96.0.0/16 dev eth0"), "{error}");
}

#[test]
fn a_shared_rule_of_somebody_else_is_not_ours_to_remove() {
    let mut before = observed();
    let rule = Rule::all(Side::Node, Family::Ipv4, 1000, 500);
    before.rules.push(KnownRule { rule: rule.clone(), protocol: 0 });
    let mut now = before.clone();
    now.rules.push(KnownRule { rule: rule.clone(), protocol: PROTOCOL });
    now.restore(&before, &BTreeSet::from([Key::Rule(rule)]));
    assert_eq!(now, before);
}

proptest! {
    /// Whatever part of the changes is asked for, bringing the touched objects back is the whole undo.
    #[test]
    fn every_plan_can_be_taken_back(chosen in proptest::collection::vec(any::<bool>(), 12)) {
        let mut asked: Vec<Change> = changes();
        // The veth pair carries most of the others.
        let mut at = 0;
        asked.retain(|change| {
            at += 1;
            chosen[at - 1] || matches!(change, Change::CreateVeth(_))
        });
        let projection = project(&asked);
        let wanted = &projection.facts().model;
        let touched = projection.touched();
        let mut back = wanted.clone();
        back.restore(projection.observed(), &touched);
        prop_assert_eq!(diff(&back, projection.observed()), Vec::new());
        // The record holds only what was touched, and is enough to take it back.
        let after = wanted.restricted(&touched);
        let mut wanted_back = after.clone();
        wanted_back.restore(&projection.observed().restricted(&touched), &touched);
        let undo = diff(&after, &wanted_back);
        prop_assert_eq!(undo.len(), diff(wanted, &back).len());
    }
}
