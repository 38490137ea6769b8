//! A Pod with one underlay interface, end to end: what its user sees.

use coordinator_lab::{Families, Pod, all_are_well, difference, run};
use serde_json::json;

/// The story of every family: without the plugin much fails, with it nothing, and DEL leaves nothing.
fn from_add_to_del(families: Families) {
    run(move |lab| {
        let network = lab.underlay(20, families);
        let pod = lab.pod("p1")?;
        let result = pod.attach_without_us("eth0", &network)?;
        lab.expose(&pod)?;
        let before = (lab.node.snapshot()?, pod.host.snapshot()?);
        let node_is_cut_off =
            lab.checks(&pod).iter().find(|check| check.name().ends_with("node > pod")).unwrap().run()?;
        assert!(!node_is_cut_off.is_answered(), "the lab's macvlan Pod must not reach its node by itself");

        let settings = lab.cluster();
        let added = pod.add("eth0", &network, &settings, &result)?;
        let names: Vec<_> =
            added["interfaces"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["eth0", "veth0", "vethp1-01234567"], "{added}");
        all_are_well(&lab.checks(&pod))?;

        pod.del("eth0", &network, &settings)?;
        let after = (lab.node.snapshot()?, pod.host.snapshot()?);
        assert_eq!(difference(&before.0, &after.0), [""; 0]);
        assert_eq!(difference(&before.1, &after.1), [""; 0]);
        assert!(!std::path::Path::new("/run/coordinator/p1-0123456789abcdef").exists());
        Ok(())
    });
}

#[test]
fn an_ipv4_pod_reaches_everything_and_leaves_nothing() {
    from_add_to_del(Families::V4);
}

#[test]
fn an_ipv6_pod_reaches_everything_and_leaves_nothing() {
    from_add_to_del(Families::V6);
}

#[test]
fn a_dual_stack_pod_reaches_everything_and_leaves_nothing() {
    from_add_to_del(Families::Dual);
}

#[test]
fn every_reverse_path_filter_passes_the_traffic() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        let network = lab.underlay(20, Families::Dual);
        let result = pod.attach_without_us("eth0", &network)?;
        lab.expose(&pod)?;
        for value in [0, 1, 2] {
            let settings = lab.cluster_with(json!({"podRPFilter": value}));
            pod.add("eth0", &network, &settings, &result)?;
            let seen =
                pod.host.run("sysctl", &["-n", "net.ipv4.conf.eth0.rp_filter", "net.ipv4.conf.all.rp_filter"])?;
            assert_eq!(seen, format!("{value}\n{value}\n"));
            all_are_well(&lab.checks(&pod))?;
        }
        Ok(())
    });
}

#[test]
fn adding_twice_is_adding_once() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        let network = lab.underlay(20, Families::Dual);
        let result = pod.attach_without_us("eth0", &network)?;
        lab.expose(&pod)?;
        let first = pod.add("eth0", &network, &lab.cluster(), &result)?;
        let before = (lab.node.snapshot()?, pod.host.snapshot()?);
        let second = pod.add("eth0", &network, &lab.cluster(), &result)?;
        assert_eq!(first, second);
        assert_eq!(difference(&before.0, &lab.node.snapshot()?), [""; 0]);
        assert_eq!(difference(&before.1, &pod.host.snapshot()?), [""; 0]);
        all_are_well(&lab.checks(&pod))
    });
}

#[test]
fn damage_between_two_adds_is_mended() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        let network = lab.underlay(20, Families::Dual);
        let result = pod.attach_without_us("eth0", &network)?;
        lab.expose(&pod)?;
        pod.add("eth0", &network, &lab.cluster(), &result)?;
        let whole = (lab.node.snapshot()?, pod.host.snapshot()?);
        pod.host.run("nft", &["flush", "ruleset"])?;
        pod.host.ip(&["route del 10.96.0.0/16", "-6 route flush table 100", "rule del priority 1000"])?;
        lab.node.ip(&[
            "-6 rule del priority 1000",
            "route flush table 500",
            "neighbour del 10.6.2.20 dev vethp1-01234567",
        ])?;
        pod.add("eth0", &network, &lab.cluster(), &result)?;
        assert_eq!(difference(&whole.0, &lab.node.snapshot()?), [""; 0]);
        assert_eq!(difference(&whole.1, &pod.host.snapshot()?), [""; 0]);
        all_are_well(&lab.checks(&pod))
    });
}

#[test]
fn policy_sets_mac_queue_and_veth() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        let network = lab.underlay(20, Families::Dual);
        let result = pod.attach_without_us("eth0", &network)?;
        lab.expose(&pod)?;
        let before = pod.host.snapshot()?;
        let settings = lab.cluster_with(json!({
            "podMACPrefix": "0a-1b", "txQueueLen": 777, "vethLinkAddress": "169.254.99.1", "vethMTU": 1400
        }));
        let added = pod.add("eth0", &network, &settings, &result)?;
        assert_eq!(added["interfaces"][0]["mac"], "0a:1b:0a:06:02:14");
        let link = pod.host.run("ip", &["link", "show", "eth0"])?;
        assert!(link.contains("0a:1b:0a:06:02:14") && link.contains("qlen 777"), "{link}");
        let veth = pod.host.run("ip", &["address", "show", "veth0"])?;
        assert!(veth.contains("mtu 1400") && veth.contains("169.254.99.1/32"), "{veth}");
        all_are_well(&lab.checks(&pod))?;
        pod.del("eth0", &network, &settings)?;
        assert_eq!(difference(&before, &pod.host.snapshot()?), [""; 0]);
        Ok(())
    });
}

#[test]
fn two_pods_share_the_nodes_rule_and_the_last_one_takes_it_along() {
    run(|lab| {
        let empty = lab.node.snapshot()?;
        let attach = |name: &str, number| -> anyhow::Result<(Pod, _)> {
            let pod = lab.pod(name)?;
            let network = lab.underlay(number, Families::Dual);
            pod.attach("eth0", &network, &lab.cluster())?;
            Ok((pod, network))
        };
        let (one, two) = (attach("p1", 20)?, attach("p2", 21)?);
        lab.expose(&one.0)?;
        all_are_well(&lab.checks(&one.0))?;
        one.0.detach("eth0", &one.1, &lab.cluster())?;
        lab.expose(&two.0)?;
        assert_eq!(lab.node.snapshot()?.with("rule").filter(|rule| rule.contains("1000")).count(), 2);
        all_are_well(&lab.checks(&two.0))?;
        two.0.detach("eth0", &two.1, &lab.cluster())?;
        let left = difference(&empty, &lab.node.snapshot()?);
        let of_services = |line: &&String| !line.contains("nftables");
        assert_eq!(left.iter().filter(of_services).count(), 0, "{left:?}");
        Ok(())
    });
}

#[test]
fn del_succeeds_whatever_is_gone() {
    run(|lab| {
        let network = lab.underlay(20, Families::V4);
        let before = lab.node.snapshot()?;
        let pod = lab.pod("p1")?;
        pod.attach("eth0", &network, &lab.cluster())?;
        // The path is gone, the namespace lives: a process is in it.
        let mut process = pod.host.enter(|| std::process::Command::new("sleep").arg("60").spawn())??;
        pod.host.unbind()?;
        pod.del("eth0", &network, &lab.cluster())?;
        pod.del("eth0", &network, &json!({"mode": "nonsense", "vethMTU": -1}))?;
        assert_eq!(difference(&before, &lab.node.snapshot()?), [""; 0]);
        assert_eq!(pod.host.snapshot()?.with("veth0").count(), 0);
        process.kill()?;
        process.wait()?;
        Ok(())
    });
}

#[test]
fn a_dead_pods_route_makes_room() {
    run(|lab| {
        let network = lab.underlay(20, Families::V4);
        for leftover in
            ["route add blackhole 10.6.2.20/32 table 500", "route add 10.6.2.20/32 dev docker0 metric 7 table 500"]
        {
            lab.node.ip(&["rule add from all lookup 500 priority 1000", leftover])?;
            let pod = lab.pod("p1")?;
            pod.attach("eth0", &network, &lab.cluster())?;
            lab.expose(&pod)?;
            all_are_well(&lab.checks(&pod))?;
            pod.detach("eth0", &network, &lab.cluster())?;
            pod.host.unbind()?;
            lab.node.ip(&["rule del priority 1000"])?;
            lab.node.run("ip", &["route", "flush", "table", "500"])?;
        }
        Ok(())
    });
}

#[test]
fn marks_of_others_survive() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        let network = lab.underlay(20, Families::V4);
        pod.attach("eth0", &network, &lab.cluster())?;
        lab.expose(&pod)?;
        // Another program marks what the Pod's server sends, and counts what kept its mark.
        let rules = "table ip other {
            counter kept { }
            chain out { type route hook output priority -200; tcp sport 8080 meta mark set 1336; }
            chain post {
                type filter hook postrouting priority 0
                meta mark and 0xfffffffe == 1336 counter name kept
            }
        }";
        pod.host.enter(|| coordinator_lab::command("nft", &["-f", "-"], rules))??;
        all_are_well(&lab.checks(&pod))?;
        let counter = pod.host.run("nft", &["list", "counter", "ip", "other", "kept"])?;
        assert!(!counter.contains("packets 0 "), "{counter}");
        Ok(())
    });
}
