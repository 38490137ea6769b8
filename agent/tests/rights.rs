//! The chart's rights: the agent asks for all of them and for nothing else, and a server that enforces rights is content.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout,
    reason = "a test fails by a panic"
)]

mod lab;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use coordinator_agent::{
    api::{Events, Meter},
    conflict::Desk,
    metrics::Metrics,
    node::{Node, Pods, Standing},
};
use coordinator_objects::Kind;
use kube::api::ListParams;
use lab::chart::{apply, rendered, rendered_for};
use serde_json::{Value, json};

/// The agent is one of the chart's accounts from now on, with the chart's rights: a server that knows rights enforces them.
async fn become_account(world: &lab::World, account: &str) {
    for document in rendered_for(world, &json!({})) {
        if document["rules"].is_array() || document["roleRef"].is_object() || document["kind"] == "ServiceAccount" {
            apply(world, &document, false).await.unwrap();
        }
    }
    world.proxy.faults().user = Some(format!("system:serviceaccount:{}:{account}", world.namespace));
    let own = coordinator_agent::api::objects(&world.agents_client(&Meter::default()), Kind::COORDINATOR, None);
    let one = ListParams::default().fields("metadata.name=default");
    lab::eventually("the rights are in force", async || own.list(&one).await.ok()).await;
    world.proxy.take_forbidden();
}

/// Everything that a leader asks of the API is allowed by its roles, and nothing is that it never asks.
#[tokio::test]
async fn rights_are_what_the_agent_asks_for() {
    let world = lab::World::start().await;
    world.kubeadm("10.244.0.0/16", "10.96.0.0/12").await;
    world.coordinator(json!({"podCIDRType": "auto"})).await;
    world.put(Kind::CALICO_POOLS[0], None, "one", json!({"spec": {"cidr": "10.1.0.0/16"}})).await;
    world.put(Kind::CALICO_POOLS[0], None, "old", json!({"spec": {"cidr": "10.2.0.0/16", "disabled": true}})).await;
    let network = |name: &str| json!({"metadata": {"annotations": {coordinator_objects::network::CR_NAME: name}}, "spec": {"cniType": "ipoib", "ipoib": {"master": "ib0"}}});
    world.put(Kind::NETWORK, Some(&world.namespace), "net", network("net")).await;
    become_account(&world, "coordinator-leader").await;
    let leader = world.lead();
    let definition = async |name: &str| {
        let there = async || world.get(Kind::DEFINITION, Some(&world.namespace), name).await.map(drop);
        lab::eventually(&format!("definition {name}"), there).await;
    };
    definition("net").await;
    world.put(Kind::NETWORK, Some(&world.namespace), "net", network("renamed")).await;
    definition("renamed").await;
    world.status_where("it is synced", |status| status.phase == "Synced").await;
    let gone = async || world.get(Kind::DEFINITION, Some(&world.namespace), "net").await.is_none().then_some(());
    lab::eventually("the old definition goes", gone).await;

    let told =
        async || world.events_about("default", "default").await.into_iter().find(|(reason, _)| reason == "Synced");
    lab::eventually("an Event tells", told).await;

    let renewed = async || leader.meter.read().contains_key(&("update".to_owned(), "leases".to_owned())).then_some(());
    lab::eventually("the Lease is renewed", renewed).await;

    assert_eq!(world.proxy.take_forbidden(), []);
    let mut besides = vec![
        ("create", "network-attachment-definitions"),
        ("get", "events"),
        ("patch", "events"),
        ("update", "spidermultusconfigs/finalizers"),
    ];
    if world.service_cidrs().await.is_empty() {
        // A server before 1.31 says no to the list, and nothing is watched.
        besides.push(("watch", "servicecidrs"));
    }
    compare(&|name| !name.ends_with("-node"), &leader.meter, &besides);
}

/// The same of a node's agent.
#[tokio::test]
async fn a_nodes_rights_are_what_it_asks_for() {
    let world = lab::World::start().await;
    world.coordinator(json!({})).await;
    become_account(&world, "coordinator-node").await;
    let meter = Meter::default();
    let client = world.agents_client(&meter);
    let events = Arc::new(Events::new(client.clone(), "node-1".to_owned()));
    let folder = tempfile::tempdir().unwrap();
    let defaults = folder.path().join("defaults.json");
    let (rhythm, node) = (lab::rhythm(), "node-1".to_owned());
    let pods = Pods {
        client: client.clone(),
        meter: meter.clone(),
        rhythm,
        events: Arc::clone(&events),
        node,
        defaults: defaults.clone(),
    };
    let node =
        Node { client: client.clone(), meter: meter.clone(), rhythm, file: defaults, resync: Duration::from_secs(60) };
    let metrics = Arc::new(Metrics::new(&meter));
    let desk = Desk { client, events, metrics, spiderpool: folder.path().join("none"), is_release_enabled: true };
    let (sender, _standing) = tokio::sync::watch::channel(Standing::default());
    let running =
        [tokio::spawn(async move { node.run(Arc::new(sender)).await }), tokio::spawn(async move { pods.run().await })];
    world
        .create(
            Kind::POD,
            Some(&world.namespace),
            "p",
            json!({"spec": {"nodeName": "node-1", "containers": [{"name": "c", "image": "x"}]}}),
        )
        .await;
    let report = json!({"version": 1, "container": "c", "interface": "net1", "network": "n", "podNamespace": world.namespace, "podName": "p", "podUid": "",
                        "conflicts": [{"ip": "10.6.2.20", "mac": null}]});
    desk.handle(&serde_json::from_value(report).unwrap()).await;
    let watched = async || {
        let asked = meter.read();
        let has = |resource: &str| asked.contains_key(&("watch".to_owned(), resource.to_owned()));
        (has("pods") && has("spidercoordinators")).then_some(())
    };
    lab::eventually("both watches", watched).await;
    assert_eq!(world.proxy.take_forbidden(), []);
    compare(&|name| name.ends_with("-node"), &meter, &[("get", "events"), ("patch", "events")]);
    running.iter().for_each(|task| task.abort());
}

/// Compares the rules of some roles with what was asked; `besides` may be allowed though it was not asked here: Events
/// that repeat are counted, a server-side apply creates, an owner's finalizer is asked for by the reference to it.
#[track_caller]
fn compare(role: &dyn Fn(&str) -> bool, meter: &Meter, besides: &[(&str, &str)]) {
    let (_, documents) = rendered(&json!({}));
    let rules: Vec<Value> = documents
        .iter()
        .filter(|it| it["rules"].is_array() && role(it["metadata"]["name"].as_str().unwrap()))
        .flat_map(|it| it["rules"].as_array().unwrap().clone())
        .collect();
    let says = |rule: &Value, key: &str, word: &str| rule[key].as_array().unwrap().iter().any(|it| it == word);
    let asked = meter.read();
    for (verb, resource) in asked.keys() {
        let is_allowed = rules.iter().any(|rule| says(rule, "resources", resource) && says(rule, "verbs", verb));
        assert!(is_allowed, "{verb} {resource} is not allowed");
    }
    let known: BTreeSet<(String, String)> = asked.into_keys().collect();
    for rule in &rules {
        for resource in rule["resources"].as_array().unwrap() {
            for verb in rule["verbs"].as_array().unwrap() {
                let (verb, resource) = (verb.as_str().unwrap(), resource.as_str().unwrap());
                let is_used =
                    known.contains(&(verb.to_owned(), resource.to_owned())) || besides.contains(&(verb, resource));
                assert!(is_used, "{verb} {resource} is allowed and never asked for");
            }
        }
    }
}
