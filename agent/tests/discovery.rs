//! Every source of prefixes, over HTTP, and every change of them while the leader runs.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout,
    reason = "a test fails by a panic"
)]

mod lab;

use coordinator_objects::Kind;
use lab::World;
use serde_json::{Value, json};

const POOL: Kind = Kind::CALICO_POOLS[0];
const BLOCK: Kind = Kind::CALICO_BLOCKS[0];
const CILIUM_POOL: Kind = Kind::CILIUM_POOLS[0];

fn condition(status: &coordinator_objects::coordinator::Status, kind: &str) -> (String, String) {
    let found = status.conditions.iter().find(|it| it.kind == kind).unwrap_or_else(|| panic!("no {kind}: {status:?}"));
    (found.status.clone(), found.message.clone())
}

/// A world without ServiceCIDRs: a real server has some of its own.
async fn without_service_cidrs() -> World {
    let world = World::start().await;
    world.proxy.faults().hide.push("/servicecidrs");
    world
}

#[tokio::test]
async fn kubeadm_is_believed_and_its_changes_are_followed() {
    let world = without_service_cidrs().await;
    world.kubeadm("10.244.0.0/16,fd00:10:244::/56", "10.96.0.0/12").await;
    world.coordinator(json!({"podCIDRType": "cluster"})).await;
    let _leader = world.lead();
    let status = world.synced(&["10.244.0.0/16", "fd00:10:244::/56"], &["10.96.0.0/12"]).await;
    assert!(condition(&status, "ServiceCIDRKnown").1.contains("kubeadm-config"), "{status:?}");
    world.kubeadm("10.245.0.0/16", "10.97.0.0/16").await;
    world.synced(&["10.245.0.0/16"], &["10.97.0.0/16"]).await;
}

#[tokio::test]
async fn the_components_arguments_stand_in_for_kubeadm() {
    let world = without_service_cidrs().await;
    let pod = |arguments: Value| {
        json!({"metadata": {"labels": {"component": "kube-controller-manager"}},
               "spec": {"containers": [{"name": "c", "image": "x", "command": ["kube-controller-manager"], "args": arguments}]}})
    };
    let arguments = json!(["--cluster-cidr=10.244.0.0/16", "--service-cluster-ip-range", "10.96.0.0/12"]);
    world.create(Kind::POD, Some(&world.namespace), "kcm-1", pod(arguments)).await;
    world.coordinator(json!({"podCIDRType": "cluster"})).await;
    let _leader = world.lead();
    let status = world.synced(&["10.244.0.0/16"], &["10.96.0.0/12"]).await;
    assert!(condition(&status, "OverlayPodCIDRKnown").1.contains("Pod kcm-1"), "{status:?}");
    // kubeadm's word is stronger, as soon as there is one.
    world.kubeadm("10.1.0.0/16", "").await;
    world.synced(&["10.1.0.0/16"], &["10.96.0.0/12"]).await;
}

#[tokio::test]
async fn the_spec_is_the_last_resort_and_none_takes_nothing_else() {
    let world = without_service_cidrs().await;
    world.coordinator(json!({"podCIDRType": "cluster"})).await;
    let _leader = world.lead();
    let status = world.status_where("nobody knows", |status| status.phase == "NotReady").await;
    assert!(status.reason.contains("it can be given in spec."), "{status:?}");
    assert_eq!((status.overlay_pod_cidr, status.service_cidr), (None, None));
    world
        .coordinator(
            json!({"podCIDRType": "cluster", "overlayPodCIDR": ["10.7.0.0/16"], "serviceCIDR": ["10.8.0.0/16"]}),
        )
        .await;
    world.synced(&["10.7.0.0/16"], &["10.8.0.0/16"]).await;
    world.kubeadm("10.244.0.0/16", "10.96.0.0/12").await;
    world.synced(&["10.244.0.0/16"], &["10.96.0.0/12"]).await;
    world.coordinator(json!({"podCIDRType": "none"})).await;
    world.synced(&[], &["10.96.0.0/12"]).await;
    // Nodes get a reason that people understand.
    let events = world.events_about("default", "default").await;
    assert!(events.iter().any(|(reason, message)| reason == "NotReady" && message.contains("spec.")), "{events:?}");
    assert!(
        events.iter().any(|(reason, message)| reason == "Synced" && message.contains("10.96.0.0/12")),
        "{events:?}"
    );
}

/// Some clusters show only one of the components, and an argument changes when its Pod is made anew.
#[tokio::test]
async fn the_api_servers_arguments_say_the_services() {
    let world = without_service_cidrs().await;
    let pod = |services: &str| {
        json!({"metadata": {"labels": {"component": "kube-apiserver"}},
               "spec": {"containers": [{"name": "c", "image": "x", "command": ["kube-apiserver", format!("--service-cluster-ip-range={services}")]}]}})
    };
    let namespace = Some(world.namespace.as_str());
    world.create(Kind::POD, namespace, "api-1", pod("10.96.0.0/12,fd00:96::/112")).await;
    world.coordinator(json!({"podCIDRType": "cluster", "overlayPodCIDR": ["10.7.0.0/16"]})).await;
    let _leader = world.lead();
    let status = world.synced(&["10.7.0.0/16"], &["10.96.0.0/12", "fd00:96::/112"]).await;
    assert!(condition(&status, "ServiceCIDRKnown").1.contains("Pod api-1"), "{status:?}");
    assert!(condition(&status, "OverlayPodCIDRKnown").1.contains("spec.overlayPodCIDR"), "{status:?}");
    world.remove(Kind::POD, namespace, "api-1").await;
    world.create(Kind::POD, namespace, "api-2", pod("10.112.0.0/12")).await;
    world.synced(&["10.7.0.0/16"], &["10.112.0.0/12"]).await;
}

/// `auto`: objects in the API decide, and where the leader sees its node's CNI configurations, those do.
#[tokio::test]
async fn auto_is_whatever_the_cluster_has() {
    let world = without_service_cidrs().await;
    world.kubeadm("10.244.0.0/16", "10.96.0.0/12").await;
    world.coordinator(json!({})).await;
    let leader = world.lead();
    // Neither Calico nor Cilium: what the control plane says.
    world.synced(&["10.244.0.0/16"], &["10.96.0.0/12"]).await;
    world.put(POOL, None, "one", json!({"spec": {"cidr": "10.1.0.0/16"}})).await;
    world.synced(&["10.1.0.0/16"], &["10.96.0.0/12"]).await;
    drop(leader);

    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, kind: &str| {
        let text = json!({"cniVersion": "0.3.1", "name": kind, "plugins": [{"type": kind}]});
        std::fs::write(folder.path().join(name), text.to_string()).unwrap();
    };
    write("10-flannel.conflist", "flannel");
    let _leader = world.candidate_of_node("two", &world.proxy, Some(folder.path()));
    world.synced(&["10.244.0.0/16"], &["10.96.0.0/12"]).await;
    write("05-calico.conflist", "calico");
    world.synced(&["10.1.0.0/16"], &["10.96.0.0/12"]).await;
    world.config_map("cilium-config", json!({"ipam": "cluster-pool", "cluster-pool-ipv4-cidr": "10.0.0.0/8"})).await;
    write("01-cilium.conflist", "cilium-cni");
    world.synced(&["10.0.0.0/8"], &["10.96.0.0/12"]).await;
}

/// Calico's own API in the place of its stored objects, Cilium's older version in the place of the newer.
#[tokio::test]
async fn objects_of_other_versions_are_found() {
    let world = without_service_cidrs().await;
    {
        let mut faults = world.proxy.faults();
        // The server has one version of each; the agent is to find it under the other one's name.
        faults.hide.extend(["/crd.projectcalico.org/", "/cilium.io/v2/"]);
        faults.rename.push(("/projectcalico.org/v3/", "/crd.projectcalico.org/v1/"));
        faults.rename.push(("/cilium.io/v2alpha1/", "/cilium.io/v2/"));
    }
    world.kubeadm("10.244.0.0/16", "10.96.0.0/12").await;
    world.put(POOL, None, "one", json!({"spec": {"cidr": "10.1.0.0/16"}})).await;
    world.put(CILIUM_POOL, None, "red", json!({"spec": {"ipv4": {"cidrs": ["10.20.0.0/16"]}}})).await;
    world.config_map("cilium-config", json!({"ipam": "multi-pool"})).await;
    world.coordinator(json!({"podCIDRType": "calico"})).await;
    let _leader = world.lead();
    world.synced(&["10.1.0.0/16"], &["10.96.0.0/12"]).await;
    world.coordinator(json!({"podCIDRType": "cilium"})).await;
    world.synced(&["10.20.0.0/16"], &["10.96.0.0/12"]).await;
}

/// ServiceCIDR in each version that the agent knows, added, changed and removed. A version that the server has is asked for
/// as it is; another one is the server's own under that name.
#[tokio::test]
async fn service_cidrs_are_followed_in_every_version() {
    for (at, asked) in Kind::SERVICE_CIDRS.into_iter().enumerate() {
        let world = World::start().await;
        let has = world.service_cidrs().await;
        let kind =
            *has.first().expect("a server without ServiceCIDR cannot be asked for it: Kubernetes has it since 1.31");
        let is_own = has.iter().any(|kind| kind.version == asked.version);
        let path = |kind: Kind| -> &'static str { format!("/networking.k8s.io/{}/", kind.version).leak() };
        {
            let mut faults = world.proxy.faults();
            faults.hide.extend(Kind::SERVICE_CIDRS.into_iter().take(at).map(path));
            if !is_own {
                faults.rename.push((path(asked), path(kind)));
            }
        }
        let api = coordinator_agent::api::objects(&world.client, kind, None);
        let own: Vec<String> = api
            .list(&Default::default())
            .await
            .unwrap()
            .items
            .iter()
            .flat_map(|it| it.data["spec"]["cidrs"].as_array().cloned().unwrap_or_default())
            .map(|it| it.as_str().unwrap_or_default().to_owned())
            .collect();
        let with = |more: &[&str]| {
            let mut all: Vec<ipnet::IpNet> =
                own.iter().map(String::as_str).chain(more.iter().copied()).map(|it| it.parse().unwrap()).collect();
            all.sort_unstable();
            all.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let expect = async |more: &[&str]| {
            let all = with(more);
            world.synced(&[], &all.iter().map(String::as_str).collect::<Vec<_>>()).await
        };
        world.coordinator(json!({"podCIDRType": "none"})).await;
        world.create(kind, None, "first", json!({"spec": {"cidrs": ["10.133.0.0/24", "fd00:10:133::/120"]}})).await;
        let _leader = world.lead();
        let status = expect(&["10.133.0.0/24", "fd00:10:133::/120"]).await;
        assert!(condition(&status, "ServiceCIDRKnown").1.contains("first"), "{asked:?}: {status:?}");
        world.create(kind, None, "second", json!({"spec": {"cidrs": ["10.134.0.0/24"]}})).await;
        expect(&["10.133.0.0/24", "fd00:10:133::/120", "10.134.0.0/24"]).await;
        world.remove(kind, None, "first").await;
        expect(&["10.134.0.0/24"]).await;
        world.remove(kind, None, "second").await;
        let seen = world.proxy.take_seen();
        let watched =
            seen.iter().any(|(_, asked_for)| asked_for.contains(path(asked)) && asked_for.contains("watch=true"));
        assert!(watched, "{asked:?} was not watched");
        println!("{} {}", asked.version, if is_own { "as the server has it" } else { "by another name" });
    }
}

#[tokio::test]
async fn calicos_pools_come_and_go_and_disabled_ones_stay_while_used() {
    let world = without_service_cidrs().await;
    world.kubeadm("10.244.0.0/16", "10.96.0.0/12").await;
    world.put(POOL, None, "one", json!({"spec": {"cidr": "10.1.0.0/16"}})).await;
    world.coordinator(json!({"podCIDRType": "auto"})).await;
    let leader = world.lead();
    world.synced(&["10.1.0.0/16"], &["10.96.0.0/12"]).await;
    world.put(POOL, None, "two", json!({"spec": {"cidr": "10.2.0.0/16"}})).await;
    world.synced(&["10.1.0.0/16", "10.2.0.0/16"], &["10.96.0.0/12"]).await;
    let blocks = |usages: &coordinator_agent::api::Usages| usages.keys().any(|(_, resource)| resource == "ipamblocks");
    assert!(!blocks(&leader.meter.read()), "blocks are read while no pool is disabled");

    // More blocks than a page holds, the used one last.
    for number in 0..120 {
        let cidr = format!("10.2.{number}.0/26");
        let last = number == 119;
        let spec = json!({"spec": {"cidr": cidr, "allocations": [null, if last { json!(0) } else { Value::Null }]}});
        world.put(BLOCK, None, &format!("10-2-{number:03}-0-26"), spec).await;
    }
    world.put(POOL, None, "two", json!({"spec": {"cidr": "10.2.0.0/16", "disabled": true}})).await;
    lab::eventually("the blocks are read", async || blocks(&leader.meter.read()).then_some(())).await;
    world.synced(&["10.1.0.0/16", "10.2.0.0/16"], &["10.96.0.0/12"]).await;
    // The last address is given back: nobody tells, but the next look sees it.
    world
        .put(BLOCK, None, "10-2-119-0-26", json!({"spec": {"cidr": "10.2.119.0/26", "allocations": [null, null]}}))
        .await;
    world.synced(&["10.1.0.0/16"], &["10.96.0.0/12"]).await;
    world.remove(POOL, None, "two").await;
    world.coordinator(json!({"podCIDRType": "calico"})).await;
    world.synced(&["10.1.0.0/16"], &["10.96.0.0/12"]).await;
    // Without any pool, the last known good prefixes stay, and the status says why.
    world.remove(POOL, None, "one").await;
    let status = world.status_where("no pool", |status| status.phase == "NotReady").await;
    assert_eq!(status.overlay_pod_cidr, Some(vec!["10.1.0.0/16".to_owned()]));
    assert!(status.reason.contains("no IPPool of Calico"), "{status:?}");
}

#[tokio::test]
async fn cilium_is_followed_through_its_modes() {
    let world = without_service_cidrs().await;
    world.kubeadm("10.244.0.0/16", "10.96.0.0/12").await;
    world.config_map("cilium-config", json!({"ipam": "cluster-pool", "cluster-pool-ipv4-cidr": "10.0.0.0/8", "cluster-pool-ipv6-cidr": "fd00::/104"})).await;
    world.coordinator(json!({"podCIDRType": "auto"})).await;
    let _leader = world.lead();
    world.synced(&["10.0.0.0/8", "fd00::/104"], &["10.96.0.0/12"]).await;
    world.config_map("cilium-config", json!({"ipam": "multi-pool"})).await;
    world.status_where("no pools yet", |status| status.phase == "NotReady").await;
    world
        .put(CILIUM_POOL, None, "default", json!({"spec": {"ipv4": {"cidrs": ["10.10.0.0/16"], "maskSize": 27}}}))
        .await;
    world
        .put(
            CILIUM_POOL,
            None,
            "red",
            json!({"spec": {"ipv4": {"cidrs": ["10.20.0.0/16"]}, "ipv6": {"cidrs": ["fd00:20::/48"]}}}),
        )
        .await;
    world.synced(&["10.10.0.0/16", "10.20.0.0/16", "fd00:20::/48"], &["10.96.0.0/12"]).await;
    world.remove(CILIUM_POOL, None, "red").await;
    world.synced(&["10.10.0.0/16"], &["10.96.0.0/12"]).await;
    world.config_map("cilium-config", json!({"ipam": "kubernetes"})).await;
    world.coordinator(json!({"podCIDRType": "cilium"})).await;
    world.synced(&["10.244.0.0/16"], &["10.96.0.0/12"]).await;
}

/// 410 in a watch, 410 for a request, a cut in the middle of an event, throttling: nothing is missed.
#[tokio::test]
async fn watches_heal_whatever_ends_them() {
    let world = without_service_cidrs().await;
    world.kubeadm("10.1.0.0/16", "10.96.0.0/12").await;
    world.coordinator(json!({"podCIDRType": "cluster"})).await;
    let _leader = world.lead();
    world.synced(&["10.1.0.0/16"], &["10.96.0.0/12"]).await;
    for (round, fault) in ["gone", "cut", "refused", "throttled", "expired"].into_iter().enumerate() {
        match fault {
            "gone" => world.proxy.gone(),
            "cut" => world.proxy.cut(),
            "refused" => {
                world.proxy.faults().refuse.push(("configmaps", 500, 3));
                world.proxy.cut();
            }
            "throttled" => {
                world.proxy.faults().refuse.push(("configmaps", 429, 1));
                world.proxy.cut();
            }
            _ => {
                world.proxy.faults().refuse.push(("watch=true", 410, 4));
                world.proxy.cut();
            }
        }
        let pods = format!("10.{}.0.0/16", round + 10);
        world.kubeadm(&pods, "10.96.0.0/12").await;
        world.synced(&[&pods], &["10.96.0.0/12"]).await;
    }
}

/// A source that may not be read is said so, and what was known stays.
#[tokio::test]
async fn a_source_that_may_not_be_read_is_told() {
    let world = without_service_cidrs().await;
    world.kubeadm("10.1.0.0/16", "10.96.0.0/12").await;
    world.put(POOL, None, "one", json!({"spec": {"cidr": "10.2.0.0/16"}})).await;
    world.coordinator(json!({"podCIDRType": "calico"})).await;
    let _leader = world.lead();
    world.synced(&["10.2.0.0/16"], &["10.96.0.0/12"]).await;
    world.proxy.faults().refuse.push(("ippools", 403, usize::MAX));
    world.proxy.cut();
    let status = world.status_where("the trouble is told", |status| status.phase == "NotReady").await;
    assert_eq!(status.overlay_pod_cidr, Some(vec!["10.2.0.0/16".to_owned()]));
    let (holds, message) = condition(&status, "SourcesWatched");
    assert!(holds == "False" && message.contains("IPPool: the API server answers 403"), "{message}");
    world.proxy.faults().refuse.clear();
    world.synced(&["10.2.0.0/16"], &["10.96.0.0/12"]).await;

    // A source that never could be read keeps a fresh status from being made up.
    world.proxy.faults().refuse.push(("ippools", 403, usize::MAX));
    world.remove(Kind::COORDINATOR, None, "default").await;
    let _second = world.lead();
    world.coordinator(json!({"podCIDRType": "calico"})).await;
    let status = world.status_where("it is not known", |status| status.phase == "NotReady").await;
    assert!(
        status.overlay_pod_cidr.is_none() || status.overlay_pod_cidr == Some(vec!["10.2.0.0/16".to_owned()]),
        "{status:?}"
    );
}

/// A cluster that has Spiderpool's own definitions has no rules of ours.
#[tokio::test]
async fn wrong_values_that_no_rule_caught_are_told_in_the_status() {
    let world = World::without_rules().await;
    world.proxy.faults().hide.push("/servicecidrs");
    world.kubeadm("10.1.0.0/16", "10.96.0.0/12").await;
    world.coordinator(json!({"podCIDRType": "cluster"})).await;
    let _leader = world.lead();
    world.synced(&["10.1.0.0/16"], &["10.96.0.0/12"]).await;
    world.coordinator(json!({"podCIDRType": "cluster", "hostRuleTable": 254})).await;
    let status = world.status_where("the value is told", |status| status.phase == "NotReady").await;
    assert!(status.reason.starts_with("SpecValid: hostRuleTable = 254: 253, 254 and 255"), "{status:?}");
}
