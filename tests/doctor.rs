//! `coordinatorctl doctor`: known trouble is found, with what helps; a healthy node has none.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use coordinator_core::guest::DIRECTORY;
use coordinator_guests::{component, install, pipeline};
use coordinator_lab::{Families, Lab, Overlay, ask, ask_json, run};
use serde_json::{Value, json};

/// How long duplicate address detection may take.
const PATIENCE: Duration = Duration::from_secs(20);

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
        lab.write_node_defaults(&serde_json::json!({}))?;

        fs::create_dir("/run/NetworkManager")?;
        let (found, code) = findings()?;
        assert_eq!((codes(&found), code), (BTreeSet::from(["network-manager"]), 0));
        let conf = "/etc/NetworkManager/conf.d";
        fs::create_dir_all(conf)?;
        fs::write(format!("{conf}/coordinator.conf"), "[keyfile]\nunmanaged-devices=interface-name:veth*\n")?;
        assert_eq!(findings()?, (Vec::new(), 0));

        fs::create_dir_all("/run/coordinator")?;
        fs::set_permissions("/run/coordinator", fs::Permissions::from_mode(0o777))?;
        let (found, code) = findings()?;
        assert_eq!((codes(&found), code), (BTreeSet::from(["records"]), 1), "{found:?}");
        let treatment = found[0]["treatment"].as_str().context("a treatment")?;
        lab.node.run("sh", &["-ec", treatment])?;
        assert_eq!(findings()?, (Vec::new(), 0));

        // A broken record is named, and hides no other Pod.
        let pods = [lab.pod("p1")?, lab.pod("p2")?];
        for (pod, number) in pods.iter().zip([20, 30]) {
            pod.attach("eth0", &lab.network(1, number, Families::V4), &lab.cluster())?;
        }
        fs::write(format!("/run/coordinator/{}/if-eth0.json", pods[0].container), "{")?;
        let (found, code) = findings()?;
        assert_eq!((codes(&found), code), (BTreeSet::from(["records"]), 1), "{found:?}");
        assert!(found[0]["finding"].as_str().context("a text")?.contains("p1-0123456789abcdef/eth0"), "{found:?}");
        let (list, code) = ask_json(&["list"])?;
        assert_eq!((&list[0]["state"], &list[1]["state"], code), (&json!("unusable record"), &json!("attached"), 0));
        let (checked, code) = ask_json(&["check"])?;
        assert!(checked[0]["error"].as_str().context("an error")?.contains("cannot be used"), "{checked}");
        assert_eq!((&checked[1]["drifts"], code), (&json!([]), 1));
        assert_eq!(ask(&["show", "p1-0"])?.code, 74);
        pods[0].del("eth0", &lab.network(1, 20, Families::V4), &lab.cluster())?;
        ask(&["gc"])?;
        assert_eq!(findings()?, (Vec::new(), 0));
        Ok(())
    });
}

#[test]
fn foreign_sources_that_cilium_drops_are_found_where_it_does_and_pods_send_them() {
    run(|lab| {
        make_liberal(lab)?;
        let first = lab.pod("p1")?;
        first.attach("eth0", &lab.network(1, 20, Families::V4), &lab.cluster())?;
        lab.node.ip(&["link add cilium_host type veth peer name cilium_net"])?;
        assert_eq!(findings()?, (Vec::new(), 0), "an underlay Pod has nothing to do with Cilium");
        let pod = lab.overlay_pod("p2", "eth0", 7, Overlay::Cilium, Families::V4)?;
        pod.attach("net1", &lab.network(2, 21, Families::V4), &lab.cluster())?;
        let (found, code) = findings()?;
        assert_eq!((codes(&found), code), (BTreeSet::from(["cilium-source-check"]), 1), "{found:?}");
        assert!(found[0]["finding"].as_str().context("a text")?.contains("overlay mode (p2-012345678)"), "{found:?}");

        let state = "/var/run/cilium/state";
        fs::create_dir_all(state)?;
        for (says, expected) in
            [("{\"EnableSourceIPVerification\": true}", 1), ("{\"EnableSourceIPVerification\": false}", 0)]
        {
            fs::write(format!("{state}/agent-runtime-config.json"), says)?;
            assert_eq!(findings()?.1, expected, "{says}");
        }
        fs::remove_dir_all(state)?;
        lab.node.ip(&["link del cilium_host"])?;
        assert_eq!(findings()?, (Vec::new(), 0), "no Cilium runs here");
        Ok(())
    });
}

#[test]
fn a_guest_that_cannot_run_is_found_before_an_add_fails() {
    let guest = component("vendor-mac", &[]).unwrap();
    run(move |lab| {
        make_liberal(lab)?;
        let digest = install(&guest)?;
        let with = |options: &str| {
            let stage = format!("name = \"rails\"\nuse = \"wasm:rails.wasm\"\nsha256 = \"{digest}\"\nafter = \"mode\"");
            pipeline("site", &format!("schema = 1\nextends = \"default\"\n[[stage]]\n{stage}\n{options}"))
        };
        let options = "with = { oui = [2, 66, 16], tenants = { gold = 7 } }\n";
        with(options)?;
        assert_eq!(findings()?, (Vec::new(), 0));

        with("with = { oui = \"rails\" }\n")?;
        trouble("its options are wrong", "[stage.with]")?;
        with(options)?;

        let is_code = |path: &std::path::PathBuf| path.extension().is_some_and(|it| it == "cwasm");
        let files = fs::read_dir(DIRECTORY)?.flatten().map(|file| file.path());
        let artefact = files.into_iter().find(is_code).context("an artefact")?;
        let whole = fs::read(&artefact)?;
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 1;
        fs::write(&artefact, &damaged)?;
        trouble("its SHA-256 is another", "coordinatorctl stage compile")?;
        fs::write(&artefact, &whole)?;
        fs::set_permissions(&artefact, fs::Permissions::from_mode(0o620))?;
        trouble("has mode 0620", "find out who wrote there")?;
        fs::remove_file(&artefact)?;
        trouble("no artefact of", "coordinatorctl stage compile")?;
        install(&guest)?;
        assert_eq!(findings()?, (Vec::new(), 0));
        Ok(())
    });
}

/// The one thing that is found is a guest that cannot run.
fn trouble(finding: &str, treatment: &str) -> Result<()> {
    let (found, code) = findings()?;
    assert_eq!((codes(&found), code), (BTreeSet::from(["guest"]), 1));
    for (key, expected) in [("finding", finding), ("treatment", treatment)] {
        let text = found[0][key].as_str().context("a text")?;
        assert!(
            text.contains(expected) && text.contains(if key == "finding" { "stage rails of" } else { "" }),
            "{text}"
        );
    }
    Ok(())
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

#[test]
fn an_address_that_another_host_has_is_found() {
    run(|lab| {
        make_liberal(lab)?;
        let pod = lab.pod("p1")?;
        pod.attach("eth0", &lab.network(1, 20, Families::Dual), &lab.cluster())?;
        pod.host.sysctl("net/ipv6/conf/eth0/accept_dad", "1")?;
        // It is the router's.
        pod.host.ip(&["address add fd00:10:6::1/64 dev eth0"])?;
        let begun = Instant::now();
        while !pod.host.run("ip", &["address", "show", "dev", "eth0", "dadfailed"])?.contains("fd00:10:6::1") {
            ensure!(begun.elapsed() < PATIENCE, "duplicate address detection finds nothing");
            std::thread::sleep(Duration::from_millis(50));
        }
        let (found, code) = findings()?;
        let in_use: Vec<_> = found.iter().filter(|it| it["code"] == "address-in-use").collect();
        assert_eq!((in_use.len(), code), (1, 1), "{found:?}");
        assert_eq!(in_use[0]["subject"], "p1-012345678/eth0");
        assert!(in_use[0]["finding"].as_str().context("a text")?.starts_with("another host uses fd00:10:6::1:"));
        Ok(())
    });
}

#[test]
fn a_pod_that_is_gone_is_found_and_hides_nothing_of_the_others() {
    run(|lab| {
        make_liberal(lab)?;
        let (gone, living) = (lab.pod("p1")?, lab.pod("p2")?);
        for (pod, number) in [(&gone, 20), (&living, 30)] {
            pod.attach("eth0", &lab.network(1, number, Families::V4), &lab.cluster())?;
        }
        living.host.ip(&["route del 10.96.0.0/16"])?;
        gone.host.unbind()?;
        let (found, code) = findings()?;
        let said: Vec<_> = found.iter().map(|it| (it["code"].as_str(), it["subject"].as_str())).collect();
        let expected =
            [(Some("drift"), Some("p2-012345678/eth0")), (Some("unreachable-pod"), Some("p1-012345678/eth0"))];
        assert_eq!((said.as_slice(), code), (&expected[..], 1));
        Ok(())
    });
}

/// What the documentation lists is found by one of the stories here.
#[test]
fn every_diagnosis_of_the_documentation_has_its_story() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md")).unwrap();
    let list = page.split("## What doctor finds").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = list.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let named: Vec<&str> = rows.flat_map(|codes| codes.split(", ")).map(|code| code.trim_matches('`')).collect();
    assert!(named.len() >= 15, "{named:?}");
    for code in named {
        // Limits of neighbour tables exist in the first namespace alone: `host/core/src/doctor/node.rs` tests them.
        let is_here = include_str!("doctor.rs").contains(&format!("\"{code}\""));
        assert!(is_here || code == "neighbours-crowded", "{code} has no story");
    }
}
