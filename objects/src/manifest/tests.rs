use super::*;
use serde_json::json;

/// The problems of a text as lines, without the file's name.
fn told(text: &str) -> Vec<String> {
    let mut manifest = Manifest::default();
    manifest.read("f", text);
    manifest.problems.iter().map(|problem| problem.to_string().trim_start_matches("f:").to_owned()).collect()
}

const COORDINATOR: &str =
    "apiVersion: spiderpool.spidernet.io/v2beta1\nkind: SpiderCoordinator\nmetadata: {name: default}\n";
const NETWORK: &str =
    "apiVersion: spiderpool.spidernet.io/v2beta1\nkind: SpiderMultusConfig\nmetadata: {name: net, namespace: prod}\n";

#[test]
fn what_is_right_is_rendered_and_what_is_foreign_passed_over() {
    let mut manifest = Manifest::default();
    let text = format!(
        "{COORDINATOR}spec: {{vethMTU: 1400, podCIDRType: calico, podDefaultRouteNIC: net1}}\nstatus: {{phase: Synced}}\n---\n\
         kind: ConfigMap\n---\n{NETWORK}spec:\n  cniType: macvlan\n  macvlan: {{master: [ens1]}}\n"
    );
    manifest.read("f", &text);
    assert!(manifest.problems.is_empty(), "{:?}", manifest.problems);
    assert_eq!(manifest.objects, 2);
    let [definition] = manifest.definitions.as_slice() else { panic!("{:?}", manifest.definitions) };
    assert_eq!(definition["kind"], "NetworkAttachmentDefinition");
    assert_eq!(definition["metadata"], json!({"name": "net", "namespace": "prod"}));
    assert!(definition["spec"]["config"].as_str().unwrap().contains(r#"{"type":"coordinator"}"#), "{definition}");
}

#[test]
fn every_problem_has_its_line_and_is_told_once() {
    let text = format!(
        "{COORDINATOR}spec:\n  vethMTU: 1\n  podCIDRType: flannel\n  detectGatway: true\n  hijackCIDR: 10.0.0.0/8\n  podDefaultRouteNIC: a/b\n---\n\
         {NETWORK}spec:\n  cniType: ipvlan\n  ipvlan:\n    master: ens1\n    vlanID: 70000\n    mtu: 99999\n    bond: {{name: b}}\n  coordinator:\n\
         \x20   mode: sideways\n    vethMTU: \"1400\"\n    txQueueLen: [1]\n  chainCNIJsonData: ['{{']\n"
    );
    let expected = [
        "5:3: SpiderCoordinator default: vethMTU = 1: expected a whole number from 68 to 65535",
        "6:3: SpiderCoordinator default: podCIDRType = \"flannel\": expected one of auto, cluster, calico, cilium, none",
        "7:3: SpiderCoordinator default: detectGatway is no field here; did you mean detectGateway?",
        "8:3: SpiderCoordinator default: hijackCIDR = \"10.0.0.0/8\": expected a list",
        "9:3: SpiderCoordinator default: podDefaultRouteNIC = \"a/b\": interface name",
        "17:5: SpiderMultusConfig prod/net: ipvlan.master = \"ens1\": expected a list",
        "18:5: SpiderMultusConfig prod/net: ipvlan.vlanID = 70000: expected 0 to 4094",
        "19:5: SpiderMultusConfig prod/net: ipvlan.mtu = 99999: expected a whole number from 0 to 65535",
        "20:5: SpiderMultusConfig prod/net: ipvlan.bond.mode is missing",
        "22:5: SpiderMultusConfig prod/net: coordinator.mode = \"sideways\": expected auto",
        "23:5: SpiderMultusConfig prod/net: coordinator.vethMTU = \"1400\": expected a whole number",
        "24:5: SpiderMultusConfig prod/net: coordinator.txQueueLen = [1]: expected a whole number",
        "25:22: SpiderMultusConfig prod/net: chainCNIJsonData[0] is not JSON",
    ];
    let found = told(&text);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found} does not begin with {expected}");
    }
}

#[test]
fn headers_names_and_lists_are_looked_at() {
    let found = told(
        "kind: SpiderCoordinator\napiVersion: spiderpool.spidernet.io/v1\nmetadata: {name: other}\n---\n\
         kind: SpiderMultusConfigList\nitems:\n- {kind: SpiderMultusConfig, apiVersion: spiderpool.spidernet.io/v2beta1, metadata: {}, spec: {cniType: sriov}}\n",
    );
    assert_eq!(
        found,
        [
            "2:1: SpiderCoordinator other: apiVersion = \"spiderpool.spidernet.io/v1\": expected spiderpool.spidernet.io/v2beta1",
            "3:12: warning: SpiderCoordinator other: only the one called default counts",
            "7:75: SpiderMultusConfig without a name: metadata.name is missing",
            "7:89: SpiderMultusConfig without a name: sriov is missing: cniType asks for it",
        ]
    );
    assert!(told("a: [").first().unwrap().contains("this is not YAML"), "{:?}", told("a: ["));
    let mut manifest = Manifest::default();
    for file in ["one", "two"] {
        manifest.read(file, &format!("{NETWORK}spec: {{cniType: custom}}\n"));
    }
    let [problem] = manifest.problems.as_slice() else { panic!("{:?}", manifest.problems) };
    assert_eq!((problem.path.as_str(), problem.line), ("two", 3));
    assert!(problem.message.contains("is SpiderMultusConfig prod/net's already"), "{problem}");
}

#[test]
fn our_plugin_in_a_definition_of_ones_own_is_checked_and_values_without_effect_are_warned_about() {
    let text = "kind: NetworkAttachmentDefinition\napiVersion: k8s.cni.cncf.io/v1\nmetadata: {name: own}\nspec:\n  config: |-\n    ";
    let chain = r#"{"plugins": [{"type": "macvlan"}, {"type": "coordinator", "vethMTU": 1, "mode": "auto"}]}"#;
    let found = told(&format!("{text}{chain}\n"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("5:3: NetworkAttachmentDefinition own: config, coordinator: vethMTU = 1"),
        "{found:?}"
    );
    let found = told(&format!("{text}{{\n"));
    assert!(found[0].contains("config is not JSON"), "{found:?}");
    let found = told(&format!("{NETWORK}spec: {{coordinator: {{hostRPFilter: 1}}}}\n"));
    assert!(found[0].contains("warning: SpiderMultusConfig prod/net: coordinator: hostRPFilter"), "{found:?}");
    assert!(told(&format!("{COORDINATOR}spec: {{hostRPFilter: 0}}\n")).is_empty());
}
