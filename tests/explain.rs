//! `coordinatorctl explain` and `show`: why an attachment is as it is.

use anyhow::{Context as _, Result, ensure};
use coordinator_core::node_defaults::{POD_SETTING, pod_text};
use coordinator_guests::{component, install};
use coordinator_lab::{Families, Lab, Network, Pod, ask, ask_json, run};
use serde_json::{Value, json};

/// Its answer.
fn answer(arguments: &[&str]) -> Result<Value> {
    let (answer, code) = ask_json(arguments)?;
    ensure!(code == 0, "{arguments:?}: {answer}");
    Ok(answer)
}

/// A value for each setting that a Pod can have any time.
fn values() -> Vec<(&'static str, Value)> {
    vec![
        ("mode", json!("underlay")),
        ("podDefaultCniNic", json!("eth0")),
        ("podDefaultRouteNic", json!("eth0")),
        ("tunePodRoutes", json!(true)),
        ("overlayPodCIDR", json!(["10.244.0.0/16"])),
        ("serviceCIDR", json!(["10.96.0.0/16"])),
        ("hijackCIDR", json!(["169.254.20.10/32"])),
        ("policyRoutes", json!([{"dst": "10.50.0.0/16", "gw": "10.6.0.1"}])),
        ("hostRuleTable", json!(500)),
        ("podRPFilter", json!(2)),
        ("txQueueLen", json!(777)),
        ("podMACPrefix", json!("0a:1b")),
        ("vethLinkAddress", json!("169.254.99.1")),
        ("vethMTU", json!(1450)),
        ("detectIPConflict", json!(false)),
        ("detectGateway", json!(false)),
        ("detectOptions", json!({"retries": 3, "interval": "10ms", "timeout": "100ms"})),
        (
            "logOptions",
            json!({
                "logLevel": "info", "logFile": "/var/log/spidernet/coordinator.log", "logMaxSize": 100,
                "logMaxAge": 30, "logMaxCount": 10,
            }),
        ),
    ]
}

/// A JSON value as TOML writes it.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(values) => format!("[{}]", values.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields: Vec<_> = fields.iter().map(|(key, value)| format!("{key} = {}", toml(value))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

/// Adds, with the setting said by these sources, and asks for its source.
fn explained(lab: &Lab, pod: &Pod, name: &str, value: &Value, sources: &[&str]) -> Result<(Value, String)> {
    let says = |source| sources.contains(&source);
    let settings = if says("pipeline") { format!("[settings]\n{name} = {}\n", toml(value)) } else { String::new() };
    lab.write_pipeline("site", &format!("schema = 1\nextends = \"default\"\n{settings}"))?;
    let node = if says("node defaults") { json!({name: value}) } else { json!({}) };
    lab.write_node_defaults(&node)?;
    let choice = match (says("annotation"), name == POD_SETTING) {
        // As the agent writes it.
        (true, true) => pod_text(&value.as_str().context("an interface")?.parse()?),
        (true, false) => json!({name: value}).to_string(),
        (false, _) => "{}".to_owned(),
    };
    lab.write_pod_choice("shop", "web-0", &choice)?;
    let mut configuration = json!({"pipeline": "site"});
    if says("configuration") {
        configuration[name] = value.clone();
    }
    pod.add("eth0", &lab.network(1, 20, Families::V4), &configuration, &pod.result("eth0"))?;
    let found = answer(&["explain", "shop/web-0", name])?;
    Ok((found["value"].clone(), found["source"].as_str().context("a source")?.to_owned()))
}

#[test]
fn every_setting_names_the_source_that_set_it() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        pod.named("shop", "web-0");
        pod.attach_without_us("eth0", &lab.network(1, 20, Families::V4))?;
        for (name, value) in values() {
            let nobody = if name == "mode" { "stage mode" } else { "built in" };
            // What no annotation can say, a Pod's file does not say either.
            let over = |weaker| if name == POD_SETTING { "annotation" } else { weaker };
            let flips: [(&[&str], &str); 8] = [
                (&[], nobody),
                (&["pipeline"], "pipeline"),
                (&["pipeline", "node defaults"], "node defaults"),
                (&["pipeline", "node defaults", "annotation"], over("node defaults")),
                (&["pipeline", "node defaults", "annotation", "configuration"], "configuration"),
                (&["pipeline", "annotation"], over("pipeline")),
                (&["annotation"], over(nobody)),
                (&["node defaults"], "node defaults"),
            ];
            for (sources, expected) in flips {
                let (shown, source) = explained(lab, &pod, name, &value, sources)?;
                assert_eq!(source, expected, "{name} by {sources:?}");
                if !["built in", "stage mode"].contains(&expected) {
                    assert_eq!(shown, value, "{name} by {sources:?}");
                }
            }
        }
        let settings = coordinator_sdk::Settings::NAMES.into_iter();
        let silent = ["hostRPFilter", "multusNicPrefix", "pipeline"];
        let expected: Vec<&str> = settings.filter(|name| !silent.contains(name)).collect();
        assert_eq!(values().iter().map(|(name, _)| *name).collect::<Vec<_>>(), expected, "none is left out");
        Ok(())
    });
}

/// A guest has its say as a source of its own, and sees what the others are: this one leaves alone what a Pod chose.
#[test]
fn what_a_guest_sets_names_the_guest() {
    run(|lab| {
        let digest = install(&component("default-route", &[])?)?;
        let stage = format!(
            "[[stage]]\nname = \"by-namespace\"\nuse = \"wasm:default-route.wasm\"\nsha256 = \"{digest}\"\nafter = \"mode\"\n\
             grant = [\"setting.{POD_SETTING}\"]\nwith = {{ networks = {{ edge = \"fast\" }} }}\n"
        );
        lab.write_pipeline("site", &format!("schema = 1\nextends = \"default\"\n\n{stage}"))?;
        let settings = lab.cluster_with(json!({"pipeline": "site"}));
        lab.write_node_defaults(&json!({POD_SETTING: "eth0"}))?;
        let fast = Network { name: "fast".to_owned(), ..lab.network(2, 20, Families::V4) };
        let pod = lab.pod("p1")?;
        pod.named("edge", "web-0");
        pod.attach("eth0", &lab.network(1, 20, Families::V4), &settings)?;
        pod.attach("net1", &fast, &settings)?;
        let says = || answer(&["explain", "edge/web-0", "-i", "net1", POD_SETTING]);
        let said = says()?;
        assert_eq!((&said["value"], &said["source"]), (&json!("net1"), &json!("stage by-namespace")));
        lab.write_pod_choice("edge", "web-0", &pod_text(&"eth0".parse()?))?;
        pod.add("net1", &fast, &settings, &pod.result("net1"))?;
        let said = says()?;
        assert_eq!((&said["value"], &said["source"]), (&json!("eth0"), &json!("annotation")));
        Ok(())
    });
}

#[test]
fn a_stage_under_another_name_keeps_its_settings() {
    run(|lab| {
        let renamed = [
            ("pod-routes", "site-ways", "10.96.0.0/16", "serviceCIDR"),
            ("node-routes", "site-returns", "node rule", "hostRuleTable"),
            ("mac-prefix", "site-mac", "link pod/eth0", "podMACPrefix"),
            ("reply-mark", "site-marks", "fwmark", "mode"),
            ("mode", "site-mode", "mode", ""),
        ];
        let mut text = "schema = 1\nextends = \"default\"\n".to_owned();
        for (native, name, ..) in renamed {
            text.push_str(&format!(
                "\n[[stage]]\nname = \"{name}\"\nuse = \"native:{native}\"\nreplace = \"{native}\"\n"
            ));
        }
        lab.write_pipeline("site", &text)?;
        let mut settings = lab.cluster();
        settings["podMACPrefix"] = json!("0a:1b");
        settings["pipeline"] = json!("site");
        let pod = lab.pod("p1")?;
        let network = lab.network(1, 20, Families::V4);
        pod.attach("eth0", &network, &settings)?;
        // A second ADD plans nothing, and the names stay known.
        pod.add("eth0", &network, &settings, &pod.result("eth0"))?;
        for (native, name, what, setting) in renamed {
            let found = answer(&["explain", &pod.container, what])?;
            if native == "mode" {
                assert_eq!(found["source"], format!("stage {name}"), "{found}");
                continue;
            }
            let object = &found[0];
            assert_eq!((&object["stage"], &object["use"]), (&json!(name), &json!(format!("native:{native}"))));
            let due = object["settings"].as_array().context("settings")?;
            assert!(due.iter().any(|it| it["setting"] == setting), "{what}: {object}");
            // And back, from the setting to its objects.
            let back = answer(&["explain", &pod.container, setting])?;
            let objects = back["objects"].as_array().context("objects")?;
            assert!(objects.iter().any(|it| it["stage"] == name && it["object"] == object["object"]), "{back}");
        }
        let said = ask(&["explain", &pod.container, "10.96.0.0/16"])?;
        assert!(said.answer.contains("\n  stage site-ways (native:pod-routes), because "), "{said:?}");

        // A name alone makes no built-in stage.
        let text = text.replace("site-ways", "neighbours").replace(
            "[[stage]]\nname = \"neighbours\"",
            "[[stage]]\nremove = \"neighbours\"\n\n[[stage]]\nname = \"neighbours\"",
        );
        lab.write_pipeline("site", &text)?;
        pod.add("eth0", &network, &settings, &pod.result("eth0"))?;
        let found = answer(&["explain", &pod.container, "10.96.0.0/16"])?;
        assert_eq!((&found[0]["stage"], &found[0]["use"]), (&json!("neighbours"), &json!("native:pod-routes")));
        assert_eq!(found[0]["settings"][0]["setting"], "serviceCIDR", "{found}");
        Ok(())
    });
}

#[test]
fn every_object_names_its_stage_and_the_setting_that_it_stands_on() {
    run(|lab| {
        let pod = lab.pod("p1")?;
        let mut settings = lab.cluster();
        settings["podMACPrefix"] = json!("0a:1b");
        for (name, lan) in [("eth0", 1), ("net1", 2)] {
            pod.attach(name, &lab.network(lan, 20, Families::V4), &settings)?;
        }
        // A second ADD plans nothing, and still everything is explained.
        pod.add("eth0", &lab.network(1, 20, Families::V4), &settings, &pod.result("eth0"))?;
        let explain = |interface: &str, what: &str| -> Result<Value> {
            Ok(answer(&["explain", &pod.container, what, "--interface", interface])?[0].clone())
        };
        for (interface, what, stage, setting) in [
            ("eth0", "10.96.0.0/16", "pod-routes", "serviceCIDR"),
            ("eth0", "node route 10.6.2.20/32", "node-routes", "hostRuleTable"),
            ("eth0", "node rule", "node-routes", "hostRuleTable"),
            ("eth0", "link pod/eth0", "mac-prefix", "podMACPrefix"),
            ("eth0", "conf/all/rp_filter", "sysctls", "podRPFilter"),
            ("eth0", "fwmark", "reply-mark", "mode"),
            ("net1", "from 10.7.2.20/32", "interface-routes", "tunePodRoutes"),
            ("net1", "0.0.0.0/0 metric 0 in table 101", "interface-routes", "tunePodRoutes"),
        ] {
            let found = explain(interface, what)?;
            assert_eq!(found["stage"], stage, "{interface} {what}: {found}");
            let settings = found["settings"].as_array().context("settings")?;
            assert!(settings.iter().any(|it| it["setting"] == setting), "{interface} {what}: {found}");
        }
        let shown = answer(&["show", &pod.container, "--interface", "eth0"])?;
        let objects = shown["objects"].as_array().context("objects")?;
        let plan = pod.recorded_plan("eth0")?;
        let edits = plan["edits"].as_array().context("edits")?;
        assert!(edits.iter().all(|planned| planned["edit"]["add-rule"]["side"] == "node"), "{edits:?}");
        let strangers: Vec<_> = objects.iter().filter(|object| object["stage"] == "projection").collect();
        assert!(objects.len() > 20 && strangers.is_empty(), "{strangers:?}");
        Ok(())
    });
}
