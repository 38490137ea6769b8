//! The kinds of objects that are known here, by group, version and plural.

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// The API group; empty for the core.
    pub group: &'static str,
    /// The version.
    pub version: &'static str,
    /// Its name.
    pub kind: &'static str,
    /// The name in paths.
    pub plural: &'static str,
}

impl Kind {
    const fn new(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Self {
        Self { group, version, kind, plural }
    }

    /// SpiderCoordinator.
    pub const COORDINATOR: Self =
        Self::new("spiderpool.spidernet.io", "v2beta1", "SpiderCoordinator", "spidercoordinators");
    /// SpiderMultusConfig.
    pub const NETWORK: Self =
        Self::new("spiderpool.spidernet.io", "v2beta1", "SpiderMultusConfig", "spidermultusconfigs");
    /// NetworkAttachmentDefinition.
    pub const DEFINITION: Self =
        Self::new("k8s.cni.cncf.io", "v1", "NetworkAttachmentDefinition", "network-attachment-definitions");
    /// ServiceCIDR, newest version first: the server has one of them, or none.
    pub const SERVICE_CIDRS: [Self; 3] = [
        Self::new("networking.k8s.io", "v1", "ServiceCIDR", "servicecidrs"),
        Self::new("networking.k8s.io", "v1beta1", "ServiceCIDR", "servicecidrs"),
        Self::new("networking.k8s.io", "v1alpha1", "ServiceCIDR", "servicecidrs"),
    ];
    /// Calico's IPPool, as stored by Calico itself, or by its own API.
    pub const CALICO_POOLS: [Self; 2] = [
        Self::new("crd.projectcalico.org", "v1", "IPPool", "ippools"),
        Self::new("projectcalico.org", "v3", "IPPool", "ippools"),
    ];
    /// Calico's IPAMBlock, likewise.
    pub const CALICO_BLOCKS: [Self; 2] = [
        Self::new("crd.projectcalico.org", "v1", "IPAMBlock", "ipamblocks"),
        Self::new("projectcalico.org", "v3", "IPAMBlock", "ipamblocks"),
    ];
    /// Cilium's CiliumPodIPPool.
    pub const CILIUM_POOLS: [Self; 2] = [
        Self::new("cilium.io", "v2", "CiliumPodIPPool", "ciliumpodippools"),
        Self::new("cilium.io", "v2alpha1", "CiliumPodIPPool", "ciliumpodippools"),
    ];
    /// ConfigMap.
    pub const CONFIG_MAP: Self = Self::new("", "v1", "ConfigMap", "configmaps");
    /// Pod.
    pub const POD: Self = Self::new("", "v1", "Pod", "pods");
    /// Event.
    pub const EVENT: Self = Self::new("", "v1", "Event", "events");
    /// Lease.
    pub const LEASE: Self = Self::new("coordination.k8s.io", "v1", "Lease", "leases");

    /// `group/version`, or the version alone in the core.
    pub fn api_version(self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }
}
