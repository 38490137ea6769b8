//! The definitions' rules and the plugin agree: over one table, each refuses what the other refuses, in the same words.
//!
//! The rules are evaluated by a CEL library; the API server's own functions (`isIP`, `cidr`, …) are added here.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout,
    reason = "a test fails by a panic"
)]

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use cel::{Context, Env, Value as Cel, extensions, extractors::This, objects::Map};
use coordinator_core::settings::{Layers, resolve};
use coordinator_objects::{
    crd::{self, Schema},
    network::{NetworkSpec, render},
};
use ipnet::IpNet;
use serde_json::{Value, json};

/// A value as the API server hands it to a rule.
fn cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(flag) => Cel::Bool(*flag),
        Value::Number(number) => Cel::Int(number.as_i64().unwrap()),
        Value::String(text) => Cel::from(text.as_str()),
        Value::Array(entries) => Cel::List(Arc::new(entries.iter().map(cel).collect())),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| (key.clone().into(), cel(value)));
            Cel::Map(Map { map: Arc::new(fields.collect()) })
        }
    }
}

fn ip(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

fn cidr(text: &str) -> Option<IpNet> {
    text.parse().ok()
}

/// Go's `time.ParseDuration`, in nanoseconds.
fn duration(text: &str) -> i64 {
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() && rest != "0" {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap();
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit() || c == '.').map_or(rest.len(), |at| digits + at);
        let scale = BTreeMap::from([
            ("ns", 1.0),
            ("us", 1e3),
            ("µs", 1e3),
            ("μs", 1e3),
            ("ms", 1e6),
            ("s", 1e9),
            ("m", 60e9),
            ("h", 3600e9),
        ]);
        total += rest[..digits].parse::<f64>().unwrap() * scale[&rest[digits..unit]];
        rest = &rest[unit..];
    }
    Duration::from_secs_f64(total / 1e9).as_nanos() as i64
}

struct Evaluator(Arc<Env>);

impl Evaluator {
    fn new() -> Self {
        let mut env = Env::stdlib();
        env.add_extension(extensions::strings).unwrap();
        Self(Arc::new(env))
    }

    fn evaluate(&self, rule: &str, value: &Value) -> Result<Cel, String> {
        let program = self.0.compile(rule).unwrap_or_else(|error| panic!("{rule}: {error}"));
        let mut context = Context::with_env(Arc::clone(&self.0));
        context.add_variable_from_value("self", cel(value));
        context.add_function("isIP", |text: Arc<String>| ip(&text).is_some()).unwrap();
        context.add_function("isCIDR", |text: Arc<String>| cidr(&text).is_some()).unwrap();
        // An address is its text here; `cidr("…").ip()` and `ip("…")` are both found by the part before the slash.
        let address = |This(text): This<Arc<String>>| text.split('/').next().unwrap_or_default().to_owned();
        context.add_function("ip", address).unwrap();
        context.add_function("cidr", |text: Arc<String>| text.to_string()).unwrap();
        let family = |This(text): This<Arc<String>>| if ip(&text).is_some_and(|it| it.is_ipv4()) { 4_i64 } else { 6 };
        context.add_function("family", family).unwrap();
        let link_local = |This(text): This<Arc<String>>| match ip(&text) {
            Some(IpAddr::V4(v4)) => v4.is_link_local(),
            Some(IpAddr::V6(v6)) => v6.is_unicast_link_local(),
            None => false,
        };
        context.add_function("isLinkLocalUnicast", link_local).unwrap();
        let nanoseconds = |text: Arc<String>| duration(&text);
        context.add_function("duration", nanoseconds).unwrap();
        program.execute(&context).map_err(|error| format!("{rule}: {error}"))
    }

    /// What the API server would say; types are told by their name.
    fn refusals(&self, schema: &Schema, value: &Value, found: &mut Vec<String>) {
        let fits = match schema.kind() {
            "string" => value.is_string(),
            "integer" => value.as_i64().is_some(),
            "boolean" => value.is_boolean(),
            "array" => value.is_array(),
            _ => value.is_object(),
        };
        if !fits {
            found.push(format!("type {}", schema.kind()));
            return;
        }
        for rule in &schema.rules {
            match self.evaluate(&rule.rule, value) {
                Ok(Cel::Bool(true)) => {}
                Ok(Cel::Bool(false)) => {
                    let told = rule.expression.as_ref().map(|expression| match self.evaluate(expression, value) {
                        Ok(Cel::String(text)) => text.to_string(),
                        other => panic!("{expression}: {other:?}"),
                    });
                    found.push(told.unwrap_or_else(|| rule.message.clone()));
                }
                other => panic!("{}: {other:?}", rule.rule),
            }
        }
        match value {
            Value::Array(entries) => {
                let entry = schema.part("[]").unwrap();
                entries.iter().for_each(|value| self.refusals(entry, value, found));
            }
            Value::Object(fields) => {
                for (key, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                    // Unknown fields are pruned before rules are evaluated.
                    if let Some(part) = schema.part(key) {
                        self.refusals(part, value, found);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Good and bad values of every setting.
fn table() -> Vec<(&'static str, Vec<Value>)> {
    let cidrs = || {
        vec![
            json!([]),
            json!(["10.0.0.0/8", " 172.31.9.0/16 ", "169.254.20.10", "fd00::/8", "::1", "0.0.0.0/0"]),
            json!(["10.96.0.0/99"]),
            json!([""]),
            json!([" "]),
            json!(["x"]),
            json!(["10.0.0.0/8", "10.0.0.300"]),
            json!(["10.0.0/8"]),
            json!([1]),
            json!("10.0.0.0/8"),
            json!(["fd00::/129"]),
            json!(["10.0.0.0/-1"]),
            json!(["fe80::1%eth0"]),
        ]
    };
    let interfaces = |more: Value| {
        vec![
            json!("eth0"),
            json!("net1"),
            json!("eth0.100"),
            json!("fifteen-letters"),
            json!("sixteen-letters!"),
            json!("a/b"),
            json!("a:b"),
            json!("a b"),
            json!("."),
            json!(".."),
            json!("..."),
            json!("ö"),
            json!("öööööööö"),
            json!("\u{a0}"),
            json!("a\u{2003}b"),
            json!(7),
            more,
        ]
    };
    vec![
        (
            "mode",
            ["auto", "", "underlay", "overlay", "disable", "disabled", "sideways", "Auto", " auto"]
                .map(|text| json!(text))
                .to_vec(),
        ),
        ("podDefaultCniNic", interfaces(json!(""))),
        ("podDefaultRouteNIC", interfaces(json!(""))),
        ("tunePodRoutes", vec![json!(true), json!(false), json!("yes"), json!(1)]),
        ("overlayPodCIDR", cidrs()),
        ("serviceCIDR", cidrs()),
        ("hijackCIDR", cidrs()),
        (
            "policyRoutes",
            vec![
                json!([]),
                json!([{"dst": "10.50.0.0/16", "gw": "10.6.0.1"}, {"dst": "fd00::1", "gw": " fd00::2 "}]),
                json!([{"dst": "10.50.0.0/16", "gw": "fd00::1"}]),
                json!([{"dst": "10.50.0.0/16", "gw": "x"}]),
                json!([{"dst": "10.50.0.0/16"}]),
                json!([{"gw": "10.6.0.1"}]),
                json!([{}]),
                json!([{"dst": "", "gw": "10.6.0.1"}]),
                json!([{"dst": "10.50.0.0/16", "gw": ""}]),
                json!([{"dst": "10.50.0.0/16", "gw": "10.6.0.1/32"}]),
                json!({}),
            ],
        ),
        (
            "hostRuleTable",
            [1, 252, 253, 254, 255, 256, 500, 4_294_967_295, 4_294_967_296_i64, 0, -1]
                .map(|number| json!(number))
                .to_vec(),
        ),
        ("podRPFilter", [-7, -1, 0, 1, 2, 3, 100].map(|number| json!(number)).to_vec()),
        ("hostRPFilter", vec![json!(0), json!(-1), json!(9), json!("x")]),
        ("multusNicPrefix", vec![json!("net"), json!(""), json!(1)]),
        ("txQueueLen", [0, 1, 1000, 4_294_967_295, 4_294_967_296_i64, -1].map(|number| json!(number)).to_vec()),
        (
            "podMACPrefix",
            [
                "", "0a:1b", "0A-1B", "fe:ff", "01:1b", "0b:00", "f1-00", "zz:zz", "0a1b", "0a:1b:2c", "a:1b", "0a:1",
                " 0a:1b", "0a.1b", "0a:",
            ]
            .map(|text| json!(text))
            .to_vec(),
        ),
        (
            "vethLinkAddress",
            [
                "",
                "169.254.1.1",
                "fe80::1",
                "febf::1",
                " 169.254.1.1 ",
                "10.0.0.1",
                "fd00::1",
                "fec0::1",
                "169.254.1.1/32",
                "x",
                " ",
                "169.255.0.1",
            ]
            .map(|text| json!(text))
            .to_vec(),
        ),
        ("vethMTU", [68, 1500, 65535, 67, 65536, 0, -5].map(|number| json!(number)).to_vec()),
        ("detectIPConflict", vec![json!(true), json!(1)]),
        ("detectGateway", vec![json!(false), json!("true")]),
        (
            "detectOptions",
            vec![
                json!({}),
                json!({"retries": 1, "interval": "10ms", "timeout": "1.5s"}),
                json!({"retries": 100}),
                json!({"retries": 0}),
                json!({"retries": 101}),
                json!({"interval": "10"}),
                json!({"interval": "0"}),
                json!({"interval": ""}),
                json!({"interval": "1h"}),
                json!({"interval": "1h1ns"}),
                json!({"interval": "61m"}),
                json!({"timeout": "soon"}),
                json!({"timeout": "1m30s"}),
                json!({"timeout": "-1s"}),
                json!({"timeout": ".5s"}),
                json!({"timeout": "1.s"}),
                json!({"timeout": "1.2.3s"}),
                json!({"timeout": "5µs"}),
                json!({"timeout": "5 ms"}),
                json!({"timeout": "s"}),
                json!({"timeout": 5}),
                json!([]),
                json!({"retries": null}),
            ],
        ),
        (
            "logOptions",
            vec![
                json!({}),
                json!({"logLevel": "Info"}),
                json!({"logLevel": "chatty"}),
                json!({"logLevel": ""}),
                json!({"logLevel": "trace"}),
                json!({"logFile": ""}),
                json!({"logFile": "/var/log/spidernet/coordinator.log"}),
                json!({"logFile": "/var/log/spidernet/a/b.log"}),
                json!({"logFile": "/var/log/spidernet"}),
                json!({"logFile": "/var/log/spidernet/"}),
                json!({"logFile": "/var/log/spidernet/../x"}),
                json!({"logFile": "/var/log/spidernet/./c"}),
                json!({"logFile": "/var/log/spidernet/."}),
                json!({"logFile": "/var/log/spidernet/a/.."}),
                json!({"logFile": "/var/log/spidernetx/y"}),
                json!({"logFile": "/etc/x"}),
                json!({"logFile": "x.log"}),
                json!({"logFile": "/var/log/spidernet/..a"}),
                json!({"logFile": "/var/log/spidernet/.a"}),
                json!({"logFile": "//var/log/spidernet//c"}),
                json!({"logFile": "/var/log/spidernet/..."}),
                json!({"logMaxSize": 0, "logMaxAge": 4_294_967_295_u32, "logMaxCount": 1}),
                json!({"logMaxSize": -1}),
                json!({"logMaxAge": 4_294_967_296_i64}),
                json!({"logMaxCount": "x"}),
            ],
        ),
        (
            "pipeline",
            ["", "gpu", "a_b-9", "-a", "_a", "../secret", "a b", "ö", &"x".repeat(64), &"x".repeat(65)]
                .map(|text| json!(text))
                .to_vec(),
        ),
    ]
}

#[test]
fn every_setting_of_the_plugin_has_its_schema_and_its_rows() {
    let canonical = |name: &str| coordinator_core::settings::canonical(name).unwrap();
    let schemas: Vec<&str> = crd::settings().into_iter().map(|(name, _)| canonical(name)).collect();
    let rows: Vec<&str> = table().into_iter().map(|(name, _)| canonical(name)).collect();
    assert_eq!(schemas, coordinator_sdk::Settings::NAMES);
    assert_eq!(rows, coordinator_sdk::Settings::NAMES);
}

#[test]
fn rules_and_plugin_refuse_the_same_in_the_same_words() {
    let evaluator = Evaluator::new();
    let schemas: BTreeMap<&str, Schema> = crd::settings().into_iter().collect();
    let (mut accepted, mut refused) = (0, 0);
    for (name, values) in table() {
        for value in values {
            let mut rules = Vec::new();
            evaluator.refusals(&schemas[name], &value, &mut rules);
            let layer = json!({name: value});
            let plugin = resolve(&Layers { configuration: layer.as_object(), ..Layers::default() });
            let Err(problems) = plugin else {
                assert!(rules.is_empty(), "{name} = {value}: the plugin takes it, and the rules say {rules:?}");
                accepted += 1;
                continue;
            };
            refused += 1;
            assert!(!rules.is_empty(), "{name} = {value}: the rules take it, and the plugin says {}", problems[0]);
            // The wrong type is told by the API server itself, in its own words.
            if !rules[0].starts_with("type ") {
                let told = &problems[0].reason;
                // The plugin shows what cannot be seen; a rule has no function for that.
                let invisible = |rule: &str| rule.replace('\u{a0}', "\\u{a0}").replace('\u{2003}', "\\u{2003}");
                assert!(
                    told.ends_with(&invisible(&rules[0])),
                    "{name} = {value}: the plugin says {told:?}, the rules {rules:?}"
                );
            }
        }
    }
    assert!(accepted > 80 && refused > 100, "{accepted} accepted, {refused} refused");
}

/// Networks: what the renderer refuses is refused by a rule; what only it can see (JSON in a text) is left out.
#[test]
fn rules_and_renderer_refuse_the_same_networks() {
    let evaluator = Evaluator::new();
    let schema = crd::network_spec();
    let of = |kind: &str, section: &str, fields: Value| json!({"cniType": kind, section: fields});
    let sub = |fields: Value| {
        [of("macvlan", "macvlan", fields.clone()), of("ipvlan", "ipvlan", fields.clone()), of("vlan", "vlan", fields)]
    };
    let mut rows = vec![json!({}), json!({"cniType": "custom"}), json!({"cniType": "bridge"})];
    for kind in ["macvlan", "ipvlan", "vlan", "sriov", "ib-sriov", "ipoib", "ovs"] {
        rows.push(json!({"cniType": kind}));
        rows.push(json!({"cniType": kind, "macvlan": {"master": ["a"]}}));
    }
    for fields in [
        json!({"master": ["a"], "vlanID": 7}),
        json!({"master": ["a"]}),
        json!({"master": []}),
        json!({"master": [""], "vlanID": 7}),
        json!({"vlanID": 7}),
        json!({"master": ["a", "b"], "vlanID": 7}),
        json!({"master": ["a", "b"], "vlanID": 7, "bond": {"name": "bond0", "mode": 1}}),
        json!({"master": ["a"], "vlanID": 4094}),
        json!({"master": ["a"], "vlanID": 4095}),
        json!({"master": ["a"], "vlanID": 0}),
        json!({"master": ["a", "b"], "vlanID": 1, "bond": {"name": "", "mode": 1}}),
        json!({"master": ["a", "b"], "vlanID": 1, "bond": {"name": "x", "mode": 7}}),
    ] {
        rows.extend(sub(fields));
    }
    rows.extend([
        of("sriov", "sriov", json!({"resourceName": "x/y"})), of("sriov", "sriov", json!({})), of("sriov", "sriov", json!({"resourceName": " "})),
        of("sriov", "sriov", json!({"resourceName": "x", "minTxRateMbps": 9, "maxTxRateMbps": 3})),
        of("sriov", "sriov", json!({"resourceName": "x", "minTxRateMbps": 9, "maxTxRateMbps": 0, "vlanID": 4094})),
        of("sriov", "sriov", json!({"resourceName": "x", "vlanID": 4095})),
        of("ib-sriov", "ibsriov", json!({"resourceName": "x", "linkState": "up"})), of("ib-sriov", "ibsriov", json!({"resourceName": "x", "linkState": "auto"})),
        of("ib-sriov", "ibsriov", json!({})), of("ipoib", "ipoib", json!({"master": "ib0"})), of("ipoib", "ipoib", json!({"master": ""})),
        of("ovs", "ovs", json!({"bridge": "br1", "vlan": 4094, "trunk": [{"minID": 1, "maxID": 2}, {"id": 3}]})), of("ovs", "ovs", json!({"bridge": "br1", "vlan": 4095})),
        of("ovs", "ovs", json!({"bridge": "br1", "trunk": [{"id": 4095}]})), of("ovs", "ovs", json!({"vlan": 1})),
        json!({"cniType": "macvlan", "macvlan": {"master": ["a"]}, "coordinator": {"vethMTU": 1}}),
        json!({"cniType": "macvlan", "macvlan": {"master": ["a"]}, "coordinator": {"vethMTU": 1400, "podCIDRType": "none"}}),
    ]);
    for row in rows {
        let mut rules = Vec::new();
        evaluator.refusals(&schema, &row, &mut rules);
        let spec: NetworkSpec = serde_json::from_value(row.clone()).unwrap();
        match render("net", &BTreeMap::new(), &spec) {
            Ok(_) => assert!(rules.is_empty(), "{row}: it is rendered, and the rules say {rules:?}"),
            Err(problems) => {
                assert!(!rules.is_empty(), "{row}: the rules take it, and the renderer says {problems}");
                let said = |rule: &String| problems.0.iter().any(|problem| problem.contains(rule.as_str()));
                assert!(rules.iter().any(said), "{row}: the renderer says {problems}, the rules {rules:?}");
            }
        }
    }
}

#[test]
fn the_coordinators_type_of_prefixes_is_one_of_five() {
    let evaluator = Evaluator::new();
    let schema = crd::coordinator_spec();
    for (value, expected) in [("", true), ("auto", true), ("none", true), ("flannel", false)] {
        let mut rules = Vec::new();
        evaluator.refusals(&schema, &json!({"podCIDRType": value}), &mut rules);
        assert_eq!(rules.is_empty(), expected, "{value}: {rules:?}");
    }
}
