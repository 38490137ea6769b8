//! Asking the wire: what a Pod's user, and everybody else on the LAN, sees of conflicts, gateways and announcements.

use std::time::{Duration, Instant};

use coordinator_lab::{Families, Host, Network, Pod, Seen, refused, run};
use serde_json::json;

/// Longer than anything on the lab's LANs takes.
const PATIENCE: Duration = Duration::from_secs(5);
/// The addresses of the Pods of these stories.
const POD: [&str; 2] = ["10.6.2.20", "fd00:10:6::2:14"];

/// The neighbour tables of hosts, without the ages of their entries.
fn neighbours(hosts: &[&Host]) -> anyhow::Result<Vec<String>> {
    let mut all = Vec::new();
    for host in hosts {
        let table = host.run("ip", &["neighbour", "show", "nud", "all"])?;
        let mut lines: Vec<String> = table
            .lines()
            .filter(|line| line.contains("lladdr") && !line.contains("PERMANENT") && !line.contains("NOARP"))
            .map(|line| format!("{}: {}", host.name, line.rsplit_once(' ').map_or(line, |(entry, _)| entry)))
            .collect();
        lines.sort();
        all.extend(lines);
    }
    Ok(all)
}

#[test]
fn all_is_well_when_all_is_well() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        pod.attach("eth0", &lab.underlay(20, Families::Dual), &lab.asking(json!({})))?;
        lab.all_is_well(&pod)?;
        Ok(())
    });
}

#[test]
fn an_address_that_another_host_uses_is_refused_and_nothing_is_changed_anywhere() {
    run(|lab| {
        for (at, families) in [Families::V4, Families::V6, Families::Dual].into_iter().enumerate() {
            let taken: Vec<String> = match families {
                Families::V4 => vec![format!("{}/16", POD[0])],
                Families::V6 => vec![format!("{}/64", POD[1])],
                Families::Dual => vec![format!("{}/16", POD[0]), format!("{}/64", POD[1])],
            };
            let taken: Vec<&str> = taken.iter().map(String::as_str).collect();
            let other = lab.neighbour(&format!("other{at}"), 1, &taken)?;
            let third = lab.neighbour(&format!("third{at}"), 1, &["10.6.2.77/16", "fd00:10:6::77/64"])?;
            let pod = lab.pod(&format!("p{at}"))?;
            let network = lab.underlay(20, Families::Dual);
            let result = pod.attach_without_us("eth0", &network)?;
            // Who has it is remembered, though the macvlan plugin tells everybody that its Pod has.
            let mac = other.mac("eth0")?;
            for ip in &taken {
                let ip = ip.split('/').next().unwrap_or_default();
                third.ip(&[&format!("neighbour replace {ip} lladdr {mac} dev eth0 nud reachable")])?;
            }
            let hosts = [&lab.router, &other, &third, &lab.outside];
            let (before, remembered) = (lab.both(&pod)?, neighbours(&hosts)?);

            // The hardware address that policy wants would be set after the check only.
            let settings = lab.asking(json!({"podMACPrefix": "0a:1b"}));
            let error = refused(pod.add("eth0", &network, &settings, &result), 101)?;
            let message = error["msg"].as_str().unwrap_or_default();
            for ip in &taken {
                let ip = ip.split('/').next().unwrap_or_default();
                let expected = format!("address {ip} on eth0 is used by another host, MAC {mac}");
                assert!(message.contains(&expected), "{message}");
            }
            lab.is_as_before(&pod, &before)?;
            assert_eq!(neighbours(&hosts)?, remembered);
            assert!(!std::path::Path::new("/run/coordinator").join(&pod.container).exists());
            let known = remembered.iter().filter(|line| line.contains("third") && line.contains(&mac));
            assert_eq!(known.count(), taken.len(), "{remembered:?}");
            pod.host.ip(&["link set eth0 down"])?;
            other.ip(&["link set eth0 down"])?;
        }
        Ok(())
    });
}

/// The link-local address goes, and no new one comes: nothing waits for one.
fn without_link_local(pod: &Pod) -> anyhow::Result<()> {
    pod.host.ip(&["link set eth0 addrgenmode none", "-6 address flush dev eth0 scope link"])
}

#[test]
fn two_pods_that_race_on_two_nodes_do_not_both_win() {
    run(|lab| {
        let second_node = lab.neighbour("node2", 1, &["10.6.1.11/16", "fd00:10:6::111/64"])?;
        let first_node = &lab.node;
        for families in [Families::V4, Families::V6] {
            let name = |number| format!("p{number}{}", if families == Families::V4 { "v4" } else { "v6" });
            let (first, second) = (lab.pod(&name(1))?, lab.pod(&name(2))?);
            let near = Network { parent: "ens1".to_owned(), ..lab.underlay(20, families) };
            let far = Network { parent: "eth0".to_owned(), ..near.clone() };
            let results = [
                first.make_interface(first_node, "macvlan mode bridge", "eth0", &near)?,
                second.make_interface(&second_node, "macvlan mode bridge", "eth0", &far)?,
            ];
            // Neither kernel answers for its address: all that either can notice is that the other one asks, too.
            for pod in [&first, &second] {
                pod.host.sysctl("net/ipv4/conf/eth0/arp_ignore", "8")?;
                let quiet = "table ip6 quiet { chain out { type filter hook output priority 0; \
                             icmpv6 type nd-neighbor-advert drop; }; }";
                pod.host.run_with("nft", &["-f", "-"], quiet)?;
            }
            let mut settings = lab.cluster();
            settings["detectIPConflict"] = json!(true);
            // Longer than the two may begin apart.
            settings["detectOptions"] = json!({"retries": 20, "interval": "50ms"});
            let calls = [
                first.begin_add(first_node, &[], "eth0", &near, &settings, &results[0])?,
                second.begin_add(&second_node, &[], "eth0", &far, &settings, &results[1])?,
            ];
            let outcomes = calls.map(|call| call.end());
            let mut losers = 0;
            // Whoever hears the other one stops asking, so the other one may have it.
            for ((node, pod), outcome) in [(first_node, &first), (&second_node, &second)].into_iter().zip(outcomes) {
                let has_pair = node.run("ip", &["link"])?.contains(&format!(": veth{}", pod.host.name));
                assert_eq!(has_pair, outcome.is_ok());
                if outcome.is_err() {
                    losers += 1;
                    refused(outcome, 101)?;
                }
                pod.host.ip(&["link del eth0"])?;
            }
            assert!(losers > 0, "both have it");
        }
        Ok(())
    });
}

#[test]
fn a_gateway_that_is_dead_is_refused_in_each_family() {
    run(|lab| {
        let (pod, network, result) = lab.unserved_pod(Families::Dual)?;
        let before = lab.both(&pod)?;
        let gateways = ["10.6.0.1", "fd00:10:6::1"];
        for (dead, alive) in [(0, 1), (1, 0)] {
            let prefix = ["16", "64"][dead];
            lab.router.ip(&[&format!("address del {}/{prefix} dev lan1", gateways[dead])])?;
            let error = refused(pod.add("eth0", &network, &lab.asking(json!({})), &result), 102)?;
            let message = error["msg"].as_str().unwrap_or_default();
            assert!(message.contains(&format!("gateway {} does not answer on eth0", gateways[dead])), "{message}");
            assert!(!message.contains(gateways[alive]), "{message}");
            lab.is_as_before(&pod, &before)?;
            let nodad = ["", " nodad"][dead];
            lab.router.ip(&[&format!("address add {}/{prefix} dev lan1{nodad}", gateways[dead])])?;
        }
        pod.add("eth0", &network, &lab.asking(json!({})), &result)?;
        Ok(())
    });
}

#[test]
fn a_further_interfaces_gateway_is_asked_though_its_route_moves_to_a_table() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        let settings = lab.asking(json!({}));
        pod.attach("eth0", &lab.underlay(20, Families::Dual), &settings)?;
        let network = lab.network(2, 30, Families::Dual);
        let result = pod.attach_without_us("net1", &network)?;
        lab.router.ip(&["address del 10.7.0.1/16 dev lan2"])?;
        // Asked for again, when the route is in its table already, too.
        for _ in 0..2 {
            let error = refused(pod.add("net1", &network, &settings, &result), 102)?;
            let message = error["msg"].as_str().unwrap_or_default();
            assert!(message.contains("gateway 10.7.0.1 does not answer on net1"), "{message}");
            assert!(!message.contains("fd00") && !message.contains("10.6"), "{message}");
            pod.add("net1", &network, &lab.cluster(), &result)?;
        }
        Ok(())
    });
}

/// A gateway that answers nobody without an address is asked with the Pod's, when that is free.
#[test]
fn a_gateway_that_ignores_askers_without_an_address_is_found() {
    run(|lab| {
        let (pod, network, result) = lab.unserved_pod(Families::V4)?;
        let deaf = "table arp deaf { chain in { type filter hook input priority 0; arp saddr ip 0.0.0.0 drop; }; }";
        lab.router.run_with("nft", &["-f", "-"], deaf)?;
        let mut settings = lab.asking(json!({}));
        pod.add("eth0", &network, &settings, &result)?;
        pod.del("eth0", &network, &settings)?;
        // Without a check of the address nobody knows whether it may be used to ask.
        settings["detectIPConflict"] = json!(false);
        refused(pod.add("eth0", &network, &settings, &result), 102)?;
        Ok(())
    });
}

#[test]
fn a_tentative_address_is_checked_without_waiting_for_a_link_local_one() {
    run(|lab| {
        let (pod, network, result) = lab.unserved_pod(Families::V6)?;
        pod.host.sysctl("net/ipv6/conf/eth0/accept_dad", "1")?;
        // Detection takes longer than this test.
        pod.host.sysctl("net/ipv6/conf/eth0/dad_transmits", "100")?;
        without_link_local(&pod)?;
        pod.host.ip(&["-6 address del fd00:10:6::2:14/64 dev eth0", "-6 address add fd00:10:6::2:14/64 dev eth0"])?;
        pod.host.ip(&["-6 route replace default via fd00:10:6::1 dev eth0"])?;
        let is_tentative = || -> anyhow::Result<bool> {
            Ok(pod.host.run("ip", &["-6", "address", "show", "dev", "eth0"])?.contains("tentative"))
        };
        assert!(is_tentative()?);
        let capture = pod.host.capture("eth0")?;
        let begun = Instant::now();
        pod.add("eth0", &network, &lab.asking(json!({})), &result)?;
        let took = begun.elapsed();
        assert!(is_tentative()?, "the test lost its subject");
        assert!(took < Duration::from_secs(3), "{took:?}");
        let seen = capture.end()?;
        // It was found free, so it is told, though the kernel has not ended its own check.
        let is_told = |it: &Seen| it.says(&["advertisement of fd00:10:6::2:14, flags override"]);
        assert!(seen.iter().any(is_told), "{seen:#?}");
        pod.del("eth0", &network, &lab.asking(json!({})))?;

        // Another host's is found out in the same state; and without a check, an address in doubt is not told.
        let capture = pod.host.capture("eth0")?;
        pod.add("eth0", &network, &lab.cluster(), &result)?;
        assert!(is_tentative()?, "the test lost its subject");
        let seen = capture.end()?;
        assert!(!seen.iter().any(is_told), "{seen:#?}");
        pod.del("eth0", &network, &lab.cluster())?;
        // The kernel's own questions, which bear a number (RFC 7527), do not get through: it must not find out first.
        lab.wire_rules(&[&format!("ether saddr {} ip6 nexthdr icmpv6 ip6 length 32 drop", pod.host.mac("eth0")?)])?;
        let other = lab.neighbour("other", 1, &["fd00:10:6::2:14/64"])?;
        let error = refused(pod.add("eth0", &network, &lab.asking(json!({})), &result), 101)?;
        assert!(error["msg"].as_str().unwrap_or_default().contains(&other.mac("eth0")?), "{error}");
        Ok(())
    });
}

#[test]
fn what_the_kernel_found_to_be_another_hosts_is_refused_without_asking() {
    run(|lab| {
        let (pod, network, result) = lab.unserved_pod(Families::V6)?;
        lab.neighbour("other", 1, &["fd00:10:6::2:14/64"])?;
        pod.host.sysctl("net/ipv6/conf/eth0/accept_dad", "1")?;
        pod.host.ip(&["-6 address del fd00:10:6::2:14/64 dev eth0", "-6 address add fd00:10:6::2:14/64 dev eth0"])?;
        let begun = Instant::now();
        while !pod.host.run("ip", &["-6", "address", "show", "dev", "eth0"])?.contains("dadfailed") {
            assert!(begun.elapsed() < PATIENCE, "the kernel does not find the other host");
            std::thread::sleep(Duration::from_millis(20));
        }
        let capture = pod.host.capture("eth0")?;
        let settings = lab.asking(json!({"detectGateway": false}));
        let error = refused(pod.add("eth0", &network, &settings, &result), 101)?;
        let message = error["msg"].as_str().unwrap_or_default();
        let expected =
            "address fd00:10:6::2:14 on eth0 is used by another host: duplicate address detection has failed";
        assert!(message.contains(expected), "{message}");
        let asked: Vec<_> = capture.end()?.into_iter().filter(|it| it.says(&["solicitation of"])).collect();
        assert_eq!(asked, []);
        Ok(())
    });
}
