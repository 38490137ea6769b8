//! CHECK: every damage to an attachment is named, and nothing else; a repeated ADD mends it.

#[path = "damage.rs"]
mod damage;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use coordinator_lab::{Families, Network, PluginError, Pod, difference, plugin, run};
use serde_json::Value;

use damage::{NAMES, Random, attached, damages, settings};

/// What CHECK says of an attachment: the objects, each with what was expected and found.
fn checked(pod: &Pod, name: &str, network: &Network, settings: &Value) -> Result<Vec<String>> {
    let mut configuration = network.configuration("coordinator", settings);
    configuration["prevResult"] = pod.result(name);
    match pod.call(&plugin()?, "CHECK", name, &configuration) {
        Ok(_) => Ok(Vec::new()),
        Err(error) => {
            let PluginError(said) = error.downcast_ref().context("the plugin's own words")?;
            ensure!(said["code"] == 105, "{said}");
            Ok(said["msg"].as_str().unwrap_or_default().split("; ").map(str::to_owned).collect())
        }
    }
}

/// What all three CHECKs say together.
fn named(pod: &Pod, networks: &[Network], settings: &Value) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for (name, network) in NAMES.iter().zip(networks) {
        all.extend(checked(pod, name, network, settings)?);
    }
    Ok(all)
}

#[test]
fn every_one_of_200_random_damages_is_named_alone_and_mended_by_an_add() {
    run(|lab| {
        let settings = settings(lab);
        let (pod, networks) = attached(lab, &settings)?;
        assert_eq!(named(&pod, &networks, &settings)?, BTreeSet::new());
        let whole = (lab.node.snapshot()?, pod.host.snapshot()?);
        let seed = std::env::var("COORDINATOR_SEED").map_or(Ok(0x5eed_0003), |seed| seed.parse())?;
        let mut random = Random(seed);
        let mut objects = BTreeSet::new();
        for round in 0..200 {
            let mut choice = damages(lab, &pod)?;
            assert!(choice.len() > 150, "only {} damages are possible", choice.len());
            let damage = choice.swap_remove(random.below(choice.len()));
            let shown = format!("seed {seed}, round {round}: {} {}", damage.program, damage.arguments.join(" "));
            damage.cause().with_context(|| shown.clone())?;
            let found = named(&pod, &networks, &settings)?;
            let prefix = format!("{}: expected ", damage.object);
            assert!(
                !found.is_empty() && found.iter().all(|line| line.starts_with(&prefix) && line.contains(", found ")),
                "{shown}\nexpected: {}\nfound: {found:#?}",
                damage.object
            );
            objects.insert(damage.object);
            for (name, network) in NAMES.iter().zip(&networks) {
                pod.add(name, network, &settings, &pod.result(name)).with_context(|| shown.clone())?;
            }
            assert_eq!(named(&pod, &networks, &settings)?, BTreeSet::new(), "{shown}");
            let mended = (lab.node.snapshot()?, pod.host.snapshot()?);
            assert_eq!(difference(&whole.0, &mended.0), [""; 0], "node, {shown}");
            assert_eq!(difference(&whole.1, &mended.1), [""; 0], "pod, {shown}");
        }
        assert!(objects.len() > 60, "only {} different objects were damaged", objects.len());
        Ok(())
    });
}

#[test]
fn what_was_never_attached_or_has_gone_is_no_attachment() {
    run(|lab| {
        let settings = lab.cluster();
        let network = lab.network(1, 20, Families::V4);
        let pod = lab.pod("p1")?;
        pod.attach_without_us("eth0", &network)?;
        assert!(checked(&pod, "eth0", &network, &settings)?[0].contains("no attachment"));
        pod.add("eth0", &network, &settings, &pod.result("eth0"))?;
        assert_eq!(checked(&pod, "eth0", &network, &settings)?, [""; 0]);
        pod.del("eth0", &network, &settings)?;
        assert!(checked(&pod, "eth0", &network, &settings)?[0].contains("no attachment"));
        Ok(())
    });
}
