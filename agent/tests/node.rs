//! The defaults file of a node: always the right or the last right values, whole, whatever becomes of the API.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout,
    reason = "a test fails by a panic"
)]

mod lab;

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use coordinator_agent::{
    api::{Meter, Rhythm},
    node::{Node, Standing},
};
use coordinator_objects::Kind;
use lab::{World, eventually, pass, rhythm};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};

/// A node's agent; it stops with this value.
struct Agent {
    standing: watch::Receiver<Standing>,
    meter: Meter,
    task: JoinHandle<()>,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn agent(world: &World, file: PathBuf, rhythm: Rhythm) -> Agent {
    let meter = Meter::default();
    let client = world.agents_client(&meter);
    let node = Node { client, meter: meter.clone(), rhythm, file, resync: Duration::from_secs(60) };
    let (sender, standing) = watch::channel(Standing::default());
    let task = tokio::spawn(async move { node.run(Arc::new(sender)).await });
    Agent { standing, meter, task }
}

/// The file's content; it must be whole whenever it is there.
fn read(file: &std::path::Path) -> Option<Value> {
    let text = fs::read_to_string(file).ok()?;
    assert!(text.ends_with("}\n"), "half written: {text:?}");
    Some(serde_json::from_str(&text).unwrap())
}

async fn written(file: &std::path::Path, name: &str, value: Value) {
    eventually(&format!("{name} = {value} in the file"), async || {
        read(file).is_some_and(|found| found[name] == value).then_some(())
    })
    .await;
}

async fn give_status(world: &World, status: Value) {
    let body = json!({"apiVersion": Kind::COORDINATOR.api_version(), "kind": Kind::COORDINATOR.kind, "metadata": {"name": "default"}, "status": status});
    let api = coordinator_agent::api::objects(&world.client, Kind::COORDINATOR, None);
    let parameters = kube::api::PatchParams::apply("coordinator-test").force();
    api.patch_status("default", &parameters, &kube::api::Patch::Apply(&body)).await.unwrap();
}

fn synced(overlay: &str) -> Value {
    json!({"phase": "Synced", "overlayPodCIDR": [overlay], "serviceCIDR": ["10.96.0.0/12"]})
}

#[tokio::test]
async fn the_file_follows_spec_and_status() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("defaults.json");
    world.coordinator(json!({"podCIDRType": "auto", "vethMTU": 1400})).await;
    let mut agent = agent(&world, file.clone(), rhythm());
    agent.standing.wait_for(|standing| standing.trouble.contains("not known yet")).await.unwrap();
    assert_eq!(read(&file), None, "nothing is written before anything is known");
    give_status(&world, synced("10.244.0.0/16")).await;
    written(&file, "overlayPodCIDR", json!(["10.244.0.0/16"])).await;
    assert_eq!(read(&file).unwrap()["vethMTU"], 1400);
    world.coordinator(json!({"podCIDRType": "auto", "vethMTU": 1300, "detectGateway": true})).await;
    written(&file, "detectGateway", json!(true)).await;
    // Not ready, but known: the last known good prefixes are in force.
    give_status(&world, json!({"phase": "NotReady", "reason": "gone", "overlayPodCIDR": ["10.244.0.0/16"], "serviceCIDR": ["10.99.0.0/16"]})).await;
    written(&file, "serviceCIDR", json!(["10.99.0.0/16"])).await;
    // A removed object, a status that was emptied: the file stays.
    let before = read(&file);
    world.remove(Kind::COORDINATOR, None, "default").await;
    agent.standing.wait_for(|standing| standing.trouble.contains("there is no SpiderCoordinator")).await.unwrap();
    assert_eq!(read(&file), before);
}

#[tokio::test]
async fn a_file_that_somebody_changed_is_put_right() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("defaults.json");
    world.coordinator(json!({})).await;
    give_status(&world, synced("10.244.0.0/16")).await;
    let meter = Meter::default();
    let client = world.agents_client(&meter);
    let resync = Duration::from_millis(200);
    let node = Node { client, meter, rhythm: rhythm(), file: file.clone(), resync };
    let (sender, _standing) = watch::channel(Standing::default());
    let task = tokio::spawn(async move { node.run(Arc::new(sender)).await });
    written(&file, "overlayPodCIDR", json!(["10.244.0.0/16"])).await;
    fs::remove_file(&file).unwrap();
    written(&file, "overlayPodCIDR", json!(["10.244.0.0/16"])).await;
    task.abort();
}

/// An hour without the API, by the agent's clock; then it is back, with another status.
#[tokio::test]
async fn the_last_right_values_outlive_the_api_for_an_hour_and_a_restart() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("defaults.json");
    world.coordinator(json!({})).await;
    give_status(&world, synced("10.244.0.0/16")).await;
    let first = agent(&world, file.clone(), Rhythm::default());
    written(&file, "overlayPodCIDR", json!(["10.244.0.0/16"])).await;
    let before = fs::read_to_string(&file).unwrap();

    world.proxy.leave();
    tokio::time::pause();
    pass(&[&world.proxy], 1800, || false).await;
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
    assert!(first.standing.borrow().trouble.contains("API server"), "{:?}", first.standing.borrow());
    drop(first);
    // The agent is started anew while the API is away: it knows nothing, and leaves the file alone.
    let second = agent(&world, file.clone(), Rhythm::default());
    pass(&[&world.proxy], 1800, || false).await;
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
    assert!(!second.standing.borrow().is_written);
    // Half a minute to a minute between two tries in the long run: about 80 in an hour, and the first few of both.
    let tries = world.proxy.turned_away();
    assert!((60..150).contains(&tries), "{tries} tries in an hour");
    world.proxy.come_back();
    pass(&[&world.proxy], 3600, || second.standing.borrow().is_written).await;
    tokio::time::resume();
    give_status(&world, synced("10.1.0.0/16")).await;
    written(&file, "overlayPodCIDR", json!(["10.1.0.0/16"])).await;
}

/// The metadata of a Pod as a cluster with Multus has it.
fn ordinary_metadata(node: &str, number: usize) -> Value {
    let status = r#"[{"name": "kube-system/macvlan-ens1", "interface": "eth0", "ips": ["10.6.2.20", "fd00:10:6::214"], "mac": "0a:1b:0a:06:02:14", "default": true, "dns": {}}]"#;
    let fields = json!({"f:metadata": {"f:generateName": {}, "f:labels": {".": {}, "f:app": {}, "f:pod-template-hash": {}}, "f:ownerReferences": {".": {}, "k:{\"uid\":\"7b3f\"}": {}}},
        "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {}, "f:resources": {}, "f:terminationMessagePath": {}, "f:terminationMessagePolicy": {}}},
        "f:dnsPolicy": {}, "f:enableServiceLinks": {}, "f:restartPolicy": {}, "f:schedulerName": {}, "f:securityContext": {}, "f:terminationGracePeriodSeconds": {}}});
    let manager = |name: &str| json!({"manager": name, "operation": "Update", "apiVersion": "v1", "time": "2026-11-24T20:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": fields});
    json!({"metadata": {
        "labels": {"app": "web", "pod-template-hash": "6b7f9c8d4"},
        "annotations": {"k8s.v1.cni.cncf.io/networks": "kube-system/macvlan-ens1", "k8s.v1.cni.cncf.io/network-status": status},
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-6b7f9c8d4", "uid": format!("7b3f-{number}"), "controller": true, "blockOwnerDeletion": true}],
        "managedFields": [manager("kube-controller-manager"), manager("kubelet")]},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": "x"}]}})
}

/// What nodes ask of the API in an hour of the agent's own clock and rhythm, by the agent's own count; and how large the
/// events of their watches are.
#[tokio::test]
async fn a_node_asks_little() {
    const NODES: usize = 8;
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    world.coordinator(json!({"podCIDRType": "auto", "vethMTU": 1400})).await;
    give_status(&world, synced("10.244.0.0/16")).await;
    let mut agents = Vec::new();
    for number in 0..NODES {
        let name = format!("node-{number}");
        let file = folder.path().join(&name).join("defaults.json");
        fs::create_dir(folder.path().join(&name)).unwrap();
        let agent = agent(&world, file.clone(), Rhythm::default());
        let client = world.agents_client(&agent.meter);
        let events = Arc::new(coordinator_agent::api::Events::new(client.clone(), name.clone()));
        let (meter, rhythm) = (agent.meter.clone(), Rhythm::default());
        let pods = coordinator_agent::node::Pods { client, meter, rhythm, events, node: name, defaults: file.clone() };
        let pods = tokio::spawn(async move { pods.run().await });
        written(&file, "overlayPodCIDR", json!(["10.244.0.0/16"])).await;
        agents.push((agent, pods));
    }
    let of = |verb: &str, resource: &str| {
        let usages = agents.iter().map(|(agent, _)| agent.meter.read());
        let found =
            usages.map(|usages| usages.get(&(verb.to_owned(), resource.to_owned())).copied().unwrap_or_default());
        found.fold((0, 0, 0), |sum, usage| (sum.0 + usage.requests, sum.1 + usage.bytes, sum.2 + usage.events))
    };
    let watching = || of("watch", "pods").0 + of("watch", "spidercoordinators").0;
    eventually("every watch is open", async || (watching() == 2 * NODES as u64).then_some(())).await;
    assert_eq!((of("list", "pods").0, of("list", "spidercoordinators").0), (NODES as u64, NODES as u64));

    let begun = watching();
    tokio::time::pause();
    pass(&[&world.proxy], 3600, || {
        world.proxy.tick();
        false
    })
    .await;
    tokio::time::resume();
    let renewed = watching() - begun;
    let mut kinds = std::collections::BTreeMap::<_, u64>::new();
    for (of, usage) in agents.iter().flat_map(|(agent, _)| agent.meter.read()) {
        *kinds.entry(of).or_default() += usage.requests;
    }
    let all: u64 = kinds.values().sum();
    let an_hour = renewed as f64 / NODES as f64;
    println!("{an_hour} requests a node in an hour; {all} in all, with the first ones");
    assert_eq!(all, 4 * NODES as u64 + renewed, "something else is asked for: {kinds:?}");
    // Two watches, each renewed after 145 to 290 s: 24.8 at least, 49.7 at most, 33.1 in the mean.
    assert!((30.0..37.0).contains(&an_hour), "{an_hour} requests an hour");
    agents.iter().for_each(|(_, pods)| pods.abort());
}

/// How large one event of each watch is: of the status of SpiderCoordinator, and of an ordinary Pod's metadata.
#[tokio::test]
async fn an_event_is_small() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("defaults.json");
    world.coordinator(json!({"podCIDRType": "auto", "vethMTU": 1400})).await;
    give_status(&world, synced("10.244.0.0/16")).await;
    let agent = agent(&world, file.clone(), rhythm());
    let client = world.agents_client(&agent.meter);
    let events = Arc::new(coordinator_agent::api::Events::new(client.clone(), "node-1".to_owned()));
    let (meter, node) = (agent.meter.clone(), "node-1".to_owned());
    let pods = coordinator_agent::node::Pods { client, meter, rhythm: rhythm(), events, node, defaults: file.clone() };
    let pods = tokio::spawn(async move { pods.run().await });
    written(&file, "overlayPodCIDR", json!(["10.244.0.0/16"])).await;
    let of = |resource: &str| {
        agent.meter.read().get(&("watch".to_owned(), resource.to_owned())).copied().unwrap_or_default()
    };
    eventually("Pods are watched", async || (of("pods").requests > 0).then_some(())).await;
    for number in 0..20 {
        give_status(&world, synced(&format!("10.{number}.0.0/16"))).await;
        written(&file, "overlayPodCIDR", json!([format!("10.{number}.0.0/16")])).await;
        let name = format!("web-6b7f9c8d4-{number:05}");
        world.create(Kind::POD, Some(&world.namespace), &name, ordinary_metadata("node-1", number)).await;
    }
    eventually("every Pod is seen", async || (of("pods").events >= 20).then_some(())).await;
    let one = |resource: &str| {
        let usage = of(resource);
        println!("{resource}: {} bytes in {} events", usage.bytes, usage.events);
        usage.bytes / usage.events.max(1)
    };
    let (coordinator, pod) = (one("spidercoordinators"), one("pods"));
    assert!(coordinator < 2000 && pod < 4000, "{coordinator} and {pod} bytes an event");
    pods.abort();
}

/// A Pod chooses where its default route stays; its file comes and goes with it.
#[tokio::test]
async fn a_pods_annotation_becomes_its_file() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let defaults = folder.path().join("defaults.json");
    let meter = Meter::default();
    let client = world.agents_client(&meter);
    let events = Arc::new(coordinator_agent::api::Events::new(client.clone(), "node-1".to_owned()));
    let pods = coordinator_agent::node::Pods {
        client,
        meter: meter.clone(),
        rhythm: rhythm(),
        events,
        node: "node-1".to_owned(),
        defaults: defaults.clone(),
    };
    let pod = |node: &str, value: &str| {
        json!({"metadata": {"annotations": {coordinator_agent::node::ANNOTATION: value}},
               "spec": {"nodeName": node, "containers": [{"name": "c", "image": "x"}]}})
    };
    let namespace = Some(world.namespace.as_str());
    world.create(Kind::POD, namespace, "one", pod("node-1", "net1")).await;
    world.create(Kind::POD, namespace, "elsewhere", pod("node-2", "net1")).await;
    world.create(Kind::POD, namespace, "wrong", pod("node-1", "a/b")).await;
    let stale = folder.path().join("pods/gone.pod");
    fs::create_dir(stale.parent().unwrap()).unwrap();
    fs::write(&stale, "{}").unwrap();
    let task = tokio::spawn(async move { pods.run().await });
    let file = |name: &str| coordinator_core::node_defaults::pod_file(&defaults, &world.namespace, name).unwrap();
    written(&file("one"), "podDefaultRouteNic", json!("net1")).await;
    eventually("the stale file goes", async || (!stale.exists()).then_some(())).await;
    assert!(!file("elsewhere").exists() && !file("wrong").exists());
    eventually("an Event tells", async || {
        world.events_about(&world.namespace, "wrong").await.into_iter().find(|(reason, _)| reason == "WrongAnnotation")
    })
    .await;
    world.create(Kind::POD, namespace, "two", pod("node-1", "net2")).await;
    written(&file("two"), "podDefaultRouteNic", json!("net2")).await;
    // While the API is away they stay; when it is back, they follow.
    world.proxy.leave();
    world.remove(Kind::POD, namespace, "one").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(file("one").exists());
    world.proxy.come_back();
    eventually("the file goes with its Pod", async || (!file("one").exists()).then_some(())).await;
    assert!(file("two").exists());
    let watch = meter.read()[&("watch".to_owned(), "pods".to_owned())];
    println!("{} bytes in {} events of Pods", watch.bytes, watch.events);
    task.abort();
}
