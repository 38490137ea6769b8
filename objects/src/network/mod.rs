//! SpiderMultusConfig: a network as people write it, and the NetworkAttachmentDefinition that follows from it.
//!
//! Pure: the field names are Spiderpool's, so what runs there runs here. Wrong configurations are told with every
//! problem at once, in the words that the CRD's own rules use.

mod plugin;
mod render;

use serde::Deserialize;
use serde_json::{Map, Value};

pub use render::{Attachment, RenderError, render};

/// The annotation with the name of the NetworkAttachmentDefinition, where it is not the object's own.
pub const CR_NAME: &str = "multus.spidernet.io/cr-name";
/// The annotation with the CNI version of the configuration.
pub const CNI_VERSION: &str = "multus.spidernet.io/cni-version";
/// The annotation with the network's name in the configuration, where it is not the object's.
pub const CONFIGURATION_NAME: &str = "cni.spidernet.io/cniconfig-name";

/// The spec.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkSpec {
    /// Which plugin makes the interface; absent is `custom`.
    pub cni_type: Option<String>,
    /// `macvlan`.
    pub macvlan: Option<Sub>,
    /// `ipvlan`.
    pub ipvlan: Option<Sub>,
    /// `vlan`.
    pub vlan: Option<Sub>,
    /// `sriov`.
    pub sriov: Option<Sriov>,
    /// `ib-sriov`.
    pub ibsriov: Option<IbSriov>,
    /// `ipoib`.
    pub ipoib: Option<Ipoib>,
    /// `ovs`.
    pub ovs: Option<Ovs>,
    /// `custom`: the configuration itself, JSON.
    #[serde(rename = "customCNI")]
    pub custom_cni: Option<String>,
    /// Whether our plugin is in the chain; absent is yes.
    pub enable_coordinator: Option<bool>,
    /// Whether Spiderpool's address management is left out; absent is no.
    #[serde(rename = "disableIPAM")]
    pub disable_ipam: Option<bool>,
    /// Newer than `disableIPAM`, and stronger.
    pub ipam: Option<Ipam>,
    /// Our plugin's settings.
    pub coordinator: Option<Map<String, Value>>,
    /// More plugins, each a JSON object, at the end of the chain.
    #[serde(rename = "chainCNIJsonData")]
    pub chain_cni_json_data: Option<Vec<String>>,
}

/// `ipam`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ipam {
    /// Whether Spiderpool's plugin gives the addresses.
    pub enabled: Option<bool>,
}

/// `macvlan`, `ipvlan` and `vlan`: an interface on top of one or more of the node's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sub {
    /// The node's interfaces; several are bonded.
    pub master: Vec<String>,
    /// The VLAN, 0 to 4094; 0 is none.
    #[serde(rename = "vlanID")]
    pub vlan_id: Option<u16>,
    /// The bond that several interfaces become.
    pub bond: Option<Bond>,
    /// Bytes.
    pub mtu: Option<u32>,
    /// The addresses' pools.
    pub ippools: Option<Pools>,
}

/// `bond`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Bond {
    /// Its name.
    pub name: String,
    /// Its mode, 0 to 6.
    pub mode: u8,
    /// More options, as the bonding driver writes them.
    pub options: Option<String>,
}

/// `ippools`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pools {
    /// Names of IPv4 pools.
    pub ipv4: Vec<String>,
    /// Names of IPv6 pools.
    pub ipv6: Vec<String>,
    /// Whether pools must be of the master's subnet.
    pub match_master_subnet: Option<bool>,
}

/// `sriov`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sriov {
    /// The device plugin's resource.
    pub resource_name: String,
    /// The VLAN, 0 to 4094.
    #[serde(rename = "vlanID")]
    pub vlan_id: Option<u16>,
    /// Megabits a second.
    pub min_tx_rate_mbps: Option<u32>,
    /// Megabits a second.
    pub max_tx_rate_mbps: Option<u32>,
    /// Whether the RDMA device moves along.
    pub rdma_isolation: Option<bool>,
    /// The older name of `rdmaIsolation`.
    pub enable_rdma: Option<bool>,
    /// Bytes.
    pub mtu: Option<u32>,
    /// The addresses' pools.
    pub ippools: Option<Pools>,
}

/// `ibsriov`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IbSriov {
    /// The device plugin's resource.
    pub resource_name: String,
    /// InfiniBand's partition key.
    pub pkey: Option<String>,
    /// `auto`, `enable` or `disable`.
    pub link_state: Option<String>,
    /// Whether the RDMA device moves along.
    pub rdma_isolation: Option<bool>,
    /// Whether ib-kubernetes takes part.
    pub enable_ib_kubernetes: Option<bool>,
    /// The older name of `enableIbKubernetes`.
    pub ib_kubernetes_enabled: Option<bool>,
    /// The addresses' pools.
    pub ippools: Option<Pools>,
}

/// `ipoib`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ipoib {
    /// The node's interface.
    pub master: String,
    /// The addresses' pools.
    pub ippools: Option<Pools>,
}

/// `ovs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ovs {
    /// The bridge.
    pub bridge: String,
    /// The VLAN of an access port.
    pub vlan: Option<u16>,
    /// The VLANs of a trunk.
    pub trunk: Vec<Trunk>,
    /// The PCI address of a virtual function that is offloaded.
    #[serde(rename = "deviceID")]
    pub device_id: String,
    /// The addresses' pools.
    pub ippools: Option<Pools>,
}

/// An entry of `trunk`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(default)]
pub struct Trunk {
    /// The first VLAN.
    #[serde(rename = "minID", skip_serializing_if = "Option::is_none")]
    pub min: Option<u16>,
    /// The last VLAN.
    #[serde(rename = "maxID", skip_serializing_if = "Option::is_none")]
    pub max: Option<u16>,
    /// The only VLAN.
    #[serde(rename = "id", skip_serializing_if = "Option::is_none")]
    pub id: Option<u16>,
}

#[cfg(test)]
mod tests;
