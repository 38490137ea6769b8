//! Good and bad objects, for whoever compares what refuses them: the rules by themselves, and the rules in an API server.

use serde_json::{Value, json};

/// Good and bad values of every setting.
pub(crate) fn settings() -> Vec<(&'static str, Vec<Value>)> {
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

/// Good and bad networks.
pub(crate) fn networks() -> Vec<Value> {
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
    rows
}
