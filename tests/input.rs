//! Bad input: a CNI error with code, name and value; nothing written; never a panic.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use coordinator_lab::{Families, difference, plugin, run};
use serde_json::{Value, json};

/// Executes the plugin with these variables and this text; its exit code and what it printed.
fn execute(variables: Variables<'_>, input: &[u8]) -> (Option<i32>, Value) {
    let mut child = Command::new(plugin().unwrap())
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A plugin that refuses its environment need not read on.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = serde_json::from_slice(&output.stdout);
    (output.status.code(), printed.unwrap_or_else(|_| panic!("{:?}", String::from_utf8_lossy(&output.stdout))))
}

/// True for an error object of the specification, with this code, whose message has all of `words`.
fn is_error(outcome: &(Option<i32>, Value), code: u64, words: &[&str]) -> bool {
    let (exit, error) = outcome;
    let message = error["msg"].as_str().unwrap_or_default();
    let is_whole = error["cniVersion"].is_string() && error["details"].is_string();
    *exit == Some(1) && is_whole && error["code"] == code && words.iter().all(|word| message.contains(word))
}

fn good() -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "n", "type": "coordinator",
        "prevResult": {"interfaces": [{"name": "eth0", "sandbox": "/run/netns/p1"}], "ips": []}
    })
}

type Variables<'v> = &'v [(&'v str, &'v str)];

const ENVIRONMENT: [(&str, &str); 4] =
    [("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", "p1"), ("CNI_NETNS", "/run/netns/p1"), ("CNI_IFNAME", "eth0")];

#[test]
fn every_setting_is_refused_with_name_and_value() {
    run(|lab| {
        let network = lab.underlay(20, Families::V4);
        let pod = lab.pod("p1")?;
        pod.attach_without_us("eth0", &network)?;
        let before = (lab.node.snapshot()?, pod.host.snapshot()?);
        let bad = json!({
            "mode": "sideways", "podDefaultCniNic": "a/b", "podDefaultRouteNic": "a name that is long",
            "tunePodRoutes": "yes", "overlayPodCIDR": "10.0.0.0/8", "serviceCIDR": ["10.96.0.0/99"], "hijackCIDR": [1],
            "policyRoutes": [{"dst": "10.50.0.0/16", "gw": "fd00::1"}], "hostRuleTable": 254, "podRPFilter": 3,
            "txQueueLen": -1, "podMACPrefix": "01:1b", "vethLinkAddress": "10.0.0.1", "vethMTU": 12,
            "detectIPConflict": 1, "detectGateway": "true", "detectOptions": {"retries": 0},
            "logOptions": {"logFile": "/etc/passwd"}, "pipeline": "../secret", "hostRPFilter": "x", "multusNicPrefix": 5
        });
        let all: Vec<(&String, &Value)> = bad.as_object().unwrap().iter().collect();
        for (name, value) in &all {
            let mut configuration = good();
            configuration[name.as_str()] = (*value).clone();
            let outcome = execute(&ENVIRONMENT, configuration.to_string().as_bytes());
            let inner = value.as_object().and_then(|fields| fields.values().next()).unwrap_or(value);
            assert!(is_error(&outcome, 7, &[name, &inner.to_string()]), "{name}: {outcome:?}");
        }
        // And all at once.
        let mut configuration = good();
        all.iter().for_each(|(name, value)| configuration[name.as_str()] = (*value).clone());
        configuration["prevResult"] = json!({"ips": 3});
        let outcome = execute(&ENVIRONMENT, configuration.to_string().as_bytes());
        let mut names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        names.push("prevResult.ips = 3");
        assert!(is_error(&outcome, 7, &names), "{outcome:?}");

        assert_eq!(difference(&before.0, &lab.node.snapshot()?), [""; 0]);
        assert_eq!(difference(&before.1, &pod.host.snapshot()?), [""; 0]);
        assert!(!std::path::Path::new("/run/coordinator").exists());
        Ok(())
    });
}

#[test]
fn what_is_no_configuration_is_refused() {
    run(|_| {
        let mut without_name = good();
        without_name.as_object_mut().unwrap().remove("name");
        let mut without_result = good();
        without_result.as_object_mut().unwrap().remove("prevResult");
        let cases: [(&[u8], u64, &str); 9] = [
            (b"", 6, "not JSON"),
            (b"{", 6, "not JSON"),
            (b"[]", 6, "not a JSON object"),
            (b"\xff\xfe", 6, "not JSON"),
            (b"{}", 1, "cniVersion is missing"),
            (br#"{"cniVersion":"0.2.0"}"#, 1, "0.2.0"),
            (br#"{"cniVersion":7}"#, 1, "7"),
            (&without_name.to_string().into_bytes(), 7, "name is missing"),
            (&without_result.to_string().into_bytes(), 7, "prevResult is missing"),
        ];
        for (text, code, word) in cases {
            let outcome = execute(&ENVIRONMENT, text);
            assert!(is_error(&outcome, code, &[word]), "{}: {outcome:?}", String::from_utf8_lossy(text));
        }
        let deep = format!("{{\"cniVersion\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(is_error(&execute(&ENVIRONMENT, deep.as_bytes()), 6, &["not JSON"]));
        let long = vec![b' '; 5 << 20];
        assert!(is_error(&execute(&ENVIRONMENT, &long), 6, &["bytes"]));
        Ok(())
    });
}

#[test]
fn a_wrong_environment_is_refused_with_every_name() {
    run(|lab| {
        lab.pod("p1")?;
        let long = "f".repeat(300);
        let cases: [(Variables<'_>, &[&str]); 13] = [
            (&[("CNI_COMMAND", "")], &["CNI_COMMAND"]),
            (&[("CNI_COMMAND", "FROBNICATE")], &["FROBNICATE"]),
            (&[("CNI_CONTAINERID", "../../etc")], &["../../etc"]),
            (&[("CNI_CONTAINERID", "")], &["CNI_CONTAINERID is not set"]),
            (&[("CNI_CONTAINERID", &long)], &["CNI_CONTAINERID"]),
            (&[("CNI_CONTAINERID", "a b")], &["a b"]),
            (&[("CNI_IFNAME", "../x")], &["../x"]),
            (&[("CNI_IFNAME", "sixteen-letters!")], &["sixteen-letters!"]),
            (&[("CNI_NETNS", "")], &["CNI_NETNS is not set"]),
            (&[("CNI_NETNS", "/etc/hostname")], &["/etc/hostname"]),
            (&[("CNI_NETNS", "/nonexistent")], &["/nonexistent"]),
            (&[("CNI_NETNS", "/proc/self/ns/net")], &["/proc/self/ns/net"]),
            (&[("CNI_CONTAINERID", ".x"), ("CNI_IFNAME", ""), ("CNI_NETNS", "")], &[".x", "CNI_IFNAME", "CNI_NETNS"]),
        ];
        for (changed, words) in cases {
            let mut variables = ENVIRONMENT.to_vec();
            for (name, value) in changed {
                variables.retain(|(known, _)| known != name);
                variables.push((name, value));
            }
            let outcome = execute(&variables, good().to_string().as_bytes());
            assert!(is_error(&outcome, 4, words), "{changed:?}: {outcome:?}");
        }
        assert_eq!(std::fs::read_dir("/run/coordinator").map_or(0, Iterator::count), 0);
        Ok(())
    });
}

#[test]
fn a_disabled_plugin_returns_what_it_got_and_needs_nothing() {
    run(|_| {
        for mode in ["disable", "disabled"] {
            let configuration = json!({"cniVersion": "0.4.0", "name": "n", "mode": mode, "vethMTU": -1,
                "prevResult": {"cniVersion": "0.4.0", "anything": [1, {"at": "all"}]}});
            let mut variables = ENVIRONMENT.to_vec();
            variables[2] = ("CNI_NETNS", "/nonexistent");
            let (exit, printed) = execute(&variables, configuration.to_string().as_bytes());
            assert_eq!((exit, printed), (Some(0), configuration["prevResult"].clone()));
        }
        Ok(())
    });
}

#[test]
fn every_version_is_told() {
    let (exit, printed) = execute(&[("CNI_COMMAND", "VERSION")], br#"{"cniVersion":"0.4.0"}"#);
    let versions = json!(["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]);
    assert_eq!((exit, printed), (Some(0), json!({"cniVersion": "0.4.0", "supportedVersions": versions})));
}
