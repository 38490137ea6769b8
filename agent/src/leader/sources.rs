//! The leader's eyes: a watch on each source of prefixes, and what they say together.

use std::{fs, path::Path, time::Duration};

use coordinator_objects::{
    Kind,
    coordinator::{Coordinator, NAME},
};
use futures::future::{BoxFuture, select_all};
use kube::core::DynamicObject;
use serde_json::Value;
use tokio::{sync::watch, time::Instant};

use super::Leader;
use crate::{
    api::{Target, View, follow},
    discovery::{
        CalicoPool, CiliumIpam, ClusterNetworks, Known, MainCni, ServiceCidr, Sources, component_networks,
        kubeadm_networks, main_cni, pool_prefixes, prefixes_in,
    },
};

/// The watches.
#[derive(Debug)]
pub struct Watched {
    coordinator: watch::Receiver<View>,
    service_cidrs: watch::Receiver<View>,
    kubeadm: watch::Receiver<View>,
    components: watch::Receiver<View>,
    calico: watch::Receiver<View>,
    cilium: watch::Receiver<View>,
    cilium_pools: watch::Receiver<View>,
    since: Instant,
}

impl Watched {
    /// Begins to watch.
    pub fn new(leader: &Leader) -> Self {
        let follow = |target: Target| follow(&leader.client, &leader.meter, target, leader.rhythm);
        let system = Some(leader.system_namespace.as_str());
        let components = Target {
            namespace: system.map(str::to_owned),
            labels: "component in (kube-controller-manager,kube-apiserver)".to_owned(),
            ..Target::all(&[Kind::POD])
        };
        Self {
            coordinator: follow(Target::named(Kind::COORDINATOR, None, NAME)),
            service_cidrs: follow(Target::all(&Kind::SERVICE_CIDRS)),
            kubeadm: follow(Target::named(Kind::CONFIG_MAP, system, "kubeadm-config")),
            components: follow(components),
            calico: follow(Target::all(&Kind::CALICO_POOLS)),
            cilium: follow(Target::named(Kind::CONFIG_MAP, Some(&leader.cilium_namespace), "cilium-config")),
            cilium_pools: follow(Target::all(&Kind::CILIUM_POOLS)),
            since: Instant::now(),
        }
    }

    fn all(&mut self) -> [(&'static str, &mut watch::Receiver<View>); 7] {
        [
            ("SpiderCoordinator", &mut self.coordinator),
            ("ServiceCIDR", &mut self.service_cidrs),
            ("ConfigMap kubeadm-config", &mut self.kubeadm),
            ("Pods of the control plane", &mut self.components),
            ("IPPool", &mut self.calico),
            ("ConfigMap cilium-config", &mut self.cilium),
            ("CiliumPodIPPool", &mut self.cilium_pools),
        ]
    }

    /// Waits until one of them has something new.
    pub async fn changed(&mut self) {
        let _ = select_all(self.all().map(change_of)).await;
    }

    /// Sources that could not be read for `grace`, each with why.
    pub fn troubles(&mut self, grace: Duration) -> Vec<String> {
        let mut troubles = Vec::new();
        for (name, receiver) in self.all() {
            let view = receiver.borrow_and_update();
            troubles.extend(
                view.trouble
                    .as_ref()
                    .filter(|trouble| trouble.since.elapsed() >= grace)
                    .map(|trouble| format!("{name}: {}", trouble.text)),
            );
        }
        troubles
    }

    /// True when every source has had `grace` to be read.
    pub fn is_overdue(&self, grace: Duration) -> bool {
        self.since.elapsed() >= grace
    }

    /// SpiderCoordinator; absent when there is none, or none was seen yet.
    pub fn coordinator(&self) -> Option<Coordinator> {
        self.coordinator.borrow().objects.values().next().map(|object| parsed(object))
    }

    /// The disabled pools of Calico.
    pub fn disabled_pools(&self) -> Vec<CalicoPool> {
        match self.pools() {
            Known::Seen(pools) => pools.into_iter().filter(|pool| pool.disabled && pool.for_pods).collect(),
            _ => Vec::new(),
        }
    }

    fn pools(&self) -> Known<Vec<CalicoPool>> {
        each(&self.calico.borrow(), |name, data| CalicoPool::parse(name, data.get("spec").unwrap_or(&Value::Null)))
    }

    /// All sources, together with what is not watched.
    pub fn sources(&self, calico_used: Known<Vec<ipnet::IpNet>>, main_cni: Option<MainCni>) -> Sources {
        let service_cidr = |name: &str, data: &Value| {
            let entries = data.pointer("/spec/cidrs").and_then(Value::as_array);
            let text: Vec<&str> = entries.into_iter().flatten().filter_map(Value::as_str).collect();
            let prefixes = prefixes_in(&text.join(",")).map_err(|error| format!("ServiceCIDR {name}: {error}"))?;
            Ok(ServiceCidr { name: name.to_owned(), prefixes })
        };
        let component = |name: &str, data: &Value| {
            Ok::<ClusterNetworks, String>(component_networks(name, data.get("spec").unwrap_or(&Value::Null)))
        };
        let cilium_pool = |name: &str, data: &Value| pool_prefixes(name, data.get("spec").unwrap_or(&Value::Null));
        Sources {
            service_cidrs: each(&self.service_cidrs.borrow(), service_cidr),
            kubeadm: one(&self.kubeadm.borrow()).and_then(|data| kubeadm_networks(&data)),
            components: each(&self.components.borrow(), component),
            calico: self.pools(),
            calico_used,
            cilium: one(&self.cilium.borrow()).and_then(|data| CiliumIpam::parse(&data)),
            cilium_pools: each(&self.cilium_pools.borrow(), cilium_pool).and_then(|pools| Ok(pools.concat())),
            main_cni,
        }
    }
}

fn change_of<'r>((_, receiver): (&'static str, &'r mut watch::Receiver<View>)) -> BoxFuture<'r, ()> {
    Box::pin(async move { _ = receiver.changed().await })
}

/// SpiderCoordinator out of an untyped object.
pub(crate) fn parsed(object: &DynamicObject) -> Coordinator {
    let metadata = &object.metadata;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let (uid, version) = (text(&metadata.uid), text(&metadata.resource_version));
    Coordinator::parse(&uid, &version, metadata.generation.unwrap_or_default(), &object.data)
}

/// Every object of a view, read; the first one that cannot be read makes the source wrong.
fn each<T>(view: &View, read: impl Fn(&str, &Value) -> Result<T, String>) -> Known<Vec<T>> {
    if !view.is_known {
        return Known::Unseen;
    }
    if view.is_absent {
        return Known::Absent;
    }
    let name = |object: &DynamicObject| object.metadata.name.clone().unwrap_or_default();
    let read = view.objects.values().map(|object| read(&name(object), &object.data));
    read.collect::<Result<Vec<T>, String>>().map_or_else(Known::Wrong, Known::Seen)
}

/// The `data` of a ConfigMap.
fn one(view: &View) -> Known<Value> {
    match (view.is_known, view.objects.values().next()) {
        (false, _) => Known::Unseen,
        (true, None) => Known::Absent,
        (true, Some(object)) => Known::Seen(object.data.get("data").cloned().unwrap_or_default()),
    }
}

/// The plugin that the CNI configurations of this node name; none when they cannot be read.
pub(super) fn plugin_of_node(directory: &Path) -> Option<MainCni> {
    let entries = fs::read_dir(directory).ok()?;
    let file =
        |entry: fs::DirEntry| Some((entry.file_name().into_string().ok()?, fs::read_to_string(entry.path()).ok()?));
    main_cni(&entries.filter_map(|entry| file(entry.ok()?)).collect::<Vec<_>>())
}
