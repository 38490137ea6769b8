//! The plugin that makes the interface: from a section of the spec to its entry in the chain.

use serde_json::{Map, Value, json};

use super::{Bond, IbSriov, Ipoib, NetworkSpec, Ovs, Pools, Sriov, Sub};

/// The device plugin's resource that Multus asks for.
const RESOURCE: &str = "k8s.v1.cni.cncf.io/resourceName";

/// The plugins of the chain before ours, and what the object must say besides.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Chain {
    /// In their order.
    pub(super) plugins: Vec<Value>,
    /// Annotations of the NetworkAttachmentDefinition.
    pub(super) annotations: Vec<(String, String)>,
}

/// Says a problem that stands in the way, in `problems`.
type Problems = Vec<String>;

/// The chain of a plugin type; nothing when the spec is wrong.
pub(super) fn chain(kind: &str, spec: &NetworkSpec, has_ipam: bool, problems: &mut Problems) -> Option<Chain> {
    match kind {
        "macvlan" => sub("macvlan", spec.macvlan.as_ref(), has_ipam, problems),
        "ipvlan" => sub("ipvlan", spec.ipvlan.as_ref(), has_ipam, problems),
        "vlan" => sub("vlan", spec.vlan.as_ref(), has_ipam, problems),
        "sriov" => sriov(section("sriov", spec.sriov.as_ref(), problems)?, has_ipam, problems),
        "ib-sriov" => ib_sriov(section("ibsriov", spec.ibsriov.as_ref(), problems)?, has_ipam, problems),
        "ipoib" => ipoib(section("ipoib", spec.ipoib.as_ref(), problems)?, has_ipam, problems),
        "ovs" => ovs(section("ovs", spec.ovs.as_ref(), problems)?, has_ipam, problems),
        other => {
            let known = "macvlan, ipvlan, vlan, sriov, ib-sriov, ipoib, ovs or custom";
            problems.push(format!("cniType = {other:?}: expected {known}"));
            None
        }
    }
}

fn section<'s, T>(name: &str, section: Option<&'s T>, problems: &mut Problems) -> Option<&'s T> {
    if section.is_none() {
        problems.push(format!("{name} is missing: cniType asks for it"));
    }
    section
}

fn required(name: &str, value: &str, problems: &mut Problems) {
    if value.trim().is_empty() {
        problems.push(format!("{name} is empty"));
    }
}

/// `macvlan`, `ipvlan` and `vlan`; several masters, or a VLAN below macvlan or IPvlan, are ifacer's work.
fn sub(kind: &str, spec: Option<&Sub>, has_ipam: bool, problems: &mut Problems) -> Option<Chain> {
    let spec = section(kind, spec, problems)?;
    let known = problems.len();
    let vlan = spec.vlan_id.unwrap_or_default();
    if vlan > 4094 {
        problems.push(format!("{kind}.vlanID = {vlan}: expected 0 to 4094"));
    }
    if kind == "vlan" && vlan == 0 {
        problems.push("vlan.vlanID is missing: cniType vlan needs one from 1 to 4094".to_owned());
    }
    if spec.master.is_empty() || spec.master.iter().any(String::is_empty) {
        problems.push(format!("{kind}.master needs at least one interface, and no empty name"));
    }
    match &spec.bond {
        Some(bond) => {
            required(&format!("{kind}.bond.name"), &bond.name, problems);
            if bond.mode > 6 {
                problems.push(format!("{kind}.bond.mode = {}: expected 0 to 6", bond.mode));
            }
        }
        None if spec.master.len() > 1 => {
            problems.push(format!("{kind}.bond is missing: several masters become one bond"));
        }
        None => {}
    }
    if problems.len() > known {
        return None;
    }
    let below = parent(spec, if kind == "vlan" { 0 } else { vlan });
    let mut entry = object(json!({"type": kind, "master": below}));
    match kind {
        "macvlan" => _ = entry.insert("mode".to_owned(), json!("bridge")),
        "vlan" => _ = entry.insert("vlanId".to_owned(), json!(vlan)),
        _ => {}
    }
    if let Some(mtu) = spec.mtu.filter(|mtu| *mtu > 0) {
        entry.insert("mtu".to_owned(), json!(mtu));
    }
    with_ipam(&mut entry, spec.ippools.as_ref(), has_ipam);
    let mut plugins = ifacer(spec, if kind == "vlan" { 0 } else { vlan });
    plugins.push(Value::Object(entry));
    Some(Chain { plugins, annotations: Vec::new() })
}

/// The interface that macvlan or IPvlan sits on, by the name that ifacer gives it.
fn parent(spec: &Sub, vlan: u16) -> String {
    let base = match (&spec.bond, spec.master.as_slice()) {
        (Some(Bond { name, .. }), [_, _, ..]) => name.clone(),
        (_, masters) => masters.first().cloned().unwrap_or_default(),
    };
    if vlan == 0 { base } else { format!("{base}.{vlan}") }
}

fn ifacer(spec: &Sub, vlan: u16) -> Vec<Value> {
    let bonds = spec.master.len() > 1;
    if vlan == 0 && !bonds {
        return Vec::new();
    }
    let mut entry = object(json!({"type": "ifacer", "interfaces": spec.master}));
    if vlan > 0 {
        entry.insert("vlanID".to_owned(), json!(vlan));
    }
    if let Some(bond) = spec.bond.as_ref().filter(|_| bonds) {
        let mut fields = object(json!({"name": bond.name, "mode": bond.mode}));
        if let Some(options) = bond.options.as_ref().filter(|options| !options.is_empty()) {
            fields.insert("options".to_owned(), json!(options));
        }
        entry.insert("bond".to_owned(), Value::Object(fields));
    }
    vec![Value::Object(entry)]
}

fn sriov(spec: &Sriov, has_ipam: bool, problems: &mut Problems) -> Option<Chain> {
    let known = problems.len();
    required("sriov.resourceName", &spec.resource_name, problems);
    let vlan = spec.vlan_id.unwrap_or_default();
    if vlan > 4094 {
        problems.push(format!("sriov.vlanID = {vlan}: expected 0 to 4094"));
    }
    if let (Some(least), Some(most)) = (spec.min_tx_rate_mbps, spec.max_tx_rate_mbps)
        && most > 0
        && least > most
    {
        problems.push(format!(
            "sriov.minTxRateMbps = {least} and sriov.maxTxRateMbps = {most}: minTxRateMbps is above maxTxRateMbps"
        ));
    }
    if problems.len() > known {
        return None;
    }
    let mut entry = object(json!({"type": "sriov"}));
    let numbers = [
        ("vlan", spec.vlan_id.map(u32::from)),
        ("min_tx_rate", spec.min_tx_rate_mbps),
        ("max_tx_rate", spec.max_tx_rate_mbps),
    ];
    for (name, value) in numbers {
        if let Some(value) = value {
            entry.insert(name.to_owned(), json!(value));
        }
    }
    with_ipam(&mut entry, spec.ippools.as_ref(), has_ipam);
    let mut plugins = vec![Value::Object(entry)];
    if spec.rdma_isolation.or(spec.enable_rdma).unwrap_or_default() {
        plugins.push(json!({"type": "rdma"}));
    }
    if let Some(mtu) = spec.mtu.filter(|mtu| *mtu > 0) {
        plugins.push(json!({"type": "tuning", "mtu": mtu}));
    }
    Some(Chain { plugins, annotations: vec![(RESOURCE.to_owned(), spec.resource_name.clone())] })
}

fn ib_sriov(spec: &IbSriov, has_ipam: bool, problems: &mut Problems) -> Option<Chain> {
    let known = problems.len();
    required("ibsriov.resourceName", &spec.resource_name, problems);
    let link_state = spec.link_state.as_deref().filter(|state| !state.is_empty()).unwrap_or("enable");
    if !["auto", "enable", "disable"].contains(&link_state) {
        problems.push(format!("ibsriov.linkState = {link_state:?}: expected auto, enable or disable"));
    }
    if problems.len() > known {
        return None;
    }
    let mut entry = object(json!({
        "type": "ib-sriov",
        "link_state": link_state,
        "rdmaIsolation": spec.rdma_isolation.unwrap_or(true),
        "ibKubernetesEnabled": spec.enable_ib_kubernetes.or(spec.ib_kubernetes_enabled).unwrap_or_default(),
    }));
    if let Some(pkey) = spec.pkey.as_ref().filter(|pkey| !pkey.is_empty()) {
        entry.insert("pkey".to_owned(), json!(pkey));
    }
    with_ipam(&mut entry, spec.ippools.as_ref(), has_ipam);
    let annotations = vec![(RESOURCE.to_owned(), spec.resource_name.clone())];
    Some(Chain { plugins: vec![Value::Object(entry)], annotations })
}

fn ipoib(spec: &Ipoib, has_ipam: bool, problems: &mut Problems) -> Option<Chain> {
    let known = problems.len();
    required("ipoib.master", &spec.master, problems);
    if problems.len() > known {
        return None;
    }
    let mut entry = object(json!({"type": "ipoib", "master": spec.master}));
    with_ipam(&mut entry, spec.ippools.as_ref(), has_ipam);
    Some(Chain { plugins: vec![Value::Object(entry)], annotations: Vec::new() })
}

fn ovs(spec: &Ovs, has_ipam: bool, problems: &mut Problems) -> Option<Chain> {
    let known = problems.len();
    required("ovs.bridge", &spec.bridge, problems);
    let numbers = spec.trunk.iter().flat_map(|trunk| [trunk.min, trunk.max, trunk.id]).chain([spec.vlan]);
    if let Some(wrong) = numbers.flatten().find(|number| *number > 4094) {
        problems.push(format!("ovs names the VLAN {wrong}: expected 0 to 4094"));
    }
    if problems.len() > known {
        return None;
    }
    let mut entry = object(json!({"type": "ovs", "bridge": spec.bridge}));
    if let Some(vlan) = spec.vlan {
        entry.insert("vlan".to_owned(), json!(vlan));
    }
    if !spec.trunk.is_empty() {
        entry.insert("trunk".to_owned(), json!(spec.trunk));
    }
    let mut annotations = Vec::new();
    if !spec.device_id.is_empty() {
        entry.insert("deviceID".to_owned(), json!(spec.device_id));
        annotations.push((RESOURCE.to_owned(), format!("ovs-cni.network.kubevirt.io/{}", spec.bridge)));
    }
    with_ipam(&mut entry, spec.ippools.as_ref(), has_ipam);
    Some(Chain { plugins: vec![Value::Object(entry)], annotations })
}

/// Spiderpool's address management, with the network's own pools where it has some.
fn with_ipam(entry: &mut Map<String, Value>, pools: Option<&Pools>, has_ipam: bool) {
    if !has_ipam {
        return;
    }
    let mut ipam = object(json!({"type": "spiderpool"}));
    if let Some(pools) = pools {
        for (name, list) in [("default_ipv4_ippool", &pools.ipv4), ("default_ipv6_ippool", &pools.ipv6)] {
            if !list.is_empty() {
                ipam.insert(name.to_owned(), json!(list));
            }
        }
        if let Some(matches) = pools.match_master_subnet {
            ipam.insert("match_master_subnet".to_owned(), json!(matches));
        }
    }
    entry.insert("ipam".to_owned(), Value::Object(ipam));
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
