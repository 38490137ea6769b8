//! The world of the agent's tests: an API server, a proxy in front of it, and hands that change its objects.
//!
//! With `KUBECONFIG` set, the server is that one, and every test runs as it is: faults of the network are made by the
//! proxy in either case. A real server outlives a test and holds one SpiderCoordinator for all, so the tests take turns
//! there, clean what is left, and refuse a cluster whose definitions are not theirs.

#![allow(dead_code)]

pub(crate) mod chart;
mod proxy;

use std::{
    future::Future,
    path::Path,
    sync::Arc,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use coordinator_agent::{
    api::{Events, Leadership, Meter, Rhythm, campaign, connect, objects},
    election::Timing,
    leader::Leader,
};
use coordinator_apiserver::Server;
use coordinator_objects::{
    Kind,
    coordinator::{NAME, Status},
    crd,
};
use kube::{
    Client, Config,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    core::DynamicObject,
};
use serde_json::{Value, json};
use tokio::{
    sync::{Mutex, OwnedMutexGuard, watch},
    task::JoinHandle,
};

pub(crate) use proxy::Proxy;

/// Whose turn it is.
static TURN: std::sync::LazyLock<Arc<Mutex<()>>> = std::sync::LazyLock::new(Arc::default);
static WORLDS: AtomicU32 = AtomicU32::new(0);

const NAMESPACE: Kind = Kind { group: "", version: "v1", kind: "Namespace", plural: "namespaces" };
/// How the tests' namespaces begin.
const PREFIX: &str = "coordinator-test-";
/// Who writes what the tests write.
const MANAGER: &str = "coordinator-test";

/// How long something may take that happens within moments: generous, since machines are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// An API server, a proxy, a namespace.
pub(crate) struct World {
    /// In front of the server; the agent goes through it.
    pub(crate) proxy: Proxy,
    /// Straight to the server, for the test's own hands.
    pub(crate) client: Client,
    /// The test's namespace; it plays `kube-system` too.
    pub(crate) namespace: String,
    /// The server's minor version: what it can do with definitions.
    pub(crate) minor: u32,
    server: Option<Server>,
    _turn: OwnedMutexGuard<()>,
}

/// A leader or a candidate; it stops with this value.
pub(crate) struct Running {
    /// Its counts.
    pub(crate) meter: Meter,
    /// How its campaign stands.
    pub(crate) leadership: watch::Receiver<Leadership>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl World {
    /// Starts it, with the kinds that the agent may meet.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// One whose definitions know the fields and nothing of their values.
    pub(crate) async fn without_rules() -> Self {
        Self::with(remove_rules).await
    }

    async fn with(change: fn(&mut Value)) -> Self {
        loopback_up();
        let is_real = std::env::var_os("KUBECONFIG").is_some();
        // The stand-in is each test's own.
        let turn = if is_real { Arc::clone(&TURN) } else { Arc::default() };
        let turn = turn.lock_owned().await;
        let server = (!is_real).then(Server::start);
        let upstream = match &server {
            Some(server) => Config::new(server.url().parse().unwrap()),
            None => Config::infer().await.unwrap(),
        };
        let client = Client::try_from(upstream.clone()).unwrap();
        let proxy = Proxy::start(upstream);
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("{PREFIX}{}-{number}", std::process::id());
        let minor = if is_real { minor_version(&client).await } else { u32::MAX };
        let world = Self { proxy, client, namespace, minor, server, _turn: turn };
        if is_real {
            world.clean().await;
        }
        world.put(NAMESPACE, None, &world.namespace, json!({})).await;
        for mut definition in crd::definitions(has_addresses(minor)) {
            if !has_rules(minor) {
                remove_rules(&mut definition);
            }
            change(&mut definition);
            world.define(definition).await;
        }
        let foreign = [
            (Kind::CALICO_POOLS[0], "Cluster"),
            (Kind::CALICO_BLOCKS[0], "Cluster"),
            (Kind::CILIUM_POOLS[0], "Cluster"),
            (Kind::DEFINITION, "Namespaced"),
        ];
        for (kind, scope) in foreign {
            world.open(kind, scope).await;
        }
        if is_real {
            for kind in [Kind::COORDINATOR, Kind::CALICO_POOLS[0], Kind::CALICO_BLOCKS[0], Kind::CILIUM_POOLS[0]] {
                let all = objects(&world.client, kind, None);
                all.delete_collection(&DeleteParams::default(), &kube::api::ListParams::default()).await.unwrap();
            }
        }
        world
    }

    /// A client of an agent: through the proxy, counted.
    pub(crate) fn agents_client(&self, meter: &Meter) -> Client {
        connect(Config::new(self.proxy.url().parse().unwrap()), meter).unwrap()
    }

    /// A leader that is alone.
    pub(crate) fn lead(&self) -> Running {
        self.candidate("one", &self.proxy)
    }

    /// A candidate for leading, who reaches the server through `proxy`.
    pub(crate) fn candidate(&self, identity: &str, proxy: &Proxy) -> Running {
        self.candidate_of_node(identity, proxy, None)
    }

    /// A candidate on a node whose CNI configurations are in a folder.
    pub(crate) fn candidate_of_node(&self, identity: &str, proxy: &Proxy, folder: Option<&Path>) -> Running {
        let meter = Meter::default();
        let client = connect(Config::new(proxy.url().parse().unwrap()), &meter).unwrap();
        let leadership = campaign(&client, &self.namespace, identity, timing());
        let leader = Leader {
            events: Arc::new(Events::new(client.clone(), identity.to_owned())),
            client,
            meter: meter.clone(),
            rhythm: rhythm(),
            resync: Duration::from_secs(2),
            grace: Duration::from_secs(3),
            system_namespace: self.namespace.clone(),
            cilium_namespace: self.namespace.clone(),
            cni_directory: folder.map(Path::to_owned),
        };
        let mine = leadership.clone();
        let task = tokio::spawn(async move { leader.run(mine).await });
        Running { meter, leadership, task }
    }

    /// Removes what earlier tests left on a server that outlives them, and what a leader or a node would see. No cluster's
    /// controller need run there that empties a namespace.
    async fn clean(&self) {
        let (at_once, every) = (DeleteParams::default().grace_period(0), kube::api::ListParams::default());
        let about = every.clone().fields("involvedObject.kind=SpiderCoordinator");
        objects(&self.client, Kind::EVENT, Some("default")).delete_collection(&at_once, &about).await.unwrap();
        let all = objects(&self.client, NAMESPACE, None).list(&every).await.unwrap();
        for namespace in all.items {
            let name = namespace.metadata.name.unwrap();
            if !name.starts_with(PREFIX) || namespace.metadata.deletion_timestamp.is_some() {
                continue;
            }
            for kind in [Kind::POD, Kind::NETWORK, Kind::DEFINITION] {
                match objects(&self.client, kind, Some(&name)).delete_collection(&at_once, &every).await {
                    Ok(_) => {}
                    // The kind is not defined yet.
                    Err(kube::Error::Api(status)) if status.code == 404 => {}
                    Err(error) => panic!("{name}: {error}"),
                }
            }
            objects(&self.client, NAMESPACE, None).delete(&name, &at_once).await.unwrap();
        }
    }

    /// The versions of ServiceCIDR that the server has.
    pub(crate) async fn service_cidrs(&self) -> Vec<Kind> {
        let mut found = Vec::new();
        for kind in Kind::SERVICE_CIDRS {
            match objects(&self.client, kind, None).list(&kube::api::ListParams::default()).await {
                Ok(_) => found.push(kind),
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => panic!("{kind:?}: {error}"),
            }
        }
        found
    }

    async fn define(&self, definition: Value) {
        let kind = Kind {
            group: "apiextensions.k8s.io",
            version: "v1",
            kind: "CustomResourceDefinition",
            plural: "customresourcedefinitions",
        };
        let name = definition["metadata"]["name"].as_str().unwrap().to_owned();
        let api = objects(&self.client, kind, None);
        // The tests replace definitions and remove every object of them: never those of a cluster that somebody uses.
        if let Some(there) = api.get_opt(&name).await.unwrap().filter(|_| self.server.is_none()) {
            let managers = there.metadata.managed_fields.unwrap_or_default();
            let is_ours = managers.iter().any(|entry| entry.manager.as_deref() == Some(MANAGER));
            assert!(is_ours, "{name} is not of these tests: KUBECONFIG must name a cluster that is for them alone");
        }
        let patch = PatchParams::apply(MANAGER).force();
        api.patch(&name, &patch, &Patch::Apply(&definition)).await.unwrap();
        let established = async || {
            let found = api.get(&name).await.unwrap();
            let conditions =
                found.data.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
            conditions.iter().any(|it| it["type"] == "Established" && it["status"] == "True").then_some(())
        };
        eventually("the definition is established", established).await;
    }

    /// A kind of somebody else's, whatever its objects are.
    pub(crate) async fn open(&self, kind: Kind, scope: &str) {
        self.define(open_definition(kind, scope)).await;
    }

    /// Makes an object, or changes the whole of it.
    pub(crate) async fn put(&self, kind: Kind, namespace: Option<&str>, name: &str, mut data: Value) {
        data["apiVersion"] = json!(kind.api_version());
        data["kind"] = json!(kind.kind);
        data["metadata"]["name"] = json!(name);
        let patch = PatchParams::apply(MANAGER).force();
        objects(&self.client, kind, namespace)
            .patch(name, &patch, &Patch::Apply(&data))
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// Makes an object as a user would who never heard of server-side apply.
    pub(crate) async fn create(&self, kind: Kind, namespace: Option<&str>, name: &str, mut data: Value) {
        data["apiVersion"] = json!(kind.api_version());
        data["kind"] = json!(kind.kind);
        data["metadata"]["name"] = json!(name);
        let object: DynamicObject = serde_json::from_value(data).unwrap();
        objects(&self.client, kind, namespace).create(&PostParams::default(), &object).await.unwrap();
    }

    /// Removes an object, and a Pod at once, as its kubelet does in the end: here is none.
    pub(crate) async fn remove(&self, kind: Kind, namespace: Option<&str>, name: &str) {
        let at_once = DeleteParams::default().grace_period(0);
        objects(&self.client, kind, namespace).delete(name, &at_once).await.unwrap();
    }

    /// An object as it is now.
    pub(crate) async fn get(&self, kind: Kind, namespace: Option<&str>, name: &str) -> Option<DynamicObject> {
        objects(&self.client, kind, namespace).get_opt(name).await.unwrap()
    }

    /// SpiderCoordinator default with this spec.
    pub(crate) async fn coordinator(&self, spec: Value) {
        self.put(Kind::COORDINATOR, None, NAME, json!({"spec": spec})).await;
    }

    /// Its status.
    pub(crate) async fn status(&self) -> Status {
        let object = self.get(Kind::COORDINATOR, None, NAME).await;
        let status = object.and_then(|object| object.data.get("status").cloned()).unwrap_or_default();
        serde_json::from_value(status).unwrap_or_default()
    }

    /// Waits until the status is as `wanted` says; returns it.
    pub(crate) async fn status_where(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        let last = std::sync::Mutex::new(Status::default());
        let look = async || {
            let status = self.status().await;
            *last.lock().unwrap() = status.clone();
            wanted(&status).then_some(status)
        };
        match tokio::time::timeout(PATIENCE, poll(look)).await {
            Ok(status) => status,
            Err(_) => panic!("{what}: the status stays {:?}", last.lock().unwrap()),
        }
    }

    /// Waits until both lists are these and the phase is `Synced`.
    pub(crate) async fn synced(&self, overlay: &[&str], service: &[&str]) -> Status {
        let what = format!("overlay {overlay:?} and service {service:?}");
        self.status_where(&what, |status| {
            status.phase == Status::SYNCED
                && status.overlay_pod_cidr.as_deref().is_some_and(|found| found == overlay)
                && status.service_cidr.as_deref().is_some_and(|found| found == service)
        })
        .await
    }

    /// A ConfigMap of the system's namespace.
    pub(crate) async fn config_map(&self, name: &str, data: Value) {
        self.put(Kind::CONFIG_MAP, Some(&self.namespace), name, json!({"data": data})).await;
    }

    /// `kubeadm-config` with these networks.
    pub(crate) async fn kubeadm(&self, pods: &str, services: &str) {
        let text = format!(
            "kind: ClusterConfiguration\nnetworking:\n  podSubnet: \"{pods}\"\n  serviceSubnet: \"{services}\"\n"
        );
        self.config_map("kubeadm-config", json!({"ClusterConfiguration": text})).await;
    }

    /// Messages of Events about an object, with their reasons.
    pub(crate) async fn events_about(&self, namespace: &str, name: &str) -> Vec<(String, String)> {
        let events =
            objects(&self.client, Kind::EVENT, Some(namespace)).list(&kube::api::ListParams::default()).await.unwrap();
        let about = events.items.into_iter().filter(|event| event.data["involvedObject"]["name"] == name);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        about.map(|event| (text(&event.data["reason"]), text(&event.data["message"]))).collect()
    }
}

async fn minor_version(client: &Client) -> u32 {
    let version = client.apiserver_version().await.unwrap();
    version.minor.trim_end_matches('+').parse().unwrap()
}

/// Servers know rules since 1.25 …
pub(crate) fn has_rules(minor: u32) -> bool {
    minor >= 25
}

/// … and functions for addresses since 1.31; the chart asks Helm for that.
pub(crate) fn has_addresses(minor: u32) -> bool {
    minor >= 31
}

/// Volumes that are images are there since 1.31.
pub(crate) fn has_images(minor: u32) -> bool {
    minor >= 31
}

/// Rhythm of a test: everything that waits waits shortly.
pub(crate) fn rhythm() -> Rhythm {
    Rhythm {
        watch: Duration::from_secs(20),
        first: Duration::from_millis(50),
        longest: Duration::from_millis(500),
        absent: Duration::from_millis(400),
    }
}

/// Timing of a test's election.
pub(crate) fn timing() -> Timing {
    Timing { lease: Duration::from_secs(5), deadline: Duration::from_millis(3500), retry: Duration::from_millis(400) }
}

/// Takes the rules out of a schema.
pub(crate) fn remove_rules(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.remove("x-kubernetes-validations");
            fields.values_mut().for_each(remove_rules);
        }
        Value::Array(entries) => entries.iter_mut().for_each(remove_rules),
        _ => {}
    }
}

/// A definition without a schema.
fn open_definition(kind: Kind, scope: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{}.{}", kind.plural, kind.group)},
        "spec": {"group": kind.group, "scope": scope,
            "names": {"kind": kind.kind, "listKind": format!("{}List", kind.kind), "plural": kind.plural, "singular": kind.kind.to_lowercase()},
            "versions": [{"name": kind.version, "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]},
    })
}

/// A namespace that was just made has its loopback interface down; elsewhere this changes nothing.
pub(crate) fn loopback_up() {
    let _ =
        std::process::Command::new("ip").args(["link", "set", "lo", "up"]).stderr(std::process::Stdio::null()).status();
}

/// Lets so many seconds pass by the agent's clock, or until it is `done`. Between two of them real sockets have real time,
/// and the server all that it needs for its answers: while another thread works, the clock stands still.
pub(crate) async fn pass(proxies: &[&Proxy], seconds: u32, mut done: impl FnMut() -> bool) {
    let breathe = async || {
        let pause = tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(1)));
        pause.await.unwrap();
    };
    for _ in 0..seconds {
        if done() {
            return;
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        breathe().await;
        while proxies.iter().any(|proxy| proxy.is_asked()) {
            breathe().await;
        }
    }
}

/// Looks until there is something.
pub(crate) async fn poll<T, F: Future<Output = Option<T>>>(mut look: impl FnMut() -> F) -> T {
    loop {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// Looks until there is something, or fails.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, look: impl FnMut() -> F) -> T {
    tokio::time::timeout(PATIENCE, poll(look)).await.unwrap_or_else(|_| panic!("not in {PATIENCE:?}: {what}"))
}
