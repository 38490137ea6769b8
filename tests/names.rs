//! Attachments by every name that they have: what `CNI_ARGS` said to the plugin, what the runtime remembers, containers
//! and namespaces; and names that mean several, or nobody.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use coordinator_lab::{Families, Lab, Pod, Said, ask, ask_json, run};
use serde_json::{Value, json};

/// Two Pods of one name, one of them with two interfaces; and one that the runtime remembers and nobody attached.
fn three(lab: &Lab) -> Result<[Pod; 3]> {
    let pods = [lab.pod("p1")?, lab.pod("p2")?, lab.pod("p3")?];
    for (pod, (namespace, name)) in pods.iter().zip([("shop", "web-0"), ("bank", "web-0"), ("shop", "later-0")]) {
        pod.named(namespace, name);
    }
    let [web, other, later] = &pods;
    for (name, lan) in [("eth0", 1), ("net1", 2)] {
        web.attach(name, &lab.network(lan, 20, Families::Dual), &lab.cluster())?;
    }
    other.attach("eth0", &lab.network(1, 30, Families::Dual), &lab.cluster())?;
    let network = lab.network(1, 40, Families::Dual);
    later.attach_without_us("eth0", &network)?;
    later.remember("eth0", &network, &lab.cluster())?;
    Ok(pods)
}

/// What is answered when all is well.
fn answer(arguments: &[&str]) -> Result<Value> {
    let (answer, code) = ask_json(arguments)?;
    ensure!(code == 0, "{arguments:?}: {answer}");
    Ok(answer)
}

fn changes(plan: &Value) -> Vec<&str> {
    plan["plan"].as_array().into_iter().flatten().filter_map(|it| it["change"].as_str()).collect()
}

#[test]
fn every_command_finds_a_pod_by_each_of_its_names() {
    run(|lab| {
        let [web, other, later] = three(lab)?;
        let list = answer(&["list"])?;
        let row = |it: &Value| json!([it["podNamespace"], it["podName"], it["interface"], it["table"], it["state"]]);
        let rows: Vec<Value> = list.as_array().context("a list")?.iter().map(row).collect();
        let expected = json!([
            ["shop", "web-0", "eth0", null, "attached"],
            ["shop", "web-0", "net1", 101, "attached"],
            ["bank", "web-0", "eth0", null, "attached"],
            ["shop", "later-0", "eth0", null, "not ours yet"],
        ]);
        assert_eq!(Value::from(rows), expected);

        let path = |pod: &Pod| pod.host.path().display().to_string();
        for whom in ["shop/web-0", &web.container, &web.container[..4], &path(&web)] {
            let of = |command: &str, more: &[&str]| answer(&[&[command, whom, "--interface", "net1"], more].concat());
            let shown = of("show", &[])?;
            assert_eq!((&shown["container"], &shown["table"]), (&json!(web.container), &json!(101)), "{whom}");
            assert_eq!((&shown["podNamespace"], &shown["podName"]), (&json!("shop"), &json!("web-0")));
            assert_eq!(of("explain", &["hostRuleTable"])?["value"], 500, "{whom}");
            assert_eq!(of("check", &[])?[0]["drifts"], json!([]), "{whom}");
            let paths = of("path", &[])?;
            let locals: Vec<&Value> = paths.as_array().context("paths")?.iter().map(|path| &path["local"]).collect();
            assert!(
                locals.len() > 10
                    && locals.iter().all(|ip| ["10.7.2.20", "fd00:10:7::2:14"].contains(&ip.as_str().unwrap()))
            );
            assert_eq!(ask(&["report", whom, "--html", "-"])?.code, 0, "{whom}");
            assert!(answer(&["doctor", whom])?.as_array().context("a list")?.iter().all(|it| it["subject"] == "node"));
            // Nobody remembers the configuration: the record does.
            let plan = of("plan", &[])?;
            assert_eq!(plan["plan"].as_array().map(Vec::len), Some(2), "the node's shared rules: {plan}");
            assert!(plan["notes"][0].as_str().context("a note")?.starts_with("the runtime remembers no configuration"));
        }
        // The other Pod of that name has one interface, which need not be named.
        assert_eq!(answer(&["show", "bank/web-0"])?["container"], other.container);

        for whom in ["shop/later-0", "later-0", &later.container, &path(&later)] {
            let plan = answer(&["plan", whom])?;
            assert!(changes(&plan).iter().any(|change| change.contains("10.96.0.0/16")), "{whom}: {plan}");
            assert_eq!((&plan["container"], &plan["notes"]), (&json!(later.container), &json!([])), "{whom}");
        }
        // One more interface of a Pod that is known: the caller says with what.
        let network = lab.network(2, 30, Families::Dual);
        other.attach_without_us("net1", &network)?;
        let mut configuration = network.configuration("coordinator", &lab.cluster());
        configuration["prevResult"] = other.result("net1");
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), configuration.to_string())?;
        let file = file.path().display().to_string();
        let planned = answer(&["plan", "bank/web-0", "-i", "net1", "--config", &file])?;
        other.add("net1", &network, &lab.cluster(), &other.result("net1"))?;
        assert!(other.did("net1", &planned)? > 3);

        let planned = answer(&["plan", "later-0"])?;
        later.add("eth0", &lab.network(1, 40, Families::Dual), &lab.cluster(), &later.result("eth0"))?;
        later.did("eth0", &planned)?;
        assert_eq!(answer(&["show", "later-0"])?["state"], "attached");
        Ok(())
    });
}

#[test]
fn a_name_of_several_and_a_name_of_nobody_are_told_with_what_to_try() {
    run(|lab| {
        let [web, ..] = three(lab)?;
        let refused = |arguments: &[&str], code: i32, says: &str| -> Result<()> {
            let said = ask(arguments)?;
            ensure!(said.code == code && said.answer.is_empty(), "{arguments:?}: {said:?}");
            ensure!(said.remarks == format!("coordinatorctl: {says}\n"), "{arguments:?}: {}", said.remarks);
            // A program reads the same in the answer's place.
            let (answer, same) = ask_json(arguments)?;
            ensure!(same == code && answer == json!({"error": says, "exit": code}), "{arguments:?}: {answer}");
            Ok(())
        };
        let several = "\"web-0\" names several Pods: p1-012345678 (shop/web-0), p2-012345678 (bank/web-0); name one by \
                       NAMESPACE/NAME or by its container's id";
        let unrecorded = "p3-012345678/eth0 (shop/later-0) has no record: coordinator has not attached it; `coordinatorctl \
                          plan` shows what an ADD would do";
        for (command, more) in
            [("show", &[][..]), ("explain", &["mode"]), ("plan", &[]), ("check", &[]), ("path", &[]), ("doctor", &[])]
        {
            let of = |whom| [&[command, whom], more].concat();
            refused(&of("web-0"), 2, several)?;
            refused(&of("shop/web-00"), 66, "no attachment is known of \"shop/web-00\"; did you mean shop/web-0?")?;
            let nobody = "no attachment is known of \"nobody\"; `coordinatorctl list` shows those that are";
            refused(&of("nobody"), 66, nobody)?;
            refused(&of(""), 66, "no attachment is known of \"\"; `coordinatorctl list` shows those that are")?;
            if command != "plan" && command != "doctor" {
                refused(&of("later-0"), 66, unrecorded)?;
            }
            if command != "doctor" {
                let missing = "p1-012345678 (shop/web-0) has no attachment net9; it has eth0, net1";
                refused(&[of("shop/web-0"), vec!["-i", "net9"]].concat(), 66, missing)?;
            }
        }
        for command in ["show", "plan", "explain"] {
            let more: &[&str] = if command == "explain" { &["mode"] } else { &[] };
            let choose = "\"shop/web-0\" has several attachments: eth0, net1; choose one with --interface";
            refused(&[&[command, "shop/web-0"], more].concat(), 2, choose)?;
        }
        // A repair of one Pod never reaches another of its name.
        web.host.ip(&["route del 10.96.0.0/16"])?;
        refused(&["check", "web-0", "--repair"], 2, several)?;
        assert_eq!(ask(&["check", "shop/web-0", "--repair"])?.code, 0);

        let explain = |what| ["explain", "shop/web-0", "-i", "eth0", what];
        let none = |what, advice| {
            format!("p1-012345678/eth0 (shop/web-0) has no setting and no object called {what:?}; {advice}")
        };
        refused(&explain("vethMtu"), 66, &none("vethMtu", "did you mean vethMTU?"))?;
        refused(&explain("zzz"), 66, &none("zzz", "`coordinatorctl show` lists what it has"))?;
        let path = "`coordinatorctl path shop/web-0 --to 10.96.0.1` says which route leads there";
        refused(&explain("10.96.0.1"), 66, &none("10.96.0.1", path))?;
        let has = "p1-012345678 (shop/web-0) has no path from or to such an address; its addresses are 10.6.2.20, 10.7.2.20, \
                   fd00:10:6::2:14, fd00:10:7::2:14";
        refused(&["path", "shop/web-0", "--from", "10.9.9.9"], 66, has)?;
        refused(&["path", "shop/web-0", "--from", "10.6.2.20", "--to", "fd00::1"], 66, has)?;
        Ok(())
    });
}

#[test]
fn a_sandbox_that_was_made_anew_is_told_from_the_old_one() {
    run(|lab| {
        let (old, new) = (lab.pod("p1")?, lab.pod("p2")?);
        for (pod, number) in [(&old, 20), (&new, 30)] {
            pod.named("shop", "web-0");
            pod.attach("eth0", &lab.network(1, number, Families::V4), &lab.cluster())?;
        }
        let Said { code, remarks, .. } = ask(&["show", "shop/web-0"])?;
        assert_eq!(code, 2);
        assert!(remarks.contains("p1-012345678 (shop/web-0), p2-012345678 (shop/web-0)"), "{remarks}");
        assert_eq!(answer(&["show", &new.container])?["addresses"], json!(["10.6.2.30"]));
        Ok(())
    });
}
