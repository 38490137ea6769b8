use coordinator_sdk::{
    Address, AddressEdit, AddressFlags, Family, KnownRoute, Link, LinkEdit, LinkFlags, Neighbour, OnFinding,
    OtherAttachment, ReplyMark, Route, RouteFlags, RouteMove, Rule, Source, Sysctl, VethPair,
};
use serde_json::json;

use super::*;

/// `net1` is attached, with one address; `net2` is another attachment's, with table 102 and a default route.
fn facts() -> Facts {
    let mut facts = Facts::default();
    facts.request.container = "0123456789abcdef".parse().unwrap();
    facts.request.interface = "net1".parse().unwrap();
    let attached =
        Link { flags: LinkFlags { attached: true, ..LinkFlags::default() }, ..Link::named(Device::pod("net1")) };
    let other = Link { table: Some(102), ..Link::named(Device::pod("net2")) };
    facts.model.links = vec![Link::named(Device::pod("eth0")), attached, other];
    facts.model.addresses.push(Address {
        device: Device::pod("net1"),
        prefix: "10.7.2.5/24".parse().unwrap(),
        gateway: None,
        flags: AddressFlags { from_result: true, ..AddressFlags::default() },
    });
    for (id, name) in [(0, "net1"), (1, "net2")] {
        let route = Route::direct(Side::Pod, 254, "0.0.0.0/0".parse().unwrap(), name);
        facts.model.routes.push(KnownRoute { id, route, protocol: 3, flags: RouteFlags::default() });
    }
    facts.others.push(OtherAttachment {
        interface: "net3".parse().unwrap(),
        network: "n".to_owned(),
        table: Some(103),
    });
    facts
}

fn mac(text: &str) -> Mac {
    text.parse().unwrap()
}

fn route(table: u32, to: &str, device: &str) -> Route {
    Route::direct(Side::Pod, table, to.parse().unwrap(), device)
}

fn rule(priority: u32, table: u32) -> Rule {
    Rule { sources: Some("10.7.2.5/32".parse().unwrap()), ..Rule::all(Side::Pod, Family::Ipv4, priority, table) }
}

fn sysctl(side: Side, key: &str, value: &str) -> Change {
    Change::SetSysctl(Sysctl { side, key: key.to_owned(), value: value.to_owned() })
}

fn veth(node: &str, pod_mac: &str) -> Change {
    let (pod_mac, node_mac) = (mac(pod_mac), mac("02:00:00:00:00:02"));
    Change::CreateVeth(VethPair { pod: "veth0".to_owned(), node: node.to_owned(), pod_mac, node_mac, mtu: 1500 })
}

fn probe(device: &str, kind: ProbeKind, target: &str, retries: u32) -> Change {
    Change::SetProbe(Probe {
        kind,
        device: Device::pod(device),
        target: target.parse().unwrap(),
        retries,
        interval_ms: 10,
        timeout_ms: 100,
        on_finding: OnFinding::Refuse,
    })
}

fn link(device: Device) -> LinkEdit {
    LinkEdit::of(device)
}

fn setting(name: &str, value: serde_json::Value) -> Change {
    Change::SetSetting(Setting { name: name.to_owned(), value: value.into(), source: Source::Builtin })
}

fn neighbour(device: Device, ip: &str, hardware: &str) -> Change {
    Change::AddNeighbour(Neighbour { device, ip: ip.parse().unwrap(), mac: mac(hardware) })
}

fn address(device: &str, prefix: &str) -> Change {
    Change::AddAddress(AddressEdit { device: Device::pod(device), prefix: prefix.parse().unwrap() })
}

/// With every kind granted, so that only the change itself counts.
fn checked(change: &Change) -> Result<(), WrongProposal> {
    let facts = facts();
    Checker::new(&facts, &[change.grant()]).check(3, change)
}

#[test]
fn what_concerns_this_attachment_passes() {
    let node_end = "veth0123456789a";
    let good = [
        veth(node_end, "02:00:00:00:00:01"),
        Change::SetLink(LinkEdit { mac: Some(mac("0a:00:00:00:00:01")), ..link(Device::pod("net1")) }),
        address("net1", "10.9.0.1/24"),
        Change::AddRoute(route(101, "10.50.0.0/16", "net1")),
        Change::AddRoute(route(254, "0.0.0.0/0", "net1")),
        Change::AddRoute(Route { side: Side::Node, table: 500, ..route(500, "10.7.2.5/32", node_end) }),
        Change::MoveRoute(RouteMove { id: 0, table: 101 }),
        Change::RemoveRoute(0),
        Change::AddRule(rule(1001, 101)),
        Change::AddRule(rule(1999, 5000)),
        Change::AddRule(Rule::all(Side::Node, Family::Ipv6, 1000, 500)),
        neighbour(Device::pod("net1"), "10.7.2.9", "02:00:00:00:00:09"),
        neighbour(Device::node(node_end), "10.7.2.5", "02:00:00:00:00:09"),
        sysctl(Side::Pod, "net/ipv4/conf/net1/arp_ignore", "1"),
        sysctl(Side::Pod, "net/ipv4/conf/all/arp_ignore", "1"),
        sysctl(Side::Pod, "net/ipv4/ip_unprivileged_port_start", "0"),
        Change::MarkReplies(ReplyMark { device: Device::pod("veth0"), bit: 0, table: 100 }),
        setting("podMACPrefix", json!("0a:1b")),
        probe("net1", ProbeKind::Address, "10.7.2.5", 5),
        probe("net1", ProbeKind::Gateway, "10.7.0.1", 5),
    ];
    for change in good {
        assert_eq!(checked(&change), Ok(()), "{change:?}");
    }
}

#[test]
fn what_concerns_anything_else_is_refused_and_named() {
    let bad = [
        (veth("eth0", "02:00:00:00:00:01"), "eth0"),
        (veth("veth0123456789a", "01:00:5e:00:00:01"), "01:00:5e:00:00:01"),
        (Change::DeleteLink(Device::pod("eth0")), "pod/eth0"),
        (Change::DeleteLink(Device::pod("net1")), "pod/net1"),
        (Change::DeleteLink(Device::node("ens1")), "node/ens1"),
        (Change::SetLink(LinkEdit { mac: Some(mac("ff:ff:ff:ff:ff:ff")), ..link(Device::pod("net1")) }), "ff:ff"),
        (Change::SetLink(LinkEdit { mac: Some(mac("00:00:00:00:00:00")), ..link(Device::pod("net1")) }), "00:00"),
        (Change::SetLink(LinkEdit { mtu: Some(10), ..link(Device::pod("net1")) }), "mtu 10"),
        (Change::SetLink(LinkEdit { up: Some(false), ..link(Device::node("ens1")) }), "node/ens1"),
        (address("net2", "10.9.0.1/24"), "pod/net2"),
        (address("net1", "224.0.0.1/24"), "multicast"),
        (address("net1", "10.9.0.1/0"), "prefix length 0"),
        (address("net1", "127.0.0.1/8"), "loopback"),
        (Change::AddRoute(route(101, "10.50.0.0/16", "net2")), "pod/net2"),
        (Change::AddRoute(route(255, "10.50.0.0/16", "net1")), "table 255"),
        (Change::AddRoute(route(253, "10.50.0.0/16", "net1")), "table 253"),
        (Change::AddRoute(route(102, "10.50.0.0/16", "net1")), "another interface's"),
        (Change::AddRoute(route(103, "10.50.0.0/16", "net1")), "another interface's"),
        (Change::AddRoute(route(7, "10.50.0.0/16", "net1")), "begin with 100"),
        (Change::AddRoute(route(101, "224.0.0.0/4", "net1")), "multicast"),
        (Change::AddRoute(Route { next_hops: Vec::new(), ..route(101, "10.0.0.0/8", "") }), "next hops 0"),
        (Change::AddRoute(Route { mtu: Some(1), ..route(101, "10.0.0.0/8", "net1") }), "mtu 1"),
        (Change::AddRoute(Route { source: "10.9.9.9".parse().ok(), ..route(101, "10.0.0.0/8", "net1") }), "source"),
        (
            Change::AddRoute(Route { side: Side::Node, ..route(500, "0.0.0.0/0", "veth0123456789a") }),
            "only this attachment's addresses",
        ),
        (Change::AddRoute(Route { side: Side::Node, ..route(254, "10.7.2.5/32", "veth0123456789a") }), "hostRuleTable"),
        (Change::AddRoute(Route { side: Side::Node, ..route(500, "10.7.2.5/32", "ens1") }), "node/ens1"),
        (Change::MoveRoute(RouteMove { id: 1, table: 101 }), "pod/net2"),
        (Change::MoveRoute(RouteMove { id: 9, table: 101 }), "route 9"),
        (Change::MoveRoute(RouteMove { id: 0, table: 254 }), "table 254"),
        (Change::RemoveRoute(1), "pod/net2"),
        (Change::AddRule(rule(1000, 101)), "priority 1000"),
        (Change::AddRule(rule(0, 101)), "priority 0"),
        (Change::AddRule(rule(32766, 101)), "priority 32766"),
        (Change::AddRule(rule(1001, 255)), "table 255"),
        (Change::AddRule(rule(1001, 254)), "table 254"),
        (Change::AddRule(Rule { incoming: Some("a/b".to_owned()), ..rule(1001, 101) }), "a/b"),
        (Change::AddRule(Rule::all(Side::Node, Family::Ipv4, 1001, 500)), "priority 1001"),
        (Change::AddRule(Rule::all(Side::Node, Family::Ipv4, 1000, 254)), "hostRuleTable"),
        (neighbour(Device::pod("net1"), "10.7.2.9", "01:00:00:00:00:09"), "01:00:00"),
        (neighbour(Device::pod("eth0"), "10.7.2.9", "02:00:00:00:00:09"), "pod/eth0"),
        (neighbour(Device::node("veth0123456789a"), "10.7.2.9", "02:00:00:00:00:09"), "only this attachment's"),
        (sysctl(Side::Pod, "kernel/core_pattern", "x"), "kernel/core_pattern"),
        (sysctl(Side::Pod, "net/../kernel/core_pattern", "x"), "no path"),
        (sysctl(Side::Pod, "net/ipv4/conf/net2/rp_filter", "0"), "pod/net2"),
        (sysctl(Side::Pod, "net/ipv6/conf/all/disable_ipv6", "1"), "single interfaces"),
        (sysctl(Side::Node, "net/ipv4/ip_forward", "0"), "ip_forward"),
        (sysctl(Side::Node, "net/ipv4/conf/all/rp_filter", "0"), "node"),
        (sysctl(Side::Pod, "net/ipv4/ip_forward", "0\n1"), "control"),
        (Change::MarkReplies(ReplyMark { device: Device::pod("veth0"), bit: 32, table: 100 }), "bit 32"),
        (setting("pipeline", json!("other")), "pipeline"),
        (setting("logOptions", json!({})), "logOptions"),
        (probe("net2", ProbeKind::Address, "10.7.2.5", 5), "pod/net2"),
        (probe("net1", ProbeKind::Address, "10.7.2.6", 5), "10.7.2.6"),
        (probe("net1", ProbeKind::Gateway, "224.0.0.1", 5), "multicast"),
        (probe("net1", ProbeKind::Gateway, "10.7.0.1", 101), "retries 101"),
    ];
    for (change, named) in bad {
        let wrong = checked(&change).expect_err(&format!("{change:?}"));
        assert!(wrong.to_string().contains(named), "{wrong}: {named}");
        assert!(wrong.to_string().starts_with("proposal 3 ("), "{wrong}");
    }
}

#[test]
fn only_the_granted_kind_passes() {
    let facts = facts();
    let grants = ["pod.route".to_owned(), "setting.podMACPrefix".to_owned()];
    let checker = Checker::new(&facts, &grants);
    assert_eq!(checker.check(0, &Change::AddRoute(route(101, "10.50.0.0/16", "net1"))), Ok(()));
    assert_eq!(checker.check(0, &setting("podMACPrefix", json!("0a:1b"))), Ok(()));
    for change in [Change::AddRule(rule(1001, 101)), setting("mode", json!("disable"))] {
        let wrong = checker.check(1, &change).unwrap_err();
        assert_eq!(wrong.problem, Problem::NotGranted);
        assert!(wrong.remedy("rails").contains(&change.grant()), "{}", wrong.remedy("rails"));
    }
}

#[test]
fn texts_are_cut_and_cleaned() {
    let mut decision = coordinator_sdk::Decision::default();
    decision.push(Change::RemoveRoute(0), "x\n".repeat(100_000));
    decision.warnings = vec!["a\tb".to_owned(); 1000];
    clean(&mut decision);
    assert!(decision.proposals[0].why.len() < TEXT_BYTES + 10 && !decision.proposals[0].why.contains('\n'));
    assert_eq!((decision.warnings.len(), decision.warnings[0].as_str()), (MOST_WARNINGS, "a b"));
}
