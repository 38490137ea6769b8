//! The chart: rendered by Helm itself with its defaults and with every option, each object held against the API's types.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout,
    reason = "a test fails by a panic"
)]

mod lab;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use coordinator_agent::{
    api::{Events, Meter},
    conflict::Desk,
    metrics::Metrics,
    node::{Node, Pods, Standing},
};
use coordinator_objects::{Kind, coordinator::Coordinator};
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment},
        core::v1::{ConfigMap, ServiceAccount},
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

fn helm(values: &Value, arguments: &[&str]) -> Output {
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("tools/python");
    assert!(tools.join("helm_python").is_dir(), "{} has no Helm: cargo xtask test puts it there", tools.display());
    let mut python = Command::new("python3");
    python.arg(deploy().join("render.py")).args(arguments).env("PYTHONPATH", tools);
    python.env("COORDINATOR_VALUES", values.to_string()).output().unwrap()
}

fn rendered(values: &Value) -> (String, Vec<Value>) {
    let output = helm(values, &[]);
    assert!(output.status.success(), "{values}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{values}: {error}"));
    (text, documents.into_iter().filter(|document| !document.is_null()).collect())
}

fn name(document: &Value) -> String {
    format!("{} {}", document["kind"].as_str().unwrap_or("?"), document["metadata"]["name"].as_str().unwrap_or("?"))
}

/// Read and written again, an object is the same: a field that the API does not know would be lost.
#[track_caller]
fn is_of<T: DeserializeOwned + Serialize>(document: &Value) {
    let object: T =
        serde_json::from_value(document.clone()).unwrap_or_else(|error| panic!("{}: {error}", name(document)));
    let again = serde_json::to_value(object).unwrap();
    let mut lost = Vec::new();
    missing(document, &again, "", &mut lost);
    assert!(lost.is_empty(), "{}: the API does not know {lost:?}", name(document));
}

fn missing(given: &Value, kept: &Value, path: &str, found: &mut Vec<String>) {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => {
            for (key, value) in given {
                match kept.get(key) {
                    Some(other) => missing(value, other, &format!("{path}.{key}"), found),
                    None if value.is_null() => {}
                    None => found.push(format!("{path}.{key}")),
                }
            }
        }
        (Value::Array(given), Value::Array(kept)) if given.len() == kept.len() => {
            for (at, (value, other)) in given.iter().zip(kept).enumerate() {
                missing(value, other, &format!("{path}[{at}]"), found);
            }
        }
        (given, kept) if given != kept => found.push(format!("{path} = {given}, kept as {kept}")),
        _ => {}
    }
}

fn check(document: &Value) {
    match (document["apiVersion"].as_str().unwrap(), document["kind"].as_str().unwrap()) {
        ("v1", "ServiceAccount") => is_of::<ServiceAccount>(document),
        ("v1", "ConfigMap") => is_of::<ConfigMap>(document),
        ("apps/v1", "DaemonSet") => is_of::<DaemonSet>(document),
        ("apps/v1", "Deployment") => is_of::<Deployment>(document),
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => is_of::<ClusterRole>(document),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => is_of::<ClusterRoleBinding>(document),
        ("rbac.authorization.k8s.io/v1", "Role") => is_of::<Role>(document),
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => is_of::<RoleBinding>(document),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition") => is_of::<CustomResourceDefinition>(document),
        ("spiderpool.spidernet.io/v2beta1", "SpiderCoordinator") => {
            let problems = Coordinator::parse("", "", 1, document).problems();
            assert!(problems.is_empty(), "{problems:?}");
        }
        ("monitoring.coreos.com/v1", "PodMonitor") => {
            assert!(document["spec"]["podMetricsEndpoints"][0]["port"].is_string(), "{document}");
        }
        other => panic!("{other:?} is of a kind that no test knows"),
    }
}

/// Values that together set every option to something else than its default.
fn options() -> Vec<Value> {
    vec![
        json!({"image": {"repository": "registry.example/coordinator", "tag": "v9", "pullPolicy": "Always"}, "imagePullSecrets": [{"name": "secret"}]}),
        json!({"crds": {"install": false}, "coordinator": {"create": false}}),
        json!({"crds": {"kubeVersion": "1.29.4"}}),
        json!({"coordinator": {"spec": {"podCIDRType": "none", "overlayPodCIDR": ["10.244.0.0/16"], "detectIPConflict": true, "vethMTU": 1400}}}),
        json!({"node": {"cniBinDirectory": "/usr/libexec/cni", "careSeconds": 0, "repair": true, "releaseConflictIPs": false, "port": 9999, "logLevel": "debug",
                        "tolerations": [], "nodeSelector": {"a": "b"}, "resources": {}, "seLinuxOptions": {"type": "spc_t"},
                        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "x", "operator": "Exists"}]}]}}}}}),
        json!({"node": {"uninstall": true}}),
        json!({"leader": {"enabled": false}}),
        json!({"leader": {"replicas": 3, "systemNamespace": "control", "ciliumNamespace": "cilium", "cniConfigurations": "", "port": 8888, "logLevel": "warn",
                          "tolerations": [{"operator": "Exists"}], "nodeSelector": {"c": "d"}, "resources": {"limits": {"memory": "1Gi"}}}}),
        json!({"pipelines": {"gpu": "schema = 1\nextends = \"default\"\n"}, "guests": {"configMaps": ["rail", "mac"], "images": ["registry.example/guests:1"],
               "registries": {"references": ["registry.example/stages/rail:1", "registry.example/stages/mac@sha256:00"], "pullSecret": "registry",
                              "certificates": "/etc/pki/tls/certs/ca-bundle.crt"}}}),
        json!({"metrics": {"podMonitor": {"enabled": true, "labels": {"release": "p"}}, "dashboard": {"enabled": true, "labels": {"g": "1"}}}}),
    ]
}

#[test]
fn defaults_and_every_option_are_objects_that_the_api_knows() {
    let mut all = vec![json!({})];
    all.extend(options());
    for values in all {
        let (_, documents) = rendered(&values);
        assert!(documents.len() > 3, "{values}");
        let names: BTreeSet<String> =
            documents.iter().map(|it| format!("{}{}", it["metadata"]["namespace"], name(it))).collect();
        assert_eq!(names.len(), documents.len(), "{values}: two objects of one name");
        documents.iter().for_each(check);
        documents.iter().filter(|it| it["spec"]["template"].is_object()).for_each(|it| is_tight(it, &values));
    }
}

/// No container may do more than its work asks for.
fn is_tight(workload: &Value, values: &Value) {
    let spec = &workload["spec"]["template"]["spec"];
    let containers =
        ["containers", "initContainers"].map(|key| spec[key].as_array().cloned().unwrap_or_default()).concat();
    assert!(!containers.is_empty());
    for container in containers {
        let security = &container["securityContext"];
        assert_eq!(security["readOnlyRootFilesystem"], true, "{values}: {container}");
        assert_eq!(security["capabilities"]["drop"], json!(["ALL"]), "{values}: {container}");
        assert!(security["privileged"].is_null(), "{values}: {container}");
        let added = security["capabilities"]["add"].as_array().cloned().unwrap_or_default();
        let may_enter = container["name"] == "agent" && values["node"]["careSeconds"] != 0;
        assert_eq!(!added.is_empty(), may_enter, "{values}: {container}");
        if !may_enter {
            assert_eq!(security["allowPrivilegeEscalation"], false, "{values}: {container}");
        }
    }
}

/// Every value of the chart is set to something else by one of the options.
#[test]
fn no_option_is_forgotten() {
    let text = fs::read_to_string(deploy().join("chart/values.yaml")).unwrap();
    let defaults: Value = serde_saphyr::from_str(&text).unwrap();
    let mut leaves = Vec::new();
    collect(&defaults, String::new(), &mut leaves);
    assert!(leaves.len() > 25, "{leaves:?}");
    for (pointer, default) in leaves {
        let is_set = options().iter().any(|values| values.pointer(&pointer).is_some_and(|value| *value != default));
        assert!(is_set, "no option sets {pointer}");
    }
}

fn collect(value: &Value, path: String, found: &mut Vec<(String, Value)>) {
    // What a user fills is an option as a whole.
    let is_whole = ["/coordinator/spec", "/node/resources", "/leader/resources", "/metrics/dashboard/labels"]
        .contains(&path.as_str());
    match value {
        Value::Object(fields) if !fields.is_empty() && !is_whole => {
            fields.iter().for_each(|(key, value)| collect(value, format!("{path}/{key}"), found));
        }
        value => found.push((path, value.clone())),
    }
}

#[test]
fn plain_manifests_are_the_charts_defaults() {
    let (text, _) = rendered(&json!({}));
    let committed = fs::read_to_string(deploy().join("manifests/coordinator.yaml")).unwrap();
    assert_eq!(text, committed, "run `cargo xtask manifests`");
}

#[test]
fn wrong_values_are_refused_and_the_linter_is_content() {
    for values in [
        json!({"node": {"port": 0}}),
        json!({"nod": {}}),
        json!({"leader": {"replicas": 0}}),
        json!({"image": {"pullPolicy": "Sometimes"}}),
    ] {
        assert!(!helm(&values, &[]).status.success(), "{values} was taken");
    }
    let output = helm(&json!({}), &["--lint"]);
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let bad: Vec<&Value> =
        findings["messages"].as_array().unwrap().iter().filter(|it| it["severity"].as_i64() > Some(1)).collect();
    assert!(bad.is_empty(), "{bad:?}");
}

#[test]
fn the_dashboard_asks_for_metrics_that_there_are() {
    let text = fs::read_to_string(deploy().join("chart/files/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let metrics = Metrics::new(&Meter::default());
    // What was never counted is not shown.
    for line in ["ADD 100 1 mode", "ADD 101 1 -", "ADD 103 1 -"] {
        metrics.call(&coordinator_core::tally::Call::parse(line).unwrap());
    }
    metrics.attachments("living", 1);
    metrics.drift("route");
    metrics.conflict("keep");
    let known = metrics.text().unwrap();
    let mut asked = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            for word in expression
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .filter(|it| it.starts_with("coordinator_"))
            {
                let base =
                    ["_total", "_bucket"].iter().fold(word, |word, suffix| word.strip_suffix(suffix).unwrap_or(word));
                assert!(known.contains(&format!("# HELP {base} ")), "{word} is no metric of ours");
                asked += 1;
            }
        }
    }
    assert!(asked > 12, "{asked}");
}

/// Everything that a leader asks of the API is allowed by its roles, and nothing is that it never asks.
#[tokio::test]
async fn rights_are_what_the_agent_asks_for() {
    let world = lab::World::start().await;
    world.kubeadm("10.244.0.0/16", "10.96.0.0/12").await;
    world.coordinator(json!({"podCIDRType": "auto"})).await;
    world.put(Kind::CALICO_POOLS[0], None, "one", json!({"spec": {"cidr": "10.1.0.0/16"}})).await;
    world.put(Kind::CALICO_POOLS[0], None, "old", json!({"spec": {"cidr": "10.2.0.0/16", "disabled": true}})).await;
    let network = |name: &str| json!({"metadata": {"annotations": {coordinator_objects::network::CR_NAME: name}}, "spec": {"cniType": "ipoib", "ipoib": {"master": "ib0"}}});
    world.put(Kind::NETWORK, Some(&world.namespace), "net", network("net")).await;
    let leader = world.lead();
    let definition = async |name: &str| {
        let there = async || world.get(Kind::DEFINITION, Some(&world.namespace), name).await.map(drop);
        lab::eventually(&format!("definition {name}"), there).await;
    };
    definition("net").await;
    world.put(Kind::NETWORK, Some(&world.namespace), "net", network("renamed")).await;
    definition("renamed").await;
    world.status_where("it is synced", |status| status.phase == "Synced").await;
    let gone = async || world.get(Kind::DEFINITION, Some(&world.namespace), "net").await.is_none().then_some(());
    lab::eventually("the old definition goes", gone).await;

    let told =
        async || world.events_about("default", "default").await.into_iter().find(|(reason, _)| reason == "Synced");
    lab::eventually("an Event tells", told).await;

    let renewed = async || leader.meter.read().contains_key(&("update".to_owned(), "leases".to_owned())).then_some(());
    lab::eventually("the Lease is renewed", renewed).await;

    let mut besides = vec![
        ("create", "network-attachment-definitions"),
        ("get", "events"),
        ("patch", "events"),
        ("update", "spidermultusconfigs/finalizers"),
    ];
    if world.service_cidrs().await.is_empty() {
        // A server before 1.31 says no to the list, and nothing is watched.
        besides.push(("watch", "servicecidrs"));
    }
    compare(&|name| !name.ends_with("-node"), &leader.meter, &besides);
}

/// The same of a node's agent.
#[tokio::test]
async fn a_nodes_rights_are_what_it_asks_for() {
    let world = lab::World::start().await;
    world.coordinator(json!({})).await;
    let meter = Meter::default();
    let client = world.agents_client(&meter);
    let events = Arc::new(Events::new(client.clone(), "node-1".to_owned()));
    let folder = tempfile::tempdir().unwrap();
    let defaults = folder.path().join("defaults.json");
    let (rhythm, node) = (lab::rhythm(), "node-1".to_owned());
    let pods = Pods {
        client: client.clone(),
        meter: meter.clone(),
        rhythm,
        events: Arc::clone(&events),
        node,
        defaults: defaults.clone(),
    };
    let node =
        Node { client: client.clone(), meter: meter.clone(), rhythm, file: defaults, resync: Duration::from_secs(60) };
    let metrics = Arc::new(Metrics::new(&meter));
    let desk = Desk { client, events, metrics, spiderpool: folder.path().join("none"), is_release_enabled: true };
    let (sender, _standing) = tokio::sync::watch::channel(Standing::default());
    let running =
        [tokio::spawn(async move { node.run(Arc::new(sender)).await }), tokio::spawn(async move { pods.run().await })];
    world
        .create(
            Kind::POD,
            Some(&world.namespace),
            "p",
            json!({"spec": {"nodeName": "node-1", "containers": [{"name": "c", "image": "x"}]}}),
        )
        .await;
    let report = json!({"version": 1, "container": "c", "interface": "net1", "network": "n", "podNamespace": world.namespace, "podName": "p", "podUid": "",
                        "conflicts": [{"ip": "10.6.2.20", "mac": null}]});
    desk.handle(&serde_json::from_value(report).unwrap()).await;
    let watched = async || {
        let asked = meter.read();
        let has = |resource: &str| asked.contains_key(&("watch".to_owned(), resource.to_owned()));
        (has("pods") && has("spidercoordinators")).then_some(())
    };
    lab::eventually("both watches", watched).await;
    compare(&|name| name.ends_with("-node"), &meter, &[("get", "events"), ("patch", "events")]);
    running.iter().for_each(|task| task.abort());
}

/// Compares the rules of some roles with what was asked; `besides` may be allowed though it was not asked here: Events
/// that repeat are counted, a server-side apply creates, an owner's finalizer is asked for by the reference to it.
#[track_caller]
fn compare(role: &dyn Fn(&str) -> bool, meter: &Meter, besides: &[(&str, &str)]) {
    let (_, documents) = rendered(&json!({}));
    let rules: Vec<Value> = documents
        .iter()
        .filter(|it| it["rules"].is_array() && role(it["metadata"]["name"].as_str().unwrap()))
        .flat_map(|it| it["rules"].as_array().unwrap().clone())
        .collect();
    let says = |rule: &Value, key: &str, word: &str| rule[key].as_array().unwrap().iter().any(|it| it == word);
    let asked = meter.read();
    for (verb, resource) in asked.keys() {
        let is_allowed = rules.iter().any(|rule| says(rule, "resources", resource) && says(rule, "verbs", verb));
        assert!(is_allowed, "{verb} {resource} is not allowed");
    }
    let known: BTreeSet<(String, String)> = asked.into_keys().collect();
    for rule in &rules {
        for resource in rule["resources"].as_array().unwrap() {
            for verb in rule["verbs"].as_array().unwrap() {
                let (verb, resource) = (verb.as_str().unwrap(), resource.as_str().unwrap());
                let is_used =
                    known.contains(&(verb.to_owned(), resource.to_owned())) || besides.contains(&(verb, resource));
                assert!(is_used, "{verb} {resource} is allowed and never asked for");
            }
        }
    }
}
