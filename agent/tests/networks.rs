//! A NetworkAttachmentDefinition beside each SpiderMultusConfig, and beside nothing else.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout,
    reason = "a test fails by a panic"
)]

mod lab;

use coordinator_objects::{Kind, network::CR_NAME};
use kube::core::DynamicObject;
use lab::{World, eventually};
use serde_json::{Value, json};

const NETWORK: Kind = Kind::NETWORK;
const DEFINITION: Kind = Kind::DEFINITION;

async fn definition_where(world: &World, name: &str, wanted: impl Fn(&DynamicObject) -> bool) -> DynamicObject {
    eventually(&format!("definition {name}"), async || {
        world.get(DEFINITION, Some(&world.namespace), name).await.filter(|found| wanted(found))
    })
    .await
}

fn config(object: &DynamicObject) -> Value {
    serde_json::from_str(object.data["spec"]["config"].as_str().unwrap_or("null")).unwrap()
}

fn macvlan(coordinator: Value) -> Value {
    json!({"spec": {"cniType": "macvlan", "macvlan": {"master": ["ens1"], "ippools": {"ipv4": ["pool"]}}, "coordinator": coordinator}})
}

#[tokio::test]
async fn definitions_follow_their_configurations() {
    let world = World::start().await;
    let namespace = Some(world.namespace.as_str());
    world.put(NETWORK, namespace, "storage", macvlan(json!({"mode": "underlay"}))).await;
    let _leader = world.lead();
    let found = definition_where(&world, "storage", |_| true).await;
    let plugins = config(&found)["plugins"].clone();
    assert_eq!(plugins[1], json!({"type": "coordinator", "mode": "underlay"}));
    let owner = &found.metadata.owner_references.as_ref().unwrap()[0];
    let network = world.get(NETWORK, namespace, "storage").await.unwrap();
    assert_eq!(
        (owner.kind.as_str(), Some(&owner.uid), owner.controller),
        ("SpiderMultusConfig", network.metadata.uid.as_ref(), Some(true))
    );

    world.put(NETWORK, namespace, "storage", macvlan(json!({"vethMTU": 1400}))).await;
    definition_where(&world, "storage", |found| config(found)["plugins"][1]["vethMTU"] == 1400).await;
    // Somebody edits or removes it: it is put right.
    world.put(DEFINITION, namespace, "storage", json!({"spec": {"config": "{}"}})).await;
    definition_where(&world, "storage", |found| config(found)["plugins"][1]["vethMTU"] == 1400).await;
    world.remove(DEFINITION, namespace, "storage").await;
    definition_where(&world, "storage", |found| config(found)["plugins"][1]["vethMTU"] == 1400).await;
    // It gets another name: the old one goes.
    let mut renamed = macvlan(json!({"vethMTU": 1400}));
    renamed["metadata"] = json!({"annotations": {CR_NAME: "storage-v2"}});
    world.put(NETWORK, namespace, "storage", renamed).await;
    definition_where(&world, "storage-v2", |found| config(found)["name"] == "storage-v2").await;
    eventually("the old definition goes", async || {
        world.get(DEFINITION, namespace, "storage").await.is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_somebody_elses_is_left_alone() {
    let world = World::start().await;
    let namespace = Some(world.namespace.as_str());
    world.create(DEFINITION, namespace, "taken", json!({"spec": {"config": "{\"theirs\": true}"}})).await;
    world.put(NETWORK, namespace, "taken", macvlan(json!({}))).await;
    world.put(NETWORK, namespace, "free", macvlan(json!({}))).await;
    let _leader = world.lead();
    definition_where(&world, "free", |_| true).await;
    let told = eventually("an Event tells", async || {
        world.events_about(&world.namespace, "taken").await.into_iter().find(|(reason, _)| reason == "NameTaken")
    })
    .await;
    assert!(told.1.contains(CR_NAME), "{told:?}");
    let theirs = world.get(DEFINITION, namespace, "taken").await.unwrap();
    assert_eq!(theirs.data["spec"]["config"], "{\"theirs\": true}");
}

#[tokio::test]
async fn a_wrong_configuration_is_told_and_the_old_definition_stays() {
    let world = World::start().await;
    let namespace = Some(world.namespace.as_str());
    let custom = |text: &str| json!({"spec": {"cniType": "custom", "customCNI": text}});
    world.put(NETWORK, namespace, "own", custom("{\"type\": \"bridge\"}")).await;
    let _leader = world.lead();
    definition_where(&world, "own", |found| config(found)["type"] == "bridge").await;
    // No rule can see into a text.
    world.put(NETWORK, namespace, "own", custom("{\"type\": ")).await;
    let told = eventually("an Event tells", async || {
        world.events_about(&world.namespace, "own").await.into_iter().find(|(reason, _)| reason == "WrongConfiguration")
    })
    .await;
    assert!(told.1.contains("customCNI is not JSON") && told.1.ends_with("stays as it is"), "{told:?}");
    let still = world.get(DEFINITION, namespace, "own").await.unwrap();
    assert_eq!(config(&still)["type"], "bridge");
}

/// The leader's requests grow with networks, and stop when everything is as it should be.
#[tokio::test]
async fn writes_stop_when_everything_is_right() {
    let world = World::start().await;
    let namespace = Some(world.namespace.as_str());
    for number in 0..40 {
        world.put(NETWORK, namespace, &format!("net-{number}"), macvlan(json!({}))).await;
    }
    let leader = world.lead();
    definition_where(&world, "net-39", |_| true).await;
    let patches = || {
        leader
            .meter
            .read()
            .get(&("patch".to_owned(), DEFINITION.plural.to_owned()))
            .copied()
            .unwrap_or_default()
            .requests
    };
    eventually("every network is written", async || (patches() >= 40).then_some(())).await;
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    let settled = patches();
    assert!(settled <= 80, "{settled} writes of 40 networks");
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert_eq!(patches(), settled, "it writes on");
}
