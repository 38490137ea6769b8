//! Which prefixes the cluster's Pods and services have: from what its objects say, to an answer with its origin.
//!
//! Pure: objects in, prefixes out. Who reads the objects, and how often, is `leader`'s business. A source that
//! has not been seen yet is not an absent one: while a stronger source may still speak, no weaker one is heard,
//! so a start or a slow API never gives a wrong answer, only none yet.

mod calico;
mod cilium;
mod cluster;
mod main_cni;
mod prefixes;
mod service_cidr;

use std::fmt;

use coordinator_objects::coordinator::{Answer, PodCidrType};
use ipnet::IpNet;

pub use calico::{CalicoPool, used_block};
pub use cilium::{CiliumIpam, pool_prefixes};
pub use cluster::{ClusterNetworks, component_networks, kubeadm_networks};
pub use main_cni::{MainCni, main_cni};
pub use prefixes::prefixes_in;
pub use service_cidr::service_cidr;

use prefixes::sorted;

/// What is known of one source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Known<T> {
    /// Nothing yet.
    #[default]
    Unseen,
    /// The cluster has none.
    Absent,
    /// It is there, and not understood.
    Wrong(String),
    /// It is there.
    Seen(T),
}

impl<T> Known<T> {
    /// The same source, read further; an error in words makes it [`Known::Wrong`].
    pub fn and_then<U>(self, read: impl FnOnce(T) -> Result<U, String>) -> Known<U> {
        match self {
            Self::Unseen => Known::Unseen,
            Self::Absent => Known::Absent,
            Self::Wrong(reason) => Known::Wrong(reason),
            Self::Seen(value) => read(value).map_or_else(Known::Wrong, Known::Seen),
        }
    }
}

/// Everything that the cluster may say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// ServiceCIDR resources.
    pub service_cidrs: Known<Vec<ServiceCidr>>,
    /// `kubeadm-config`.
    pub kubeadm: Known<ClusterNetworks>,
    /// The arguments of kube-controller-manager and kube-apiserver.
    pub components: Known<Vec<ClusterNetworks>>,
    /// Calico's pools.
    pub calico: Known<Vec<CalicoPool>>,
    /// The disabled ones of Calico's pools that still have addresses out.
    pub calico_used: Known<Vec<IpNet>>,
    /// Cilium's mode.
    pub cilium: Known<CiliumIpam>,
    /// Cilium's pools: their prefixes.
    pub cilium_pools: Known<Vec<IpNet>>,
    /// The plugin of the node on which the leader runs.
    pub main_cni: Option<MainCni>,
}

/// A ServiceCIDR resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceCidr {
    /// Its name.
    pub name: String,
    /// Its prefixes.
    pub prefixes: Vec<IpNet>,
}

/// What is found: these prefixes, sorted.
fn found(prefixes: Vec<IpNet>, origin: impl fmt::Display) -> Answer {
    Answer::Found { prefixes: sorted(prefixes), origin: origin.to_string() }
}

/// The overlay Pods' prefixes, `given` being those in the spec.
pub fn overlay_pod_cidr(kind: PodCidrType, sources: &Sources, given: &[IpNet]) -> Answer {
    match kind {
        PodCidrType::Auto => match chosen(sources) {
            Ok(kind) => overlay_pod_cidr(kind, sources, given),
            Err(waiting) => waiting,
        },
        PodCidrType::Cluster => control_plane(sources, given, "overlayPodCIDR", |networks| &networks.pods),
        PodCidrType::Calico => calico_pods(sources),
        PodCidrType::Cilium => cilium_pods(sources, given),
        PodCidrType::None => found(given.to_vec(), "spec.overlayPodCIDR, since podCIDRType is none"),
    }
}

/// What `auto` means here: the plugin of the leader's node, else the one that has objects in the API.
fn chosen(sources: &Sources) -> Result<PodCidrType, Answer> {
    match sources.main_cni {
        Some(MainCni::Calico) => return Ok(PodCidrType::Calico),
        Some(MainCni::Cilium) => return Ok(PodCidrType::Cilium),
        Some(MainCni::Other) => return Ok(PodCidrType::Cluster),
        None => {}
    }
    let there = |seen: bool, kind| if seen { Some(kind) } else { None };
    let calico = matches!(&sources.calico, Known::Seen(pools) if !pools.is_empty());
    let cilium = matches!(sources.cilium, Known::Seen(_) | Known::Wrong(_));
    if let Some(kind) = there(calico, PodCidrType::Calico).or(there(cilium, PodCidrType::Cilium)) {
        return Ok(kind);
    }
    if matches!(sources.calico, Known::Unseen) || matches!(sources.cilium, Known::Unseen) {
        return Err(Answer::Waiting("whether the cluster has Calico or Cilium is not known yet".to_owned()));
    }
    Ok(PodCidrType::Cluster)
}

/// What the control plane was started with: kubeadm's word, else the components', else the spec's.
fn control_plane(
    sources: &Sources,
    given: &[IpNet],
    field: &str,
    of: impl Fn(&ClusterNetworks) -> &Vec<IpNet>,
) -> Answer {
    let mut trouble = Vec::new();
    match &sources.kubeadm {
        Known::Unseen => return Answer::Waiting("kubeadm-config has not been read yet".to_owned()),
        Known::Seen(networks) if !of(networks).is_empty() => {
            return found(of(networks).clone(), &networks.origin);
        }
        Known::Wrong(reason) => trouble.push(reason.clone()),
        Known::Absent => trouble.push("there is no kubeadm-config".to_owned()),
        Known::Seen(_) => trouble.push("kubeadm-config does not say".to_owned()),
    }
    match &sources.components {
        Known::Unseen => {
            return Answer::Waiting("the control plane's Pods have not been read yet".to_owned());
        }
        Known::Seen(components) => match components.iter().find(|networks| !of(networks).is_empty()) {
            Some(networks) => return found(of(networks).clone(), &networks.origin),
            None => trouble.push("no Pod of the control plane has an argument with it".to_owned()),
        },
        Known::Wrong(reason) => trouble.push(reason.clone()),
        Known::Absent => trouble.push("the control plane has no Pods".to_owned()),
    }
    if given.is_empty() {
        return Answer::Unknown(format!("{}; it can be given in spec.{field}", trouble.join("; ")));
    }
    found(given.to_vec(), format!("spec.{field}"))
}

fn calico_pods(sources: &Sources) -> Answer {
    let pools = match &sources.calico {
        Known::Unseen => return Answer::Waiting("Calico's IPPools have not been read yet".to_owned()),
        Known::Absent => return Answer::Unknown("the cluster has no IPPools: is Calico installed?".to_owned()),
        Known::Wrong(reason) => return Answer::Unknown(reason.clone()),
        Known::Seen(pools) => pools,
    };
    let used = match &sources.calico_used {
        Known::Unseen if pools.iter().any(|pool| pool.disabled && pool.for_pods) => {
            return Answer::Waiting("which disabled IPPools still have addresses out is not known yet".to_owned());
        }
        Known::Wrong(reason) => return Answer::Unknown(reason.clone()),
        Known::Seen(used) => used.as_slice(),
        Known::Unseen | Known::Absent => &[],
    };
    let counted: Vec<&CalicoPool> = pools.iter().filter(|pool| pool.counts(used)).collect();
    if counted.is_empty() {
        return Answer::Unknown("no IPPool of Calico gives addresses to Pods".to_owned());
    }
    let names: Vec<&str> = counted.iter().map(|pool| pool.name.as_str()).collect();
    let origin = format!("Calico's IPPools: {}", names.join(", "));
    found(counted.iter().map(|pool| pool.cidr).collect(), origin)
}

fn cilium_pods(sources: &Sources, given: &[IpNet]) -> Answer {
    match &sources.cilium {
        Known::Unseen => Answer::Waiting("cilium-config has not been read yet".to_owned()),
        Known::Absent => Answer::Unknown("there is no cilium-config: is Cilium installed?".to_owned()),
        Known::Wrong(reason) => Answer::Unknown(reason.clone()),
        Known::Seen(CiliumIpam::Kubernetes) => {
            control_plane(sources, given, "overlayPodCIDR", |networks| &networks.pods)
        }
        Known::Seen(CiliumIpam::ClusterPool(prefixes)) if prefixes.is_empty() => {
            Answer::Unknown("cilium-config names no prefix of the cluster's pool".to_owned())
        }
        Known::Seen(CiliumIpam::ClusterPool(prefixes)) => {
            found(prefixes.clone(), "ConfigMap cilium-config, the cluster's pool")
        }
        Known::Seen(CiliumIpam::MultiPool) => match &sources.cilium_pools {
            Known::Unseen => Answer::Waiting("Cilium's CiliumPodIPPools have not been read yet".to_owned()),
            Known::Wrong(reason) => Answer::Unknown(reason.clone()),
            Known::Seen(prefixes) if !prefixes.is_empty() => found(prefixes.clone(), "Cilium's CiliumPodIPPools"),
            Known::Absent | Known::Seen(_) => Answer::Unknown("there are no CiliumPodIPPools with prefixes".to_owned()),
        },
        Known::Seen(CiliumIpam::Other(mode)) if given.is_empty() => Answer::Unknown(format!(
            "Cilium's mode {mode} does not say its prefixes; they can be given in spec.overlayPodCIDR"
        )),
        Known::Seen(CiliumIpam::Other(_)) => found(given.to_vec(), "spec.overlayPodCIDR"),
    }
}

#[cfg(test)]
mod tests;
