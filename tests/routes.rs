//! Routes of every shape, moved out of `main` and back: nothing of them is lost on the way.

use anyhow::{Context as _, Result};
use coordinator_lab::{Families, Lab, Network, Pod, difference, run};
use serde_json::{Value, json};

/// A Pod with `eth0` attached and `net1` there, without a default route.
fn prepared(lab: &Lab) -> Result<(Pod, Network, Value)> {
    let pod = lab.pod("p1")?;
    pod.attach("eth0", &lab.network(1, 20, Families::Dual), &lab.cluster())?;
    let network = Network { has_routes: false, ..lab.network(2, 21, Families::Dual) };
    let result = pod.attach_without_us("net1", &network)?;
    Ok((pod, network, result))
}

/// The lines of a table, both families.
fn table(pod: &Pod, number: &str) -> Result<String> {
    let mut lines = Vec::new();
    for family in ["-4", "-6"] {
        let all = pod.host.run("ip", &[family, "-N", "-details", "-oneline", "route", "show", "table", "all"])?;
        let is_in = |line: &&str| match line.split(" table ").nth(1).and_then(|rest| rest.split(' ').next()) {
            Some(table) => table == number,
            None => number == "254",
        };
        lines.extend(all.lines().filter(is_in).map(|line| line.replace(&format!(" table {number} "), " ")));
    }
    Ok(lines.join("\n"))
}

/// Attaches `net1`, looks for what its table must say, attaches once more, and detaches.
fn moves(routes: &'static [&'static str], expected: &'static [&'static str]) {
    run(move |lab| {
        let (pod, network, result) = prepared(lab)?;
        pod.host.ip(routes)?;
        let before = pod.host.snapshot()?;
        pod.add("net1", &network, &lab.cluster(), &result)?;
        let moved = table(&pod, "101")?;
        for part in expected {
            assert!(moved.contains(part), "{part}:\n{moved}");
        }
        let main = table(&pod, "254")?;
        let left: Vec<&str> = main.lines().filter(|line| line.contains("default") && line.contains("net1")).collect();
        assert_eq!(left, [""; 0], "{main}");
        let once = pod.host.snapshot()?;
        pod.add("net1", &network, &lab.cluster(), &result)?;
        assert_eq!(difference(&once, &pod.host.snapshot()?), [""; 0], "a repeated ADD");
        pod.del("net1", &network, &lab.cluster())?;
        assert_eq!(difference(&before, &pod.host.snapshot()?), [""; 0], "after DEL");
        Ok(())
    });
}

#[test]
fn metrics_mtu_advmss_windows_and_sources_stay() {
    moves(
        &[
            "route add default via 10.7.0.1 dev net1 metric 50 mtu 1400 advmss 1300 initcwnd 20 src 10.7.2.21",
            "route add 198.51.100.0/24 via 10.7.0.1 dev net1 metric 7 advmss 1200",
            "-6 route add default via fd00:10:7::1 dev net1 metric 50 mtu 1420 advmss 1280 hoplimit 77",
        ],
        &[
            "metric 50",
            "mtu 1400",
            "advmss 1300",
            "initcwnd 20",
            "src 10.7.2.21",
            "advmss 1200",
            "mtu 1420",
            "advmss 1280",
            "hoplimit 77",
        ],
    );
}

#[test]
fn a_route_to_a_router_off_the_subnet_stays_onlink() {
    moves(
        &[
            "route add default via 192.0.2.77 dev net1 onlink metric 60",
            "-6 route add default via 2001:db8:77::1 dev net1 onlink metric 60",
        ],
        &["via 192.0.2.77 dev net1", "via 2001:db8:77::1 dev net1", "onlink"],
    );
}

#[test]
fn weights_of_several_next_hops_stay() {
    moves(
        &[
            "route add default metric 60 nexthop via 10.7.0.1 dev net1 weight 3 nexthop via 10.7.0.2 dev net1 weight 1",
            "-6 route add default metric 60 nexthop via fd00:10:7::1 dev net1 weight 3 nexthop via fd00:10:7::2 dev net1 weight 1",
        ],
        &[
            "nexthop via 10.7.0.1 dev net1 weight 3",
            "nexthop via 10.7.0.2 dev net1 weight 1",
            "nexthop via fd00:10:7::1 dev net1 weight 3",
            "nexthop via fd00:10:7::2 dev net1 weight 1",
        ],
    );
}

#[test]
fn a_nexthop_object_stays_an_object() {
    moves(
        &[
            "nexthop add id 10 via 10.7.0.1 dev net1",
            "nexthop add id 11 via fd00:10:7::1 dev net1",
            "route add default nhid 10 metric 60",
            "-6 route add default nhid 11 metric 60",
        ],
        &["nhid 10", "nhid 11"],
    );
}

#[test]
fn of_an_ipv6_route_by_several_interfaces_each_moves_its_next_hop() {
    run(|lab| {
        let (pod, network, result) = prepared(lab)?;
        // One key, two interfaces: the kernel shows it as one multipath route.
        pod.host.ip(&["-6 route append default via fd00:10:7::1 dev net1"])?;
        let before = pod.host.snapshot()?;
        assert!(table(&pod, "254")?.contains("nexthop via fd00:10:7::1 dev net1"));
        pod.add("net1", &network, &lab.cluster(), &result)?;
        assert!(table(&pod, "101")?.contains("default via fd00:10:7::1 dev net1"));
        let main = table(&pod, "254")?;
        assert!(main.contains("default via fd00:10:6::1 dev eth0") && !main.contains("via fd00:10:7::1"), "{main}");
        lab.all_is_well(&pod)?;
        pod.del("net1", &network, &lab.cluster())?;
        // The hop does not return, to share `eth0`'s packets; all else is as it was.
        pod.host.ip(&["-6 route append default via fd00:10:7::1 dev net1"])?;
        assert_eq!(difference(&before, &pod.host.snapshot()?), [""; 0]);
        Ok(())
    });
}

#[test]
fn a_default_by_router_advertisement_moves_and_the_next_one_does_not_bring_it_back() {
    run(|lab| {
        let (pod, network, result) = prepared(lab)?;
        pod.host.sysctl("net/ipv6/conf/net1/accept_ra", "2")?;
        let advertised = || -> Result<bool> { Ok(table(&pod, "254")?.contains("dev net1 proto 9")) };
        lab.router.advertise("lan2", "2001:db8:7::", advertised).context("the first advertisement")?;
        pod.add("net1", &network, &lab.cluster(), &result)?;
        let moved = table(&pod, "101")?;
        assert!(moved.contains("default via fe80:") && moved.contains("dev net1"), "{moved}");
        assert!(!advertised()?, "it is still in main");
        // The router says it again, and the Pod hears it: another prefix of the advertisement arrives.
        let heard = || Ok(table(&pod, "254")?.contains("2001:db8:8::/64 dev net1"));
        lab.router.advertise("lan2", "2001:db8:8::", heard).context("the second advertisement")?;
        assert!(!advertised()?, "the next advertisement brought it back");
        let log = std::fs::read_to_string("/var/log/spidernet/coordinator.log")?;
        assert!(log.contains("takes no default route from router advertisements"), "no warning");
        pod.del("net1", &network, &lab.cluster())?;
        let main = table(&pod, "254")?;
        assert!(!main.contains("nexthop"), "it shares the load with eth0's:\n{main}");
        lab.router.advertise("lan2", "2001:db8:9::", advertised).context("after DEL")?;
        let accepted = pod.host.run("sysctl", &["-n", "net.ipv6.conf.net1.accept_ra_defrtr"])?;
        assert_eq!(accepted.trim(), "1");
        Ok(())
    });
}

#[test]
fn policy_routes_go_to_the_interfaces_table_and_the_first_ones_to_main() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        let networks = [lab.network(1, 20, Families::Dual), lab.network(2, 21, Families::V4)];
        for (name, network, gateway) in [("eth0", &networks[0], "10.6.0.1"), ("net1", &networks[1], "10.7.0.1")] {
            let mut settings = lab.cluster();
            settings["policyRoutes"] = json!([
                {"dst": "10.50.0.0/16", "gw": gateway}, {"dst": "203.0.113.7", "gw": gateway},
                {"dst": "fd00:50::/64", "gw": "fd00:10:6::1"}
            ]);
            pod.attach(name, network, &settings)?;
        }
        let (main, own) = (table(&pod, "254")?, table(&pod, "101")?);
        for part in [
            "10.50.0.0/16 via 10.6.0.1 dev eth0",
            "203.0.113.7 via 10.6.0.1 dev eth0",
            "fd00:50::/64 via fd00:10:6::1 dev eth0",
        ] {
            assert!(main.contains(part), "{part}:\n{main}");
        }
        for part in ["10.50.0.0/16 via 10.7.0.1 dev net1", "203.0.113.7 via 10.7.0.1 dev net1"] {
            assert!(own.contains(part) && !main.contains(part), "{part}:\n{own}");
        }
        // net1 has no IPv6 address.
        assert!(!own.contains("fd00:50::/64"), "{own}");
        Ok(())
    });
}
