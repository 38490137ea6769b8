//! The snapshot that every stage decides on.

use std::{collections::BTreeMap, net::IpAddr};

use litemap::LiteMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Address, ContainerId, Device, Family, Finding, InterfaceName, Json, Link, Model, Probe, Settings, Side};

/// How the attachment is served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Not decided yet.
    #[default]
    Auto,
    /// The Pod's interfaces are macvlan, IPvlan, SR-IOV …: a veth pair leads to the node.
    Underlay,
    /// The first interface comes from an overlay CNI and leads to the node.
    Overlay,
    /// Nothing is done.
    Disable,
}

/// What the runtime asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Request {
    /// `CNI_CONTAINERID`.
    pub container: ContainerId,
    /// `CNI_IFNAME`: the interface that the call is about.
    pub interface: InterfaceName,
    /// The network's name in the configuration.
    pub network: String,
    /// `K8S_POD_NAMESPACE`, or empty.
    pub pod_namespace: String,
    /// `K8S_POD_NAME`, or empty.
    pub pod_name: String,
    /// `K8S_POD_UID`, or empty.
    pub pod_uid: String,
    /// The node's name, or empty.
    pub node: String,
    /// The CNI `runtimeConfig`, `args`, and keys of the configuration that are not ours.
    pub config: Json,
    /// Pod annotations and labels that the pipeline asked for.
    #[serde(serialize_with = "crate::as_object")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub metadata: LiteMap<String, String>,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            container: ContainerId::unknown(),
            interface: InterfaceName::first(),
            network: String::new(),
            pod_namespace: String::new(),
            pod_name: String::new(),
            pod_uid: String::new(),
            node: String::new(),
            config: Json::default(),
            metadata: LiteMap::new(),
        }
    }
}

impl Request {
    /// The ifalias of links that belong to this attachment's container.
    pub fn alias(&self) -> String {
        format!("coordinator:{}/{}", self.container.prefix(64), self.interface)
    }
}

/// Another attachment of the same container that this plugin served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OtherAttachment {
    /// Its interface.
    pub interface: InterfaceName,
    /// Its network.
    pub network: String,
    /// Its routing table in the Pod, when it has one.
    pub table: Option<u32>,
}

/// An address of this attachment that another live attachment of the node holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Claim {
    /// The address.
    #[schemars(with = "String")]
    pub ip: IpAddr,
    /// Who holds it.
    pub container: ContainerId,
}

/// What a stage sees: an immutable snapshot, with what earlier stages proposed already in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Facts {
    /// The call.
    pub request: Request,
    /// The settings.
    pub settings: Settings,
    /// The container's other attachments.
    pub others: Vec<OtherAttachment>,
    /// Addresses of this attachment that others hold.
    pub claims: Vec<Claim>,
    /// Routers through which the node sends; none of them can be a Pod's address.
    #[schemars(with = "Vec<String>")]
    pub node_next_hops: Vec<IpAddr>,
    /// Both namespaces as they are, or will be after the stages before this one.
    pub model: Model,
    /// What the wire will be asked, or was asked.
    pub probes: Vec<Probe>,
    /// What it answered; absent before the probe phase.
    pub findings: Option<Vec<Finding>>,
    /// Room to grow: name and value.
    #[serde(serialize_with = "crate::as_object")]
    #[schemars(with = "BTreeMap<String, Json>")]
    pub extra: LiteMap<String, Json>,
}

impl Facts {
    /// The mode, `Auto` before a stage decided it.
    pub fn mode(&self) -> Mode {
        self.settings.mode
    }

    /// The attached interface as a device.
    pub fn attached(&self) -> Device {
        Device::pod(self.request.interface.as_str())
    }

    /// The attached interface, when it exists.
    pub fn attached_link(&self) -> Option<&Link> {
        self.model.link(&self.attached())
    }

    /// Addresses that others can use, of the attached interface, IPv4 first, in the kernel's order.
    pub fn attached_addresses(&self) -> Vec<&Address> {
        let device = self.attached();
        let mut found = Vec::new();
        // Not by sorting, which is three kilobytes in every guest.
        for family in Family::ALL {
            let is_meant = |a: &&Address| a.device == device && a.is_global() && Family::of(a.ip()) == family;
            found.extend(self.model.addresses.iter().filter(is_meant));
        }
        found
    }

    /// The families of [`Facts::attached_addresses`].
    pub fn families(&self) -> Vec<Family> {
        let addresses = self.attached_addresses();
        Family::ALL.into_iter().filter(|f| addresses.iter().any(|a| Family::of(a.ip()) == *f)).collect()
    }

    /// Every address of the Pod that others can use.
    pub fn pod_addresses(&self) -> impl Iterator<Item = &Address> {
        self.model.addresses.iter().filter(|a| a.device.side == Side::Pod && a.is_global())
    }
}
