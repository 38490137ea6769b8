use super::*;
use crate::settings::{Layers, resolve};
use coordinator_sdk::Source;
use serde_json::json;
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
};

/// What Spiderpool's agent sends when SpiderCoordinator has nothing set.
fn zeros() -> Map<String, Value> {
    let value = json!({
        "mode": "auto", "tunePodRoutes": false, "hostRuleTable": 500, "podRPFilter": 0, "txQueueLen": 0,
        "overlayPodCIDR": [], "serviceCIDR": null, "hijackCIDR": [], "policyRoutes": null,
        "podDefaultRouteNIC": "", "podMACPrefix": "", "vethLinkAddress": "", "vethMTU": 0,
        "detectIPConflict": false, "detectGateway": false, "hostRPFilter": 0, "podNICs": null
    });
    value.as_object().unwrap().clone()
}

#[test]
fn zero_values_of_the_agent_say_nothing_but_three_do() {
    let kept = without_zeros(zeros());
    let mut names: Vec<_> = kept.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["hostRuleTable", "mode", "podRPFilter", "tunePodRoutes"]);

    let pipeline = json!({"vethMTU": 1400, "detectGateway": true, "tunePodRoutes": true, "podRPFilter": 2});
    let layers = Layers { pipeline: pipeline.as_object(), node: Some(&kept), ..Layers::default() };
    let resolved = resolve(&layers).unwrap();
    for (name, source) in [
        ("vethMTU", Source::Pipeline),
        ("detectGateway", Source::Pipeline),
        ("tunePodRoutes", Source::Node),
        ("podRPFilter", Source::Node),
    ] {
        assert_eq!(resolved.settings.source(name), source, "{name}");
    }
    assert!(resolved.warnings.is_empty(), "{:?}", resolved.warnings);
}

#[test]
fn a_host_rule_table_of_zero_is_refused_as_in_a_configuration() {
    let mut answer = zeros();
    answer.insert("hostRuleTable".to_owned(), json!(0));
    let kept = without_zeros(answer);
    let problems = resolve(&Layers { node: Some(&kept), ..Layers::default() }).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].to_string().starts_with("hostRuleTable = 0: "), "{}", problems[0]);
}

#[test]
fn our_file_is_taken_as_it_stands_and_the_agent_not_asked() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(fs::metadata(directory.path()).unwrap().uid(), 0, "these tests need root, or `unshare -Ur`");
    // A socket that would be an error, were it asked.
    let places = Places { file: directory.path().join("defaults.json"), socket: directory.path().to_owned() };
    let write = |text: &str| {
        fs::write(&places.file, text).unwrap();
        fs::set_permissions(&places.file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    write(r#"{"detectGateway": false, "vethMTU": 1400}"#);
    let defaults = read(&places, Pod::default()).unwrap();
    assert_eq!(Value::from(defaults.node), json!({"detectGateway": false, "vethMTU": 1400}));

    for (text, expected) in [("[1]", "are not a JSON object"), ("{", "are not JSON")] {
        write(text);
        let error = read(&places, Pod::default()).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("defaults.json"), "{error}");
    }
    fs::set_permissions(&places.file, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(matches!(read(&places, Pod::default()), Err(NodeDefaultsError::File(RootFileError::Writable { .. }))));

    fs::remove_file(&places.file).unwrap();
    assert!(matches!(read(&places, Pod::default()), Err(NodeDefaultsError::Agent { .. })));
    let places = Places { socket: directory.path().join("none"), ..places };
    assert_eq!(read(&places, Pod::default()).unwrap(), NodeDefaults::default());
}

#[test]
fn a_pods_own_file_is_a_layer_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let places = Places { file: directory.path().join("defaults.json"), socket: directory.path().join("none") };
    let write = |path: &Path, text: &str| {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    write(&places.file, r#"{"podDefaultRouteNic": "eth0", "vethMTU": 1400}"#);
    fs::create_dir(directory.path().join(POD_FOLDER)).unwrap();
    let file = pod_file(&places.file, "default", "web-0").unwrap();
    let of = |name| {
        let NodeDefaults { node, annotation } = read(&places, Pod { namespace: "default", name }).unwrap();
        assert_eq!(Value::from(node), json!({"podDefaultRouteNic": "eth0", "vethMTU": 1400}));
        Value::from(annotation)
    };
    write(&file, &pod_text(&"net1".parse().unwrap()));
    assert_eq!(of("web-0"), json!({"podDefaultRouteNic": "net1"}));
    assert_eq!(of("web-1"), json!({}));
    write(&file, r#"{"podDefaultRouteNic": "net1", "vethMTU": 68}"#);
    assert_eq!(of("web-0"), json!({"podDefaultRouteNic": "net1"}), "one setting, and no other");
    for text in ["[]", "{"] {
        write(&file, text);
        let error = read(&places, Pod { namespace: "default", name: "web-0" }).unwrap_err().to_string();
        assert!(error.contains("pods/default.web-0"), "{error}");
    }
    write(&file, "{}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(read(&places, Pod { namespace: "default", name: "web-0" }).is_err());
}
