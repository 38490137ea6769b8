//! After an address conflict: the plugin's report, the decision by the Pod's owner, the release, the Event.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout,
    reason = "a test fails by a panic"
)]

mod lab;

use std::{
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    sync::{Arc, Mutex},
};

use coordinator_agent::{
    api::{Events, Meter},
    conflict::{ConflictReport, Desk, bind, serve},
    metrics::Metrics,
};
use coordinator_objects::Kind;
use lab::{World, eventually};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    task::JoinHandle,
};

/// Requests: the first line, and the body.
type Asked = Arc<Mutex<Vec<(String, Value)>>>;

/// Stands in for Spiderpool's agent: remembers what it was asked, answers with this status.
fn spiderpool(path: &Path, status: &'static str) -> (Asked, JoinHandle<()>) {
    let asked = Asked::default();
    let listener = UnixListener::bind(path).unwrap();
    let kept = Arc::clone(&asked);
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut received = Vec::new();
            while !received.ends_with(b"}") {
                let mut chunk = [0; 1024];
                let length = stream.read(&mut chunk).await.unwrap();
                received.extend_from_slice(&chunk[..length]);
            }
            let text = String::from_utf8(received).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let line = head.lines().next().unwrap().to_owned();
            kept.lock().unwrap().push((line, serde_json::from_str(body).unwrap()));
            stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await.unwrap();
        }
    });
    (asked, task)
}

/// As the plugin sends it.
async fn report(socket: &Path, body: Value) -> String {
    let body = body.to_string();
    let request = format!(
        "POST /v1/conflicts HTTP/1.1\r\nHost: localhost\r\nUser-Agent: coordinator\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    raw(socket, request.as_bytes()).await
}

async fn raw(socket: &Path, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer.lines().next().unwrap_or_default().to_owned()
}

fn body(world: &World, pod: &str, uid: &str) -> Value {
    json!({"version": 1, "container": "0123456789abcdef", "interface": "net1", "network": "storage", "podNamespace": world.namespace,
           "podName": pod, "podUid": uid, "conflicts": [{"ip": "10.6.2.20", "mac": "02:00:00:00:00:09"}]})
}

async fn pod(world: &World, name: &str, owner: Option<(&str, &str)>) -> String {
    let owners: Vec<Value> = owner
        .map(|(api, kind)| json!({"apiVersion": api, "kind": kind, "name": "web", "uid": "o", "controller": true}))
        .into_iter()
        .collect();
    let data = json!({"metadata": {"ownerReferences": owners}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    world.create(Kind::POD, Some(&world.namespace), name, data).await;
    world.get(Kind::POD, Some(&world.namespace), name).await.unwrap().metadata.uid.unwrap()
}

fn desk(world: &World, spiderpool: &Path, is_release_enabled: bool) -> Arc<Desk> {
    let meter = Meter::default();
    let client = world.agents_client(&meter);
    let events = Arc::new(Events::new(client.clone(), "node-1".to_owned()));
    let metrics = Arc::new(Metrics::new(&meter));
    Arc::new(Desk { client, events, metrics, spiderpool: spiderpool.to_owned(), is_release_enabled })
}

async fn told(world: &World, pod: &str) -> String {
    eventually(&format!("an Event on {pod}"), async || {
        let events = world.events_about(&world.namespace, pod).await;
        events.into_iter().find(|(reason, _)| reason == "AddressConflict").map(|(_, message)| message)
    })
    .await
}

#[tokio::test]
async fn the_owner_decides_and_the_event_tells() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let me = std::fs::metadata(folder.path()).unwrap().uid();
    let (socket, other) = (folder.path().join("run/agent.sock"), folder.path().join("spiderpool.sock"));
    let (asked, _spiderpool) = spiderpool(&other, "200 OK");
    let desk = desk(&world, &other, true);
    let listener = bind(&socket).unwrap();
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(socket.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    let server = tokio::spawn(serve(listener, Arc::clone(&desk), me));

    let uid = pod(&world, "stateless", Some(("apps/v1", "ReplicaSet"))).await;
    // Sent by the plugin's own code.
    let sent: ConflictReport = serde_json::from_value(body(&world, "stateless", &uid)).unwrap();
    let to = socket.clone();
    tokio::task::spawn_blocking(move || sent.send(&to)).await.unwrap();
    let message = told(&world, "stateless").await;
    assert!(
        message.starts_with("interface net1: 10.6.2.20 is used by the host with MAC 02:00:00:00:00:09; "),
        "{message}"
    );
    assert!(message.ends_with("given back, so that the next try gets others"), "{message}");
    let [(line, asked_for)] = asked.lock().unwrap().clone().try_into().unwrap();
    assert_eq!(line, "DELETE /v1/ipam/ips HTTP/1.1");
    assert_eq!(
        asked_for,
        json!({"containerID": "0123456789abcdef", "netNamespace": "unknown", "podNamespace": world.namespace, "podName": "stateless",
               "podUID": uid, "isReleaseConflictIPs": true})
    );

    let another = pod(&world, "another", Some(("apps/v1", "StatefulSet"))).await;
    assert_eq!(report(&socket, body(&world, "another", &another)).await, "HTTP/1.1 202 Accepted");
    for (name, owner, reason) in [
        ("web-0", Some(("apps/v1", "StatefulSet")), "kept: it belongs to StatefulSet web"),
        ("vm", Some(("kubevirt.io/v1", "VirtualMachineInstance")), "kept: it runs KubeVirt's machine web"),
    ] {
        let uid = pod(&world, name, owner).await;
        report(&socket, body(&world, name, &uid)).await;
        let message = told(&world, name).await;
        assert!(message.ends_with(reason), "{message}");
    }
    // A Pod that is gone, or another one of its name, loses nothing.
    report(&socket, body(&world, "stateless", "an older uid")).await;
    report(&socket, body(&world, "vanished", "")).await;
    let message = told(&world, "vanished").await;
    assert!(message.ends_with("kept: the pod is gone"), "{message}");
    assert_eq!(asked.lock().unwrap().len(), 1);
    let text = desk.metrics.text().unwrap();
    assert!(text.contains("coordinator_address_conflicts_total{action=\"release\"} 1"), "{text}");
    server.abort();
}

#[tokio::test]
async fn release_can_be_switched_off_and_can_fail() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("spiderpool.sock");
    let parsed =
        |name: &str| coordinator_agent::conflict::parse(body(&world, name, "").to_string().as_bytes()).unwrap();

    pod(&world, "one", None).await;
    desk(&world, &other, false).handle(&parsed("one")).await;
    let message = told(&world, "one").await;
    assert!(message.ends_with("SPIDERPOOL_ENABLED_RELEASE_CONFLICT_IPS is false"), "{message}");

    pod(&world, "two", None).await;
    desk(&world, &other, true).handle(&parsed("two")).await;
    let message = told(&world, "two").await;
    assert!(message.ends_with("Spiderpool's agent does not run"), "{message}");

    let (_, _spiderpool) = spiderpool(&other, "500 no");
    pod(&world, "three", None).await;
    desk(&world, &other, true).handle(&parsed("three")).await;
    let message = told(&world, "three").await;
    assert!(message.contains("could not be given back: Spiderpool's agent answers \"HTTP/1.1 500 no\""), "{message}");
}

#[tokio::test]
async fn others_are_not_heard_and_nonsense_is_refused() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let me = std::fs::metadata(folder.path()).unwrap().uid();
    let socket = folder.path().join("agent.sock");
    let desk = desk(&world, &folder.path().join("none"), true);
    let server = tokio::spawn(serve(bind(&socket).unwrap(), Arc::clone(&desk), me));
    for (request, status) in [
        (&b"GET /v1/conflicts HTTP/1.1\r\n\r\n"[..], "HTTP/1.1 404 Refused"),
        (b"POST /v1/conflicts HTTP/1.1\r\n\r\n", "HTTP/1.1 411 Refused"),
        (b"POST /v1/conflicts HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", "HTTP/1.1 400 Refused"),
    ] {
        assert_eq!(raw(&socket, request).await, status);
    }
    server.abort();
    // A socket of an agent that was killed is replaced; a peer of another user is hung up on.
    let server = tokio::spawn(serve(bind(&socket).unwrap(), desk, me + 1));
    assert_eq!(report(&socket, body(&world, "p", "")).await, "");
    server.abort();
}
