//! The chart, rendered by Helm itself, and its objects given to a server.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use coordinator_objects::Kind;
use kube::api::{Patch, PatchParams};
use serde_json::Value;

use super::World;

pub(crate) fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

pub(crate) fn helm(values: &Value, arguments: &[&str]) -> Output {
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("tools/python");
    assert!(tools.join("helm_python").is_dir(), "{} has no Helm: cargo xtask test puts it there", tools.display());
    let mut python = Command::new("python3");
    python.arg(deploy().join("render.py")).args(arguments).env("PYTHONPATH", tools);
    python.env("COORDINATOR_VALUES", values.to_string()).output().unwrap()
}

pub(crate) fn rendered(values: &Value) -> (String, Vec<Value>) {
    let output = helm(values, &[]);
    assert!(output.status.success(), "{values}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{values}: {error}"));
    (text, documents.into_iter().filter(|document| !document.is_null()).collect())
}

pub(crate) fn name(document: &Value) -> String {
    format!("{} {}", document["kind"].as_str().unwrap_or("?"), document["metadata"]["name"].as_str().unwrap_or("?"))
}

/// Plurals of what the chart makes.
const PLURALS: [(&str, &str, &str, &str); 12] = [
    ("", "v1", "ServiceAccount", "serviceaccounts"),
    ("", "v1", "ConfigMap", "configmaps"),
    ("apps", "v1", "DaemonSet", "daemonsets"),
    ("apps", "v1", "Deployment", "deployments"),
    ("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles"),
    ("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings"),
    ("rbac.authorization.k8s.io", "v1", "Role", "roles"),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
    ("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions"),
    ("spiderpool.spidernet.io", "v2beta1", "SpiderCoordinator", "spidercoordinators"),
    ("monitoring.coreos.com", "v1", "PodMonitor", "podmonitors"),
    ("k8s.cni.cncf.io", "v1", "NetworkAttachmentDefinition", "network-attachment-definitions"),
];

/// Applies one of the chart's objects, which is of the world's namespace, or lets the server say what it thinks of it.
pub(crate) async fn apply(world: &World, document: &Value, is_dry: bool) -> Result<(), String> {
    let all = PLURALS.map(|(group, version, kind, plural)| Kind { group, version, kind, plural });
    let of = |kind: &Kind| document["kind"] == kind.kind && document["apiVersion"] == kind.api_version();
    let kind = all.into_iter().find(of).unwrap_or_else(|| panic!("{document}"));
    let api = coordinator_agent::api::objects(&world.client, kind, document["metadata"]["namespace"].as_str());
    let parameters = PatchParams { dry_run: is_dry, ..PatchParams::apply(super::MANAGER).force() };
    let sent = api.patch(document["metadata"]["name"].as_str().unwrap(), &parameters, &Patch::Apply(document)).await;
    sent.map(drop).map_err(|error| format!("{}: {error}", name(document)))
}

/// The chart's objects for a world, whose namespace plays all of the chart's.
pub(crate) fn rendered_for(world: &World, values: &Value) -> Vec<Value> {
    let (text, _) = rendered(values);
    let namespaces = ["kube-system", "control", "cilium"].map(|name| format!("namespace: {name}"));
    let own = format!("namespace: {}", world.namespace);
    let text =
        namespaces.iter().fold(text, |text, namespace| text.replace(&format!("{namespace}\n"), &format!("{own}\n")));
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    documents.into_iter().filter(|document| !document.is_null()).collect()
}
