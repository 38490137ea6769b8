//! `coordinatorctl doctor`: known trouble is found, with what helps; a healthy node has none.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use coordinator_lab::{Families, Lab, ask, ask_json, run};
use serde_json::Value;

/// What is found, and the exit code.
fn findings() -> Result<(Vec<Value>, i32)> {
    let (answer, code) = ask_json(&["doctor"])?;
    Ok((answer.as_array().context("a list")?.clone(), code))
}

fn codes(found: &[Value]) -> BTreeSet<&str> {
    found.iter().filter_map(|it| it["code"].as_str()).collect()
}

/// The lab's kube-proxy drops invalid packets, as the real one does: a node is healthy when that does no harm.
fn make_liberal(lab: &Lab) -> Result<()> {
    lab.node.sysctl("net/netfilter/nf_conntrack_tcp_be_liberal", "1")
}

#[test]
fn a_healthy_node_and_pod_have_no_finding() {
    run(|lab| {
        make_liberal(lab)?;
        assert_eq!(findings()?, (Vec::new(), 0), "an empty node");
        let pod = lab.pod("p1")?;
        for (name, lan) in [("eth0", 1), ("net1", 2)] {
            pod.attach(name, &lab.network(lan, 20, Families::Dual), &lab.cluster())?;
        }
        assert_eq!(findings()?, (Vec::new(), 0));
        Ok(())
    });
}

#[test]
fn the_nodes_trouble_is_found_and_its_treatment_helps() {
    run(|lab| {
        lab.node.sysctl("net/netfilter/nf_conntrack_tcp_be_liberal", "0")?;
        let (found, code) = findings()?;
        assert_eq!((codes(&found), code), (BTreeSet::from(["invalid-drop"]), 0), "a risk is no trouble yet");
        assert!(found[0]["finding"].as_str().context("a text")?.starts_with("kube/forward drops"), "{found:?}");
        make_liberal(lab)?;

        for (key, bad, good, code) in [
            ("net/ipv4/conf/all/forwarding", "0", "1", "forwarding-off"),
            ("net/ipv6/conf/all/forwarding", "0", "1", "forwarding-off"),
            ("net/ipv4/conf/all/rp_filter", "1", "0", "strict-rp-filter"),
        ] {
            lab.node.sysctl(key, bad)?;
            let (found, _) = findings()?;
            assert_eq!(codes(&found), BTreeSet::from([code]), "{key}");
            let treatment = found[0]["treatment"].as_str().context("a treatment")?;
            let command = treatment.split(',').next().context("a command")?;
            assert_eq!(command, format!("sysctl -w {}={good}", key.replace('/', ".")));
            lab.node.sysctl(key, good)?;
        }

        lab.write_pipeline("bad", "schema = 1\nextends = \"nobody\"\n")?;
        let (found, code) = findings()?;
        assert_eq!((codes(&found), code), (BTreeSet::from(["pipeline"]), 1));
        lab.write_pipeline("bad", "schema = 1\nextends = \"default\"\n")?;
        lab.write_node_defaults(&serde_json::json!([]))?;
        assert_eq!(codes(&findings()?.0), BTreeSet::from(["node-defaults"]));
        Ok(())
    });
}

#[test]
fn a_pods_trouble_is_found_once() {
    run(|lab| {
        make_liberal(lab)?;
        let pod = lab.pod("p1")?;
        for (name, lan) in [("eth0", 1), ("net1", 2)] {
            pod.attach(name, &lab.network(lan, 20, Families::Dual), &lab.cluster())?;
        }
        lab.node.ip(&["rule del priority 1000"])?;
        assert_eq!(codes(&findings()?.0), BTreeSet::from(["drift", "shared-rule"]));
        ask(&["check", "--repair"])?;
        assert_eq!(findings()?.1, 0);

        pod.host.ip(&["rule add from all lookup 101 priority 5"])?;
        let (found, code) = findings()?;
        assert_eq!((codes(&found), code), (BTreeSet::from(["asymmetric-path"]), 1), "{found:?}");
        pod.host.ip(&["rule del priority 5"])?;

        let links: Value = serde_json::from_str(&pod.host.run("ip", &["-json", "link", "show", "eth0"])?)?;
        let mac = links[0]["address"].as_str().context("a MAC")?;
        pod.host.ip(&[&format!("link set net1 address {mac}")])?;
        assert!(codes(&findings()?.0).contains("mac-shared"));
        Ok(())
    });
}
