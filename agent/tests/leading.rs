//! Who leads: one at a time, in a partition, with late writes, with clocks that are wrong.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout,
    reason = "a test fails by a panic"
)]

mod lab;

use std::time::Duration;

use coordinator_objects::Kind;
use lab::{Proxy, Running, World, eventually, timing};
use serde_json::json;

const LEASE: &str = "coordinator-leader";

async fn leads(running: &Running) {
    let mut leadership = running.leadership.clone();
    tokio::time::timeout(lab::PATIENCE, leadership.wait_for(|now| now.remaining().is_some())).await.unwrap().unwrap();
}

/// A proxy of its own for a second candidate, in front of the first one's: both reach the same server.
fn second_door(world: &World) -> Proxy {
    Proxy::start(kube::Config::new(world.proxy.url().parse().unwrap()))
}

async fn begin(world: &World) {
    world.proxy.faults().hide.push("/servicecidrs");
    world.kubeadm("10.1.0.0/16", "10.96.0.0/12").await;
    world.coordinator(json!({"podCIDRType": "cluster"})).await;
}

/// A world that `one` leads, and the doors of both candidates.
async fn led_by_one() -> (World, [Proxy; 2], Running) {
    let world = World::start().await;
    begin(&world).await;
    let doors = [second_door(&world), second_door(&world)];
    let one = world.candidate("one", &doors[0]);
    leads(&one).await;
    world.synced(&["10.1.0.0/16"], &["10.96.0.0/12"]).await;
    (world, doors, one)
}

/// The control plane's word changes, and whoever leads tells it.
async fn follows(world: &World, pods: &str) {
    world.kubeadm(pods, "10.96.0.0/12").await;
    world.synced(&[pods], &["10.96.0.0/12"]).await;
}

fn writes(proxy: &Proxy) -> usize {
    let seen = proxy.take_seen();
    seen.iter().filter(|(method, path)| method == "PATCH" && path.contains("/status")).count()
}

#[tokio::test]
async fn one_of_two_leads_and_hands_over_when_it_stops() {
    let (world, [_one_door, two_door], one) = led_by_one().await;
    let two = world.candidate("two", &two_door);
    eventually("the second one sees the first one", async || (two.leadership.borrow().holder == "one").then_some(()))
        .await;
    assert!(two.leadership.borrow().remaining().is_none());
    assert_eq!(writes(&two_door), 0);
    drop(one);
    leads(&two).await;
    follows(&world, "10.2.0.0/16").await;
    assert!(writes(&two_door) > 0);
}

/// The first leader is cut off: it stops before the second one begins, and when it is back it follows.
#[tokio::test]
async fn in_a_partition_one_acts() {
    let (world, [one_door, two_door], one) = led_by_one().await;
    let two = world.candidate("two", &two_door);
    one_door.leave();
    let mut leadership = two.leadership.clone();
    loop {
        // Whenever the second one may act, the first one may not any more.
        let now = leadership.borrow_and_update().remaining().is_some();
        if now {
            assert!(one.leadership.borrow().remaining().is_none(), "both lead");
            break;
        }
        tokio::time::timeout(lab::PATIENCE, leadership.changed()).await.unwrap().unwrap();
    }
    follows(&world, "10.2.0.0/16").await;
    one_door.take_seen();
    one_door.come_back();
    eventually("the first one sees the second one", async || (one.leadership.borrow().holder == "two").then_some(()))
        .await;
    follows(&world, "10.3.0.0/16").await;
    assert_eq!(writes(&one_door), 0, "the first one wrote without leading");
}

/// A write of the first leader gets stuck on its way and arrives when the second one leads: it changes nothing.
#[tokio::test]
async fn a_late_write_of_an_old_leader_is_refused() {
    let (world, [one_door, two_door], _one) = led_by_one().await;
    one_door.take_seen();
    one_door.faults().hold = Some("PATCH");
    world.kubeadm("10.2.0.0/16", "10.96.0.0/12").await;
    eventually("the write is on its way", async || (writes(&one_door) > 0).then_some(())).await;
    // The first one loses the API; its write is on the wire still.
    one_door.leave();
    let two = world.candidate("two", &two_door);
    leads(&two).await;
    follows(&world, "10.3.0.0/16").await;
    one_door.release();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let status = world.synced(&["10.3.0.0/16"], &["10.96.0.0/12"]).await;
    assert_eq!(status.overlay_pod_cidr, Some(vec!["10.3.0.0/16".to_owned()]));
}

/// Times in the Lease are for people: a holder whose clock is a century ahead is taken over all the same.
#[tokio::test]
async fn wrong_clocks_neither_keep_nor_give_the_lease() {
    for time in ["1999-01-01T00:00:00.000000Z", "2099-01-01T00:00:00.000000Z"] {
        let world = World::start().await;
        begin(&world).await;
        let lease = json!({"spec": {"holderIdentity": "dead", "leaseDurationSeconds": 5, "acquireTime": time, "renewTime": time, "leaseTransitions": 7}});
        world.create(Kind::LEASE, Some(&world.namespace), LEASE, lease).await;
        let begun = std::time::Instant::now();
        let one = world.lead();
        leads(&one).await;
        assert!(begun.elapsed() >= timing().lease, "{time}: a fresh record was taken over at once");
        let lease = world.get(Kind::LEASE, Some(&world.namespace), LEASE).await.unwrap();
        assert_eq!(lease.data["spec"]["leaseTransitions"], 8);
        world.synced(&["10.1.0.0/16"], &["10.96.0.0/12"]).await;
    }
}

/// The process stands still for two hours, as in a suspended machine: it must look again before it acts.
#[tokio::test]
async fn a_leader_that_slept_looks_before_it_acts() {
    let (world, _doors, one) = led_by_one().await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(7200)).await;
    assert!(one.leadership.borrow().remaining().is_none(), "it leads on after two hours of nothing");
    tokio::time::resume();
    leads(&one).await;
    follows(&world, "10.2.0.0/16").await;
}

/// An hour without the API, by the agent's clock: nobody leads, what was known stays, and then all goes on.
#[tokio::test]
async fn an_hour_without_the_api_is_outlived() {
    let (world, [one_door, two_door], one) = led_by_one().await;
    let two = world.candidate("two", &two_door);
    eventually("the second one sees the first one", async || (two.leadership.borrow().holder == "one").then_some(()))
        .await;
    let before = world.status().await;
    one_door.leave();
    two_door.leave();
    tokio::time::pause();
    lab::pass(&[&one_door, &two_door], 3600, || false).await;
    let leading = [&one, &two].map(|it| it.leadership.borrow().remaining().is_some());
    tokio::time::resume();
    assert_eq!(leading, [false, false], "somebody leads whom nobody hears");
    assert_eq!(world.status().await, before);
    // What happened meanwhile is seen afterwards, by whoever leads then.
    world.kubeadm("10.2.0.0/16", "10.96.0.0/12").await;
    one_door.come_back();
    two_door.come_back();
    world.synced(&["10.2.0.0/16"], &["10.96.0.0/12"]).await;
    let leading = [&one, &two].map(|it| it.leadership.borrow().remaining().is_some());
    assert_ne!(leading[0], leading[1], "{leading:?}");
}
