use super::*;
use serde_json::json;
use std::collections::BTreeMap;

fn rendered(spec: Value, annotations: &[(&str, &str)]) -> Result<Attachment, Vec<String>> {
    let annotations: BTreeMap<String, String> =
        annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let spec: NetworkSpec = serde_json::from_value(spec).unwrap();
    render("net", &annotations, &spec).map_err(|error| error.0)
}

fn plugins(attachment: &Attachment) -> Value {
    let config: Value = serde_json::from_str(attachment.config.as_ref().unwrap()).unwrap();
    assert_eq!((config["cniVersion"].as_str(), config["name"].as_str()), (Some("0.3.1"), Some("net")));
    config["plugins"].clone()
}

#[test]
fn every_kind_becomes_its_chain() {
    let pools = json!({"ipv4": ["pool-a"], "ipv6": []});
    let ipam = json!({"type": "spiderpool", "default_ipv4_ippool": ["pool-a"]});
    let bare = json!({"type": "spiderpool"});
    let ours = json!({"type": "coordinator"});
    let cases = [
        (
            json!({"cniType": "macvlan", "macvlan": {"master": ["ens1"], "ippools": pools}}),
            json!([{"type": "macvlan", "master": "ens1", "mode": "bridge", "ipam": ipam}, ours]),
        ),
        (
            json!({"cniType": "macvlan", "macvlan": {"master": ["ens1"], "vlanID": 100, "mtu": 9000}}),
            json!([{"type": "ifacer", "interfaces": ["ens1"], "vlanID": 100},
                   {"type": "macvlan", "master": "ens1.100", "mode": "bridge", "mtu": 9000, "ipam": bare}, ours]),
        ),
        (
            json!({"cniType": "ipvlan", "ipvlan": {"master": ["ens1", "ens2"], "bond": {"name": "bond0", "mode": 1, "options": "primary=ens1"}}}),
            json!([{"type": "ifacer", "interfaces": ["ens1", "ens2"], "bond": {"name": "bond0", "mode": 1, "options": "primary=ens1"}},
                   {"type": "ipvlan", "master": "bond0", "ipam": bare}, ours]),
        ),
        (
            json!({"cniType": "vlan", "vlan": {"master": ["ens1"], "vlanID": 7}}),
            json!([{"type": "vlan", "master": "ens1", "vlanId": 7, "ipam": bare}, ours]),
        ),
        (
            json!({"cniType": "sriov", "sriov": {"resourceName": "x/y", "vlanID": 3, "minTxRateMbps": 10, "maxTxRateMbps": 0, "rdmaIsolation": true, "mtu": 4200}}),
            json!([{"type": "sriov", "vlan": 3, "min_tx_rate": 10, "max_tx_rate": 0, "ipam": bare}, {"type": "rdma"},
                   {"type": "tuning", "mtu": 4200}, ours]),
        ),
        (
            json!({"cniType": "ib-sriov", "ibsriov": {"resourceName": "x/ib", "pkey": "1000"}}),
            json!([{"type": "ib-sriov", "pkey": "1000", "link_state": "enable", "rdmaIsolation": true,
                    "ibKubernetesEnabled": false, "ipam": bare}, ours]),
        ),
        (
            json!({"cniType": "ipoib", "ipoib": {"master": "ib0"}}),
            json!([{"type": "ipoib", "master": "ib0", "ipam": bare}, ours]),
        ),
        (
            json!({"cniType": "ovs", "ovs": {"bridge": "br1", "trunk": [{"minID": 10, "maxID": 20}, {"id": 30}], "deviceID": "0000:65:00.2"}}),
            json!([{"type": "ovs", "bridge": "br1", "trunk": [{"minID": 10, "maxID": 20}, {"id": 30}], "deviceID": "0000:65:00.2", "ipam": bare}, ours]),
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(plugins(&rendered(spec.clone(), &[]).unwrap()), expected, "{spec}");
    }
}

#[test]
fn resources_are_asked_of_multus() {
    let key = "k8s.v1.cni.cncf.io/resourceName";
    for (spec, expected) in [
        (json!({"cniType": "sriov", "sriov": {"resourceName": "x/y"}}), Some("x/y")),
        (json!({"cniType": "ib-sriov", "ibsriov": {"resourceName": "x/ib"}}), Some("x/ib")),
        (
            json!({"cniType": "ovs", "ovs": {"bridge": "br1", "deviceID": "0000:65:00.2"}}),
            Some("ovs-cni.network.kubevirt.io/br1"),
        ),
        (json!({"cniType": "ovs", "ovs": {"bridge": "br1"}}), None),
    ] {
        let attachment = rendered(spec, &[]).unwrap();
        assert_eq!(attachment.annotations.get(key).map(String::as_str), expected);
    }
}

#[test]
fn the_coordinators_section_has_the_names_of_the_cni_configuration() {
    let spec = json!({"cniType": "macvlan", "macvlan": {"master": ["ens1"]}, "disableIPAM": true,
        "coordinator": {"mode": "underlay", "podDefaultRouteNIC": "net1", "podCIDRType": "none", "hijackCIDR": ["169.254.20.10"],
                        "podMACPrefix": null},
        "chainCNIJsonData": ["{\"type\": \"tuning\"}"]});
    assert_eq!(
        plugins(&rendered(spec.clone(), &[]).unwrap()),
        json!([{"type": "macvlan", "master": "ens1", "mode": "bridge"},
               {"type": "coordinator", "mode": "underlay", "podDefaultRouteNic": "net1", "hijackCIDR": ["169.254.20.10"]},
               {"type": "tuning"}])
    );
    let mut without = spec;
    without["enableCoordinator"] = json!(false);
    without["ipam"] = json!({"enabled": true});
    assert_eq!(
        plugins(&rendered(without, &[]).unwrap()),
        json!([{"type": "macvlan", "master": "ens1", "mode": "bridge", "ipam": {"type": "spiderpool"}}, {"type": "tuning"}])
    );
}

#[test]
fn annotations_name_the_definition_its_version_and_its_network() {
    let spec = json!({"cniType": "ipoib", "ipoib": {"master": "ib0"}});
    let annotations = [
        (CR_NAME, "storage-v2"),
        (CNI_VERSION, "1.0.0"),
        (CONFIGURATION_NAME, "storage"),
        ("team", "x"),
        ("kubectl.kubernetes.io/last-applied-configuration", "{}"),
    ];
    let attachment = rendered(spec.clone(), &annotations).unwrap();
    assert_eq!(attachment.name, "storage-v2");
    let config: Value = serde_json::from_str(attachment.config.as_ref().unwrap()).unwrap();
    assert_eq!((&config["cniVersion"], &config["name"]), (&json!("1.0.0"), &json!("storage")));
    assert!(attachment.annotations.contains_key("team"));
    assert!(!attachment.annotations.contains_key("kubectl.kubernetes.io/last-applied-configuration"));

    let problems = rendered(spec, &[(CR_NAME, "No/Name"), (CNI_VERSION, "2.0.0")]).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(
        problems[0].contains("\"No/Name\"") && problems[1].contains("expected one of 0.3.0, 0.3.1"),
        "{problems:?}"
    );
}

#[test]
fn a_custom_configuration_is_taken_word_for_word() {
    let text = r#"{ "cniVersion":"0.3.1", "type": "coordinator", "mode": "overlay" }"#;
    assert_eq!(rendered(json!({"cniType": "custom", "customCNI": text}), &[]).unwrap().config.as_deref(), Some(text));
    assert_eq!(rendered(json!({"customCNI": text}), &[]).unwrap().config.as_deref(), Some(text));
    assert_eq!(rendered(json!({"cniType": "custom"}), &[]).unwrap().config, None);
    for (text, expected) in [("[1]", "is not a JSON object"), ("{", "is not JSON")] {
        assert!(rendered(json!({"customCNI": text}), &[]).unwrap_err()[0].contains(expected));
    }
}

#[test]
fn every_problem_is_told_at_once() {
    let cases = [
        (json!({"cniType": "bridge"}), vec!["cniType = \"bridge\": expected macvlan"]),
        (json!({"cniType": "sriov"}), vec!["sriov is missing"]),
        (json!({"cniType": "macvlan", "macvlan": {}}), vec!["macvlan.master needs at least one"]),
        (
            json!({"cniType": "ipvlan", "ipvlan": {"master": ["a", "b"], "vlanID": 4095}, "coordinator": {"vethMTU": 1, "mode": "x"},
                   "chainCNIJsonData": ["{}", "x"]}),
            vec![
                "ipvlan.vlanID = 4095",
                "ipvlan.bond is missing",
                "coordinator.mode = \"x\"",
                "coordinator.vethMTU = 1: expected a whole number from 68 to 65535",
                "chainCNIJsonData[0] has no type",
                "chainCNIJsonData[1] is not JSON",
            ],
        ),
        (json!({"cniType": "vlan", "vlan": {"master": ["a"]}}), vec!["vlan.vlanID is missing"]),
        (
            json!({"cniType": "macvlan", "macvlan": {"master": ["a", "b"], "bond": {"name": "", "mode": 7}}}),
            vec!["macvlan.bond.name is empty", "macvlan.bond.mode = 7"],
        ),
        (
            json!({"cniType": "sriov", "sriov": {"minTxRateMbps": 9, "maxTxRateMbps": 3}}),
            vec!["sriov.resourceName is empty", "is above"],
        ),
        (
            json!({"cniType": "ib-sriov", "ibsriov": {"resourceName": "x", "linkState": "up"}}),
            vec!["linkState = \"up\""],
        ),
        (json!({"cniType": "ovs", "ovs": {"vlan": 5000}}), vec!["ovs.bridge is empty", "the VLAN 5000"]),
    ];
    for (spec, expected) in cases {
        let problems = rendered(spec.clone(), &[]).unwrap_err();
        assert_eq!(problems.len(), expected.len(), "{problems:?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.contains(expected), "{problem} does not contain {expected}");
        }
    }
}
