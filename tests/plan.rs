//! `coordinatorctl plan`: it says exactly what ADD then does, in every scenario, and writes nothing.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use coordinator_core::node_defaults::pod_text;
use coordinator_lab::{Families, Lab, Monitor, Network, Overlay, Pod, run, tool};
use coordinator_sdk::{Model, Route};
use serde_json::{Value, json};

/// What the tool says of an ADD with this result; it must write nothing, on either side.
fn planned(lab: &Lab, pod: &Pod, interface: &str, network: &Network, settings: &Value) -> Result<Value> {
    let mut configuration = network.configuration("coordinator", settings);
    configuration["prevResult"] = pod.result(interface);
    let before = lab.both(pod)?;
    let monitors = (Monitor::begin(&lab.node)?, Monitor::begin(&pod.host)?);
    let plan = pod.plan(interface, &configuration)?;
    let facts = pod.facts(interface, &configuration)?;
    let heard = (monitors.0.end()?, monitors.1.end()?);
    ensure!(heard.0.is_empty() && heard.1.is_empty(), "plan wrote: {heard:?}");
    lab.is_as_before(pod, &before).context("plan changed something")?;
    let claims = ["eth0", "net1", "net2"].map(|interface| pod.claimed(interface));
    let pipeline = settings["pipeline"].as_str();
    replay(&facts, pipeline, &plan, &claims.into_iter().filter_map(Result::transpose).collect::<Result<Vec<_>>>()?)?;
    Ok(plan)
}

/// Recorded facts must make the same plan, where there is neither the Pod nor the node. What is missing in it are
/// routes that an earlier ADD moved and somebody removed since: only that ADD's record knows that they are to be there.
fn replay(facts: &str, pipeline: Option<&str>, plan: &Value, claims: &[Model]) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), facts)?;
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount"]).arg(tool()?).args(["plan", "--json", "--facts"]).arg(file.path());
    if let Some(name) = pipeline {
        command.arg(format!("--pipeline=/etc/coordinator/pipelines/{name}.toml"));
    }
    let output = command.output()?;
    let replayed: Value = serde_json::from_slice(&output.stdout)?;
    let edits = |plan: &Value| -> Vec<Value> {
        let edits = plan["plan"].as_array().into_iter().flatten();
        edits.map(|edit| json!([edit["edit"], edit["stage"], edit["why"]])).collect()
    };
    let known: Vec<&Route> = claims.iter().flat_map(|after| &after.routes).map(|known| &known.route).collect();
    let is_known = |edit: &Value| {
        let route = serde_json::from_value::<Route>(edit[0]["add-route"]["route"].clone());
        let same =
            |route: &Route, other: &Route| (route.side, route.table, route.to) == (other.side, other.table, other.to);
        route.is_ok_and(|route| known.iter().any(|other| same(&route, other)))
    };
    let (mut live, again) = (edits(plan), edits(&replayed));
    live.retain(|edit| again.contains(edit) || !is_known(edit));
    let only = |these: &[Value], those: &[Value]| -> Vec<String> {
        these.iter().filter(|it| !those.contains(it)).map(ToString::to_string).collect()
    };
    ensure!(live == again, "only live {:#?}\nonly replayed {:#?}", only(&live, &again), only(&again, &live));
    for key in ["container", "interface", "mode", "probes", "warnings", "skipped"] {
        ensure!(plan[key] == replayed[key], "{key}: {} and {}", plan[key], replayed[key]);
    }
    Ok(())
}

/// Plans, adds, and compares change by change.
fn add_as_planned(lab: &Lab, pod: &Pod, interface: &str, network: &Network, settings: &Value) -> Result<usize> {
    let plan = planned(lab, pod, interface, network, settings)?;
    pod.add(interface, network, settings, &pod.result(interface))?;
    pod.did(interface, &plan)
}

fn attach_as_planned(lab: &Lab, pod: &Pod, interface: &str, network: &Network, settings: &Value) -> Result<usize> {
    pod.attach_without_us(interface, network)?;
    add_as_planned(lab, pod, interface, network, settings)
}

#[test]
fn every_underlay_pod_gets_what_was_planned() {
    for families in Families::ALL {
        run(move |lab| {
            let pod = lab.pod("p1")?;
            let networks = [lab.network(1, 20, families), lab.network(2, 21, families), lab.network(2, 22, families)];
            for (name, network) in ["eth0", "net1", "net2"].iter().zip(&networks) {
                let done = attach_as_planned(lab, &pod, name, network, &lab.cluster())?;
                assert!(done > 3, "{name}: {done}");
            }
            // A repeated ADD has next to nothing to do, and that is said too.
            for (name, network) in ["eth0", "net1", "net2"].iter().zip(&networks) {
                add_as_planned(lab, &pod, name, network, &lab.cluster())?;
            }
            Ok(())
        });
    }
}

#[test]
fn every_overlay_pod_gets_what_was_planned() {
    for shape in Overlay::ALL {
        run(move |lab| {
            let pod = lab.overlay_pod("p1", "eth0", 7, shape, Families::Dual)?;
            for (name, lan, number) in [("net1", 1, 20), ("net2", 2, 21)] {
                attach_as_planned(lab, &pod, name, &lab.network(lan, number, Families::Dual), &lab.cluster())?;
            }
            Ok(())
        });
    }
}

#[test]
fn every_setting_is_in_the_plan() {
    run(|lab| {
        let variants = [
            json!({"podMACPrefix": "0a:1b", "txQueueLen": 777, "vethLinkAddress": "169.254.99.1", "vethMTU": 1400}),
            json!({"podRPFilter": 2, "hostRuleTable": 600, "hijackCIDR": ["169.254.20.10", "fd00:20::/64"]}),
            json!({"policyRoutes": [{"dst": "10.50.0.0/16", "gw": "10.6.0.1"}, {"dst": "fd00:50::/64", "gw": "fd00:10:6::1"}]}),
            json!({"tunePodRoutes": false}),
            json!({"podDefaultRouteNic": "net1"}),
            json!({"podRPFilter": -1}),
            json!({"detectIPConflict": true, "detectGateway": true}),
        ];
        for (at, variant) in variants.into_iter().enumerate() {
            let settings = lab.cluster_with(variant);
            let pod = lab.pod(&format!("p{at}"))?;
            let number = 20 + u8::try_from(at)?;
            attach_as_planned(lab, &pod, "eth0", &lab.network(1, number, Families::Dual), &settings)?;
            // The policy's routers are not in the second network.
            let settings = lab.cluster_with(json!({"podDefaultRouteNic": settings["podDefaultRouteNic"]}));
            attach_as_planned(lab, &pod, "net1", &lab.network(2, number, Families::Dual), &settings)?;
        }
        Ok(())
    });
}

#[test]
fn what_was_damaged_is_planned_to_be_mended() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        let networks = [lab.network(1, 20, Families::Dual), lab.network(2, 21, Families::Dual)];
        for (name, network) in ["eth0", "net1"].iter().zip(&networks) {
            pod.attach(name, network, &lab.cluster())?;
        }
        pod.host.run("nft", &["flush", "ruleset"])?;
        pod.host.ip(&["rule del priority 1000", "route del 10.96.0.0/16", "-6 route flush table 101"])?;
        lab.node.ip(&["route flush table 500", "neighbour del 10.6.2.20 dev vethp1-01234567"])?;
        for (name, network) in ["eth0", "net1"].iter().zip(&networks) {
            let done = add_as_planned(lab, &pod, name, network, &lab.cluster())?;
            assert!(done > 0, "{name}");
        }
        pod.detach("eth0", &networks[0], &lab.cluster())?;
        add_as_planned(lab, &pod, "net1", &networks[1], &lab.cluster())?;
        Ok(())
    });
}

/// Nothing is recorded of a Pod before its first ADD: the caller tells its name, and what goes by the name is planned.
#[test]
fn a_pod_that_nobody_knows_yet_is_planned_by_its_name() {
    run(|lab| {
        let stage = "name = \"gold-mac\"\nuse = \"native:mac-prefix\"\nreplace = \"mac-prefix\"\n\
                     when = { namespace = \"gold\", pod = \"web-*\" }\n";
        lab.write_pipeline("site", &format!("schema = 1\nextends = \"default\"\n\n[[stage]]\n{stage}"))?;
        lab.write_node_defaults(&json!({}))?;
        lab.write_pod_choice("gold", "web-1", &pod_text(&"net1".parse()?))?;
        let settings = lab.cluster_with(json!({"pipeline": "site", "podMACPrefix": "0a:1b"}));
        let sets_mac = |plan: &Value| plan["plan"].to_string().contains("gold-mac");
        for (at, (namespace, name, gets_mac, leaves_by)) in
            [("gold", "web-0", true, "eth0"), ("gold", "web-1", true, "net1"), ("iron", "web-1", false, "eth0")]
                .into_iter()
                .enumerate()
        {
            let pod = lab.pod(&format!("p{at}"))?;
            let number = 20 + u8::try_from(at)?;
            let networks = [lab.network(1, number, Families::V4), lab.network(2, number, Families::V4)];
            pod.attach_without_us("eth0", &networks[0])?;
            if at == 0 {
                let nameless = planned(lab, &pod, "eth0", &networks[0], &settings)?;
                assert!(!sets_mac(&nameless), "nobody says who it is: {nameless}");
            }
            pod.named(namespace, name);
            let plan = planned(lab, &pod, "eth0", &networks[0], &settings)?;
            assert_eq!(sets_mac(&plan), gets_mac, "{namespace}/{name}");
            pod.add("eth0", &networks[0], &settings, &pod.result("eth0"))?;
            pod.did("eth0", &plan)?;
            attach_as_planned(lab, &pod, "net1", &networks[1], &settings)?;
            let way = pod.host.run("ip", &["route", "show", "default"])?;
            assert!(way.contains(&format!("dev {leaves_by}")), "{namespace}/{name}: {way}");
        }
        Ok(())
    });
}

#[test]
fn a_refusal_is_said_with_what_to_try() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        let network = lab.network(1, 20, Families::V4);
        pod.attach_without_us("eth0", &network)?;
        let mut configuration = network.configuration("coordinator", &lab.cluster_with(json!({"mode": "overlay"})));
        configuration["prevResult"] = pod.result("eth0");
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), configuration.to_string())?;
        let run = |more: &[&str]| {
            let mut command = Command::new(tool()?);
            command.arg("plan").arg(pod.host.path()).args(["--interface", "eth0", "--config"]).arg(file.path());
            anyhow::Ok(command.args(more).output()?)
        };
        let output = run(&[])?;
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stdout)?;
        assert!(said.starts_with("An ADD would fail: stage mode refuses: mode overlay cannot serve eth0"), "{said}");
        assert!(said.contains("\nTry: use mode auto"), "{said}");
        let said: Value = serde_json::from_slice(&run(&["--json"])?.stdout)?;
        assert_eq!(said["refused"]["stage"], "mode");
        let plan = planned(lab, &pod, "eth0", &network, &lab.cluster_with(json!({"mode": "disable"})))?;
        assert_eq!((&plan["plan"], &plan["mode"]), (&json!([]), &json!("disable")));
        Ok(())
    });
}
