//! The SDK's examples, built as a vendor builds them and run by their own pipelines on real Pods.

use std::fs;

use coordinator_guests::{component, install, pipeline, root};
use coordinator_lab::{Families, Lab, PluginError, Pod, difference, run};
use serde_json::{Value, json};

/// Installs an example and the pipeline beside it, under the example's name.
fn provide(name: &str) -> anyhow::Result<()> {
    let digest = install(&component(name, &[])?)?;
    let text = fs::read_to_string(root().join("sdk/examples").join(name).join("pipeline.toml"))?;
    let uses = format!("use = \"wasm:{name}.wasm\"");
    assert!(text.contains(&uses), "{text}");
    pipeline(name, &text.replace(&uses, &format!("{uses}\nsha256 = \"{digest}\"")))
}

fn settings(lab: &Lab, name: &str) -> Value {
    let mut settings = lab.cluster();
    settings["pipeline"] = name.into();
    settings
}

fn all_is_well(lab: &Lab, pod: &Pod) -> anyhow::Result<()> {
    for check in lab.checks(pod) {
        let outcome = check.run()?;
        assert!(outcome.is_well(), "{}: {outcome:?}", check.name());
    }
    Ok(())
}

#[test]
fn vendor_mac_gives_a_pod_its_address() {
    run(|lab| {
        provide("vendor-mac")?;
        let pod = lab.pod("p1")?;
        *pod.namespace.lock().unwrap() = "gold".to_owned();
        let network = lab.underlay(20, Families::Dual);
        let result = pod.attach_without_us("eth0", &network)?;
        lab.expose(&pod)?;
        let before = (lab.node.snapshot()?, pod.host.snapshot()?);
        let settings = settings(lab, "vendor-mac");
        for _ in 0..2 {
            let added = pod.add("eth0", &network, &settings, &result)?;
            let entries = added["interfaces"].as_array().unwrap();
            let eth0 = entries.iter().find(|entry| entry["name"] == "eth0" && entry["sandbox"].is_string()).unwrap();
            assert_eq!(eth0["mac"], "02:42:10:07:02:14", "{added}");
        }
        assert!(pod.host.run("ip", &["link", "show", "eth0"])?.contains("02:42:10:07:02:14"));
        all_is_well(lab, &pod)?;
        pod.del("eth0", &network, &settings)?;
        assert_eq!(difference(&before.0, &lab.node.snapshot()?), [""; 0]);
        assert_eq!(difference(&before.1, &pod.host.snapshot()?), [""; 0]);
        Ok(())
    });
}

#[test]
fn rail_routing_keeps_a_rail_to_itself() {
    run(|lab| {
        provide("rail-routing")?;
        let pod = lab.pod("gpu")?;
        let (first, rail) = (lab.underlay(20, Families::Dual), lab.network(2, 30, Families::Dual));
        let settings = settings(lab, "rail-routing");
        pod.attach("eth0", &first, &settings)?;
        lab.expose(&pod)?;
        pod.attach("rail3", &rail, &settings)?;
        let rules = pod.host.run("ip", &["rule"])?;
        assert!(rules.contains("from 10.7.2.30 lookup 1003"), "{rules}");
        let table = pod.host.run("ip", &["route", "show", "table", "1003"])?;
        assert!(table.contains("10.0.0.0/8 via 10.7.0.1 dev rail3"), "{table}");
        let way = pod.host.run("ip", &["route", "get", "10.200.0.1", "from", "10.7.2.30"])?;
        assert!(way.contains("via 10.7.0.1 dev rail3"), "{way}");
        all_is_well(lab, &pod)?;

        let ninth = pod.attach("rail8", &lab.network(2, 31, Families::V4), &settings).unwrap_err();
        assert!(format!("{ninth:#}").contains("a node has 8 rails"), "{ninth:#}");
        Ok(())
    });
}

#[test]
fn default_route_chooses_by_namespace() {
    run(|lab| {
        provide("default-route")?;
        let settings = settings(lab, "default-route");
        for (at, (namespace, leaves_by)) in [("edge", "net1"), ("shop", "eth0")].into_iter().enumerate() {
            let pod = lab.pod(namespace)?;
            *pod.namespace.lock().unwrap() = namespace.to_owned();
            let number = 40 + u8::try_from(at)?;
            let mut fast = lab.network(2, number, Families::Dual);
            fast.name = "fast".to_owned();
            pod.attach("eth0", &lab.underlay(number, Families::Dual), &settings)?;
            pod.attach("net1", &fast, &settings)?;
            let routes = pod.host.run("ip", &["route", "show", "default"])?;
            assert!(
                routes.contains(&format!("dev {leaves_by}")) && routes.lines().count() == 1,
                "{namespace}: {routes}"
            );
            lab.expose(&pod)?;
            all_is_well(lab, &pod)?;
        }
        Ok(())
    });
}

#[test]
fn subnet_veto_refuses_the_wrong_namespace_and_nothing_is_changed() {
    run(|lab| {
        provide("subnet-veto")?;
        let settings = settings(lab, "subnet-veto");
        let network = lab.underlay(20, Families::Dual);
        let pod = lab.pod("p1")?;
        let result = pod.attach_without_us("eth0", &network)?;
        lab.expose(&pod)?;
        let before = (lab.node.snapshot()?, pod.host.snapshot()?);
        *pod.namespace.lock().unwrap() = "silver".to_owned();
        let refused = pod.add("eth0", &network, &settings, &result).unwrap_err();
        let PluginError(error) = refused.downcast_ref::<PluginError>().unwrap();
        assert_eq!(error["code"], 100, "{error}");
        let said = "stage subnet-veto refuses: namespace \"silver\" may not use 10.6.2.20 of subnet 10.6.0.0/16";
        assert_eq!(error["msg"], said);
        assert_eq!(error["details"], json!("the subnet is for gold, ops-*"));
        assert_eq!(difference(&before.0, &lab.node.snapshot()?), [""; 0]);
        assert_eq!(difference(&before.1, &pod.host.snapshot()?), [""; 0]);
        *pod.namespace.lock().unwrap() = "ops-eu".to_owned();
        pod.add("eth0", &network, &settings, &result)?;
        all_is_well(lab, &pod)
    });
}
