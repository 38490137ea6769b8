//! `coordinatorctl facts`: what is recorded of a live Pod, and what a stage makes of it far away from that Pod.

use std::{fs, process::Command};

use anyhow::{Result, ensure};
use coordinator_guests::{component, root};
use coordinator_lab::{Families, Lab, Network, Pod, run, tool};
use serde_json::{Value, json};

/// The configuration of an ADD that has not come yet.
fn configuration(pod: &Pod, network: &Network, settings: &Value) -> Value {
    let mut configuration = network.configuration("coordinator", settings);
    configuration["prevResult"] = pod.result("eth0");
    configuration
}

fn gold(lab: &Lab) -> Result<(Pod, Network)> {
    let (pod, network) = (lab.pod("p1")?, lab.underlay(20, Families::Dual));
    *pod.namespace.lock().unwrap() = "gold".to_owned();
    pod.attach_without_us("eth0", &network)?;
    Ok((pod, network))
}

fn tool_says(arguments: &[&str]) -> Result<Value> {
    // Where there is neither the Pod nor the node.
    let output = Command::new("unshare").args(["--net", "--mount"]).arg(tool()?).args(arguments).output()?;
    ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The author's way: facts of a live Pod, one stage, and what it would have the Pod get.
#[test]
fn a_stage_says_of_recorded_facts_what_it_says_in_the_adds_own_plan() {
    let guest = component("vendor-mac", &[]).unwrap();
    run(move |lab| {
        let (pod, network) = gold(lab)?;
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(path("vendor-mac.wasm"), &guest)?;
        let text = fs::read_to_string(root().join("sdk/examples/vendor-mac/pipeline.toml"))?;
        let digest = coordinator_core::guest::Digest::of(&guest);
        let uses = "use = \"wasm:vendor-mac.wasm\"";
        fs::write(path("pipeline.toml"), text.replace(uses, &format!("{uses}\nsha256 = \"{digest}\"")))?;

        let live = configuration(&pod, &network, &lab.cluster());
        fs::write(path("facts.json"), pod.facts("eth0", &live)?)?;

        let (pipeline, facts) = (path("pipeline.toml"), path("facts.json"));
        let replayed = tool_says(&["plan", "--json", "--facts", &facts, "--pipeline", &pipeline])?;
        let all = replayed["plan"].as_array().unwrap();
        let of_stage: Vec<&Value> = all.iter().filter(|edit| edit["stage"] == "vendor-mac").collect();
        assert!(!of_stage.is_empty(), "{replayed}");

        let with = r#"{"oui": [2, 66, 16], "tenants": {"gold": 7, "silver": 8}}"#;
        let alone =
            tool_says(&["stage", "run", &path("vendor-mac.wasm"), "--facts", &facts, "--with", with, "--json"])?;
        assert_eq!(alone["problem"], Value::Null);
        let reason = |edit: &Value| edit["why"].clone();
        let proposals = alone["decision"]["proposals"].as_array().unwrap();
        assert_eq!(
            proposals.iter().map(reason).collect::<Vec<_>>(),
            of_stage.iter().map(|it| reason(it)).collect::<Vec<_>>()
        );

        // The real ADD with that pipeline does what was replayed.
        coordinator_guests::install(&guest)?;
        coordinator_guests::pipeline("site", &fs::read_to_string(&pipeline)?)?;
        let mut settings = lab.cluster();
        settings["pipeline"] = json!("site");
        pod.add("eth0", &network, &settings, &pod.result("eth0"))?;
        pod.did("eth0", &replayed)?;
        Ok(())
    });
}

/// As `docs/writing-a-stage.md` says: a configuration's keys that are not ours, results and records stay where they are.
#[test]
fn what_stages_do_not_see_is_not_in_the_file() {
    run(|lab| {
        let (pod, network) = gold(lab)?;
        let mut live = configuration(&pod, &network, &lab.cluster());
        for (key, value) in [
            ("token", json!("hidden-1")),
            ("kubeconfig", json!("/etc/hidden-2")),
            ("ipam", json!({"password": "hidden-3"})),
            ("logOptions", json!({"logLevel": "info"})),
        ] {
            live[key] = value;
        }
        live["prevResult"]["secret"] = json!("hidden-4");
        // What a network's author gives to plugins, they see.
        live["args"] = json!({"cni": {"rail": "shown-1"}});
        let text = pod.facts("eth0", &live)?;
        assert!(!text.contains("hidden"), "{text}");
        assert!(text.contains("shown-1"), "{text}");
        let facts: Value = serde_json::from_str(&text)?;
        let names: Vec<&String> = facts.as_object().unwrap().keys().collect();
        let expected =
            ["claims", "extra", "findings", "model", "node_next_hops", "others", "probes", "request", "settings"];
        assert_eq!(names, expected);
        let page = fs::read_to_string(root().join("docs/writing-a-stage.md"))?;
        assert!(names.iter().all(|name| page.contains(&format!("`{name}`"))), "docs/writing-a-stage.md names each");
        Ok(())
    });
}

/// A Pod of which an ADD would be refused is the one whose facts somebody wants to see.
#[test]
fn a_refused_pod_is_recorded_too() {
    run(|lab| {
        let (pod, network) = gold(lab)?;
        let mut settings = lab.cluster();
        settings["mode"] = json!("overlay");
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), pod.facts("eth0", &configuration(&pod, &network, &settings))?)?;
        let facts = file.path().display().to_string();
        let output = Command::new(tool()?).args(["plan", "--facts", &facts]).output()?;
        let said = String::from_utf8(output.stdout)?;
        assert!(said.starts_with("An ADD would fail: stage mode refuses"), "{said}");
        assert_eq!(output.status.code(), Some(1));
        Ok(())
    });
}
