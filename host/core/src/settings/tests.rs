use super::*;
use serde_json::json;

fn layer(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// Resolves pipeline, node, annotation and configuration.
fn resolved(values: [Value; 4]) -> Result<Resolved, Vec<String>> {
    let [pipeline, node, annotation, configuration] = values.map(layer);
    let layers = Layers {
        pipeline: Some(&pipeline),
        node: Some(&node),
        annotation: Some(&annotation),
        configuration: Some(&configuration),
        ..Layers::default()
    };
    resolve(&layers).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn configured(value: Value) -> Result<Resolved, Vec<String>> {
    resolved([json!({}), json!({}), json!({}), value])
}

#[test]
fn each_layer_overrides_the_weaker_ones() {
    let all = |mtu: u32| json!({"vethMTU": mtu});
    let cases = [
        ([json!({}), json!({}), json!({}), json!({})], None, Source::Builtin),
        ([all(1), json!({}), json!({}), json!({})], Some(1), Source::Pipeline),
        ([all(1), all(2), json!({}), json!({})], Some(2), Source::Node),
        ([all(1), all(2), all(3), json!({})], Some(3), Source::Annotation),
        ([all(1), all(2), all(3), all(4)], Some(4), Source::Configuration),
    ];
    for (layers, expected, source) in cases {
        let layers = layers.map(|layer| match layer.get("vethMTU").and_then(Value::as_u64) {
            Some(n) => json!({"vethMTU": 1000 + n}),
            None => layer,
        });
        let settings = resolved(layers).unwrap().settings;
        assert_eq!(settings.veth_mtu, expected.map(|n| 1000 + n));
        assert_eq!(settings.source("vethMTU"), source);
    }
}

#[test]
fn options_of_several_layers_are_joined_field_by_field() {
    let settings = resolved([
        json!({"detectOptions": {"retries": 9, "interval": "20ms"}}),
        json!({"detectOptions": {"retries": 5}}),
        json!({}),
        json!({"detectOptions": {"timeout": "1s"}}),
    ])
    .unwrap()
    .settings;
    let options = settings.detect_options;
    assert_eq!((options.retries, options.interval.as_millis(), options.timeout.as_millis()), (5, 20, 1000));
}

#[test]
fn all_problems_of_all_layers_are_reported_at_once() {
    let problems = resolved([
        json!({"vethMTU": 1, "podMacPrefix": "0a:1b", "pipeline": "other"}),
        json!({"hostRuleTable": 255, "podRPFilter": 3}),
        json!({"podDefaultRouteNic": "a/b"}),
        json!({"mode": "sideways", "podMACPrefix": "zz:zz", "podDefaultRouteNIC": "b/c",
               "logOptions": {"logFile": "/etc/passwd"}}),
    ])
    .unwrap_err();
    let all = problems.join("\n");
    for expected in [
        "vethMTU = 1: expected a whole number from 68 to 65535 (set by: pipeline)",
        "podMacPrefix = \"0a:1b\": there is no setting called podMacPrefix; did you mean podMACPrefix? (set by: pipeline)",
        "pipeline = \"other\": a pipeline cannot choose another one",
        "hostRuleTable = 255: 253, 254 and 255",
        "podRPFilter = 3: ",
        "podDefaultRouteNic = \"a/b\": ",
        "(set by: annotation)",
        "mode = \"sideways\": ",
        "podMACPrefix = \"zz:zz\": ",
        "podDefaultRouteNIC = \"b/c\": ",
        "logOptions.logFile = \"/etc/passwd\": a log file must lie under /var/log/spidernet",
    ] {
        assert!(all.contains(expected), "{expected}\nnot in\n{all}");
    }
    assert_eq!(problems.len(), 10, "{all}");
}

#[test]
fn foreign_keys_are_tolerated_and_near_misses_warned_about() {
    let resolved = configured(json!({
        "cniVersion": "1.0.0", "name": "n", "type": "coordinator", "ipam": {}, "dns": {}, "args": {"cni": {}},
        "runtimeConfig": {"mac": "x"}, "master": "ens1", "bridge": "x", "podMacPrefix": "0a:1b",
        "serviceCidr": ["10.0.0.0/8"]
    }))
    .unwrap();
    assert_eq!(
        resolved.warnings,
        [
            "unknown field \"podMacPrefix\"; did you mean podMACPrefix?",
            "unknown field \"serviceCidr\"; did you mean serviceCIDR?",
        ]
    );
    assert_eq!(resolved.settings, Settings::default());
}

#[test]
fn unknown_node_defaults_are_warned_about() {
    let warnings =
        resolved([json!({}), json!({"podNICs": ["eth0"], "podCIDRType": "auto", "frob": 1}), json!({}), json!({})])
            .unwrap()
            .warnings;
    assert_eq!(warnings, ["unknown field \"frob\" in the node defaults"]);
}

#[test]
fn what_is_empty_lets_a_weaker_layer_speak() {
    let node = json!({"mode": "underlay", "hijackCIDR": ["10.0.0.0/8"], "podMACPrefix": "0a:1b",
                      "podDefaultRouteNIC": "net1", "podRPFilter": 2, "txQueueLen": 500});
    let configuration = json!({"mode": "", "hijackCIDR": [], "podMACPrefix": "", "podDefaultRouteNic": "",
                               "podRPFilter": 0, "txQueueLen": 0, "vethMTU": null, "multusNicPrefix": ""});
    let Resolved { settings, warnings } = resolved([json!({}), node, json!({}), configuration]).unwrap();
    for name in ["mode", "hijackCIDR", "podMACPrefix", "podDefaultRouteNic"] {
        assert_eq!(settings.source(name), Source::Node, "{name}");
    }
    assert_eq!(settings.pod_default_route_nic.unwrap().as_str(), "net1");
    assert_eq!(settings.pod_rp_filter, coordinator_sdk::RpFilter::Set(0));
    assert_eq!(settings.tx_queue_len, None);
    assert!(warnings.is_empty(), "{warnings:?}");
    assert!(configured(json!({"vethMTU": 0})).is_err());
}

#[test]
fn a_log_file_lies_under_the_log_directory() {
    for good in ["/var/log/spidernet/coordinator.log", "/var/log/spidernet/a/b.log", "/var/log/spidernet/./c"] {
        assert!(configured(json!({"logOptions": {"logFile": good}})).is_ok(), "{good}");
    }
    for bad in [
        "/var/log/spidernet",
        "/var/log/spidernet/",
        "/var/log/spidernet/../x",
        "/etc/x",
        "x.log",
        "/var/log/spidernetx/y",
    ] {
        let problems = configured(json!({"logOptions": {"logFile": bad}})).unwrap_err();
        assert!(problems.join("\n").starts_with(&format!("logOptions.logFile = {bad:?}: ")), "{bad}: {problems:?}");
    }
}

#[test]
fn a_long_value_is_shortened_in_the_message() {
    let problems = configured(json!({"mode": "ü".repeat(100_000)})).unwrap_err();
    let [problem] = problems.as_slice() else { panic!("{problems:?}") };
    assert!(problem.len() < 700 && problem.contains('…'), "{}", problem.len());
}

#[test]
fn the_configuration_chooses_the_pipeline_before_the_node() {
    let name = |configuration: Value, node: Value| {
        pipeline_name(&layer(configuration), Some(&layer(node))).map_err(|problem| problem.to_string())
    };
    assert_eq!(name(json!({}), json!({})), Ok(None));
    assert_eq!(name(json!({"pipeline": ""}), json!({"pipeline": "gpu"})), Ok(Some("gpu".to_owned())));
    assert_eq!(name(json!({"pipeline": "rail"}), json!({"pipeline": "gpu"})), Ok(Some("rail".to_owned())));
    assert!(name(json!({"pipeline": "../x"}), json!({})).unwrap_err().starts_with("pipeline = \"../x\": "));
}
