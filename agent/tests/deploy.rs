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

use std::{collections::BTreeSet, fs};

use coordinator_agent::{api::Meter, metrics::Metrics};
use coordinator_objects::{Kind, coordinator::Coordinator};
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment},
        core::v1::{ConfigMap, ServiceAccount},
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use lab::chart::{apply, deploy, helm, name, rendered, rendered_for};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

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

/// With the defaults and with every option, an API server takes each object of the chart.
#[tokio::test]
async fn an_api_server_takes_every_object() {
    let world = lab::World::start().await;
    world
        .open(
            Kind { group: "monitoring.coreos.com", version: "v1", kind: "PodMonitor", plural: "podmonitors" },
            "Namespaced",
        )
        .await;
    let (mut taken, mut refused) = (0, Vec::new());
    for values in std::iter::once(json!({})).chain(options()) {
        for document in rendered_for(&world, &values) {
            // Rules and images as volumes are younger than the oldest servers; without them the rest is taken.
            let is_too_new = match document["kind"].as_str() {
                Some("CustomResourceDefinition") => !lab::has_rules(world.minor),
                Some("DaemonSet") => !lab::has_images(world.minor) && document.to_string().contains("guests-image"),
                _ => false,
            };
            if is_too_new {
                continue;
            }
            match apply(&world, &document, true).await {
                Ok(()) => taken += 1,
                Err(error) => refused.push(format!("{values}: {error}")),
            }
        }
    }
    println!("{taken} objects taken");
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(taken > 80, "{taken} objects");
}
