//! One source, two targets: built-in stages decide the same natively and as guests, for any facts.

use std::{
    cell::Cell,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use coordinator_core::guest::{Guest, StageFailure};
use coordinator_guests::component;
use coordinator_sdk::{
    Address, AddressFlags, Claim, Decision, Device, Facts, Family, Finding, KnownRoute, KnownRule, Link, LinkFlags,
    Mac, Mark, Mode, Neighbour, NextHop, OnFinding, OtherAttachment, Outcome, PolicyRoute, Probe, ProbeKind, Refusal,
    ReplyMark, Route, RouteFlags, RouteKind, RpFilter, Rule, Side, Source, Sysctl,
};
use coordinator_stages::decide;
use ipnet::IpNet;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

/// How many facts each stage is asked about.
const CASES: u32 = 1000;

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (1_u8..223, any::<u8>(), any::<u8>(), 1_u8..255)
            .prop_filter("others can talk to it", |(a, b, ..)| *a != 127 && (*a, *b) != (169, 254))
            .prop_map(|(a, b, c, d)| IpAddr::from(Ipv4Addr::new(a, b, c, d))),
        any::<[u16; 4]>().prop_map(|[a, b, c, d]| IpAddr::from(Ipv6Addr::new(0xfd00, a, b, 0, 0, 0, c, d))),
    ]
}

fn prefix() -> impl Strategy<Value = IpNet> {
    (ip(), 8_u8..=32).prop_map(|(ip, length)| IpNet::new(ip, length).unwrap())
}

fn name(side: Side) -> impl Strategy<Value = String> {
    let names: &'static [&'static str] = match side {
        Side::Pod => &["eth0", "net1", "veth0", "lo"],
        Side::Node => &["ens1", "ens2", "docker0", "cali1", "veth0123456789a"],
    };
    prop::sample::select(names).prop_map(str::to_owned)
}

fn device() -> impl Strategy<Value = Device> {
    prop_oneof![name(Side::Pod).prop_map(Device::pod), name(Side::Node).prop_map(Device::node)]
}

fn mac() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_map(Mac)
}

fn flags<const N: usize>() -> impl Strategy<Value = [bool; N]> {
    any::<[bool; N]>()
}

fn link() -> impl Strategy<Value = Link> {
    let names = prop::option::of("[a-z]{1,8}");
    // 109 is the other attachment's: no node has two interfaces with one table.
    let table = prop::option::of(110_u32..253);
    let numbers = (68_u32..9000, any::<u32>(), prop::option::of(any::<u32>()), table);
    let kind = prop::sample::select(vec!["", "macvlan", "ipvlan", "veth"]);
    (device(), prop::option::of(mac()), names.clone(), names, numbers, flags::<6>(), kind).prop_map(
        |(
            device,
            mac,
            peer,
            alias,
            (mtu, transmit_queue, numa, table),
            [up, carrier, noarp, attached, first, ours],
            kind,
        )| {
            Link {
                kind: kind.to_owned(),
                mac,
                permanent_mac: mac,
                mtu,
                transmit_queue,
                numa,
                table,
                parent: peer.clone(),
                driver: alias.clone(),
                pci: peer.clone(),
                rdma: alias.clone(),
                peer,
                alias,
                flags: LinkFlags { up, carrier, noarp, attached, first, ours },
                ..Link::named(device)
            }
        },
    )
}

fn address() -> impl Strategy<Value = Address> {
    (device(), prefix(), prop::option::of(ip()), flags::<7>()).prop_map(|(device, prefix, gateway, flags)| {
        let [tentative, dad_failed, deprecated, dynamic, temporary, from_result, route_source] = flags;
        let flags = AddressFlags { tentative, dad_failed, deprecated, dynamic, temporary, from_result, route_source };
        Address { device, prefix, gateway, flags }
    })
}

fn route() -> impl Strategy<Value = Route> {
    let side = prop::sample::select(vec![Side::Pod, Side::Node]);
    let kinds = vec![
        RouteKind::Unicast,
        RouteKind::Unicast,
        RouteKind::Blackhole,
        RouteKind::Unreachable,
        RouteKind::Prohibit,
        RouteKind::Throw,
    ];
    let hop = (prop::option::of(ip()), prop::option::of(name(Side::Pod)), 1_u16..10, any::<bool>())
        .prop_map(|(gateway, device, weight, onlink)| NextHop { gateway, device, weight, onlink });
    let table = prop::sample::select(vec![100_u32, 101, 254, 500]);
    let to = prop_oneof![prefix(), Just(Family::Ipv4.default_prefix()), Just(Family::Ipv6.default_prefix())];
    let numbers = (prop::option::of(0_u32..2000), prop::option::of(68_u32..9000), any::<bool>());
    (side, table, to, prop::sample::select(kinds), numbers, prop::option::of(ip()), prop::collection::vec(hop, 0..3))
        .prop_map(|(side, table, to, kind, (metric, mtu, link_scope), source, next_hops)| Route {
            side,
            table,
            to: to.trunc(),
            kind,
            metric,
            source,
            link_scope,
            mtu,
            next_hops,
        })
}

fn known_route() -> impl Strategy<Value = KnownRoute> {
    (any::<u32>(), route(), any::<u8>(), flags::<5>()).prop_map(|(id, route, protocol, flags)| {
        let [ours, planned, from_router_advertisement, nexthop_object, connected] = flags;
        let flags = RouteFlags { ours, planned, from_router_advertisement, nexthop_object, connected };
        KnownRoute { id, route, protocol, flags }
    })
}

fn known_rule() -> impl Strategy<Value = KnownRule> {
    let mark = (any::<u32>(), any::<u32>()).prop_map(|(value, mask)| Mark { value, mask });
    let names = prop::option::of(name(Side::Pod));
    (any::<u32>(), prop::option::of(prefix()), prop::option::of(mark), names, any::<u32>(), any::<u8>()).prop_map(
        |(priority, sources, fwmark, incoming, table, protocol)| {
            let family = sources.map_or(Family::Ipv6, |prefix| Family::of(prefix.addr()));
            let rule = Rule {
                sources,
                to: sources,
                fwmark,
                outgoing: incoming.clone(),
                incoming,
                ..Rule::all(Side::Pod, family, priority, table)
            };
            KnownRule { rule, protocol }
        },
    )
}

fn probe() -> impl Strategy<Value = Probe> {
    let on_finding = prop::sample::select(vec![OnFinding::Refuse, OnFinding::Warn, OnFinding::Report]);
    (any::<bool>(), device(), ip(), any::<[u32; 3]>(), on_finding).prop_map(
        |(kind, device, target, numbers, on_finding)| {
            let kind = if kind { ProbeKind::Address } else { ProbeKind::Gateway };
            let [retries, interval_ms, timeout_ms] = numbers;
            Probe { kind, device, target, retries, interval_ms, timeout_ms, on_finding }
        },
    )
}

/// Everything that facts can hold, so that a field that is lost on the way shows itself.
fn facts() -> impl Strategy<Value = Facts> {
    let model = (
        prop::collection::vec(link(), 0..5),
        prop::collection::vec(address(), 0..8),
        prop::collection::vec(known_route(), 0..6),
        prop::collection::vec(known_rule(), 0..3),
        prop::collection::vec((device(), ip(), mac()), 0..3),
    );
    let outcomes = prop::sample::select(vec![Outcome::Free, Outcome::Conflict, Outcome::Answered, Outcome::Silent]);
    let wire = (prop::collection::vec(probe(), 0..3), prop::option::of(outcomes), prop::option::of(mac()));
    let lists = (
        prop::collection::vec(prefix(), 0..3),
        prop::collection::vec(prefix(), 0..3),
        prop::collection::vec((prefix(), ip()), 0..3),
        prop::collection::vec(ip(), 0..3),
    );
    let mode = prop::sample::select(vec![Mode::Auto, Mode::Underlay, Mode::Overlay]);
    let switches = (
        mode,
        flags::<4>(),
        prop::option::of(prop::sample::select(vec!["0a:1b", "02:ff"])),
        "[a-z\u{e4}\u{20ac}]{0,6}",
    );
    (model, wire, lists, switches).prop_map(|(model, wire, lists, switches)| {
        let mut facts = Facts::default();
        let (mut links, mut addresses, routes, rules, neighbours) = model;
        // What every Pod has, so that the stages have something to say about most of them.
        let own = |device: Device, prefix: &str| Address {
            device,
            prefix: prefix.parse().unwrap(),
            gateway: None,
            flags: AddressFlags { from_result: true, ..AddressFlags::default() },
        };
        for name in ["eth0", "net1"] {
            links.push(Link {
                kind: "macvlan".to_owned(),
                mac: Some(Mac([2, 0, 0, 0, 0, 7])),
                ..Link::named(Device::pod(name))
            });
            addresses.push(own(Device::pod(name), if name == "eth0" { "10.6.0.7/16" } else { "fd00:7::7/64" }));
        }
        addresses.push(own(Device::node("ens1"), "10.6.1.10/16"));
        (facts.model.links, facts.model.addresses, facts.model.routes, facts.model.rules) =
            (links, addresses, routes, rules);
        facts.model.neighbours =
            neighbours.into_iter().map(|(device, ip, mac)| Neighbour { device, ip, mac }).collect();
        let (probes, outcome, mac) = wire;
        let findings =
            outcome.map(|outcome| probes.iter().map(|probe| Finding { probe: probe.clone(), outcome, mac }).collect());
        (facts.probes, facts.findings) = (probes, findings);
        let (service, overlay, policy, hops) = lists;
        facts.claims = hops.iter().map(|ip| Claim { ip: *ip, container: "c-1".parse().unwrap() }).collect();
        facts.node_next_hops = hops;
        let (mode, [tunes, leaves, conflict, gateway], mac_prefix, text) = switches;
        let settings = &mut facts.settings;
        (settings.mode, settings.tune_pod_routes) = (mode, tunes);
        (settings.detect_ip_conflict, settings.detect_gateway) = (conflict, gateway);
        (settings.service_cidr, settings.overlay_pod_cidr) = (service, overlay);
        settings.policy_routes = policy
            .into_iter()
            .filter(|(dst, gw)| dst.addr().is_ipv4() == gw.is_ipv4())
            .map(|(dst, gw)| PolicyRoute { dst: dst.trunc(), gw })
            .collect();
        settings.pod_rp_filter = if leaves { RpFilter::Leave } else { RpFilter::Set(2) };
        settings.pod_mac_prefix = mac_prefix.map(|text| text.parse().unwrap());
        settings.sources = [("mode".to_owned(), Source::Stage(text.clone()))].into_iter().collect();
        facts.request.interface = if tunes { "net1" } else { "eth0" }.parse().unwrap();
        facts.request.pod_namespace = text.clone();
        facts.request.metadata = [(text.clone(), text.clone())].into_iter().collect();
        facts.request.config = serde_json::json!({"args": [text.clone(), 1, null]}).into();
        facts.extra = [(text.clone(), serde_json::json!({"x": 1.5}).into())].into_iter().collect();
        facts.others = vec![OtherAttachment { interface: "net9".parse().unwrap(), network: text, table: Some(109) }];
        facts.model.sysctls.push(Sysctl {
            side: Side::Node,
            key: "net/ipv4/ip_forward".to_owned(),
            value: "1".to_owned(),
        });
        facts.model.marks.push(ReplyMark { device: Device::pod("eth0"), bit: 3, table: 100 });
        facts
    })
}

fn both(name: &str, guest: &Guest, facts: &Facts) -> (Result<Decision, Refusal>, Result<Decision, Refusal>) {
    let native = decide::by_name(name).unwrap().decide(facts);
    let guest = guest.decide(facts).map_err(|failure| match failure {
        StageFailure::Refused(refusal) => refusal,
        StageFailure::Failed(failure) => panic!("{name}: {failure}\n{facts:#?}"),
    });
    (native, guest)
}

fn compare(name: &str) {
    let component = component("coordinator-stages-guests", &[name]).unwrap();
    let grants = ["pod.link", "pod.route"].map(str::to_owned).to_vec();
    let guest = Guest::of_component(name, &component).unwrap().grants(grants);
    let seen = [const { Cell::new(0) }; 3];
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    runner
        .run(&facts(), |facts| {
            let (native, guest) = both(name, &guest, &facts);
            match &native {
                Ok(decision) if decision.proposals.is_empty() => seen[0].update(|n| n + 1),
                Ok(_) => seen[1].update(|n| n + 1),
                Err(_) => seen[2].update(|n| n + 1),
            }
            prop_assert_eq!(native, guest);
            Ok(())
        })
        .unwrap();
    // Equal silence would prove nothing.
    assert!(seen[1].get() > CASES / 20, "{name}: {seen:?} were silent, spoke, refused");
}

#[test]
fn mac_prefix_decides_the_same_on_both_sides() {
    compare("mac-prefix");
}

#[test]
fn pod_routes_decides_the_same_on_both_sides() {
    compare("pod-routes");
}

#[test]
fn policy_routes_decides_the_same_on_both_sides() {
    compare("policy-routes");
}
