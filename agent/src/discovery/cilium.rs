//! Cilium's address management: which of its modes is on, and the prefixes that mode uses.

use ipnet::IpNet;
use serde_json::Value;

use super::prefixes::{prefix, prefixes_in, sorted};

/// What the ConfigMap `cilium-config` says of addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CiliumIpam {
    /// The operator cuts the nodes' prefixes out of these.
    ClusterPool(Vec<IpNet>),
    /// Prefixes are in CiliumPodIPPools.
    MultiPool,
    /// The nodes' prefixes are Kubernetes' own: those of the control plane.
    Kubernetes,
    /// Another mode (a cloud's): its prefixes are not in the cluster's API.
    Other(String),
}

impl CiliumIpam {
    /// What the ConfigMap's `data` says. Without a mode, it is Cilium's default, the cluster's pool.
    ///
    /// # Errors
    /// What cannot be understood, in words.
    pub fn parse(data: &Value) -> Result<Self, String> {
        let text = |key: &str| data.get(key).and_then(Value::as_str).unwrap_or_default().trim();
        match text("ipam") {
            "" | "cluster-pool" | "cluster-pool-v2beta" => {
                let mut prefixes = Vec::new();
                for key in ["cluster-pool-ipv4-cidr", "cluster-pool-ipv6-cidr"] {
                    prefixes.extend(prefixes_in(text(key)).map_err(|error| format!("cilium-config, {key}: {error}"))?);
                }
                Ok(Self::ClusterPool(sorted(prefixes)))
            }
            "multi-pool" => Ok(Self::MultiPool),
            "kubernetes" => Ok(Self::Kubernetes),
            other => Ok(Self::Other(other.to_owned())),
        }
    }
}

/// The prefixes of a CiliumPodIPPool's `spec`, both families.
///
/// # Errors
/// What cannot be understood, in words.
pub fn pool_prefixes(name: &str, spec: &Value) -> Result<Vec<IpNet>, String> {
    let mut prefixes = Vec::new();
    for family in ["ipv4", "ipv6"] {
        let entries = spec.get(family).and_then(|family| family.get("cidrs")).and_then(Value::as_array);
        for entry in entries.into_iter().flatten() {
            let text = entry.as_str().unwrap_or_default();
            prefixes.push(prefix(text).map_err(|error| format!("CiliumPodIPPool {name}, {family}: {error}"))?);
        }
    }
    Ok(sorted(prefixes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_mode_is_told_apart() {
        let pool = json!({"ipam": "cluster-pool", "cluster-pool-ipv4-cidr": "10.0.0.0/8 172.30.0.0/16",
                          "cluster-pool-ipv6-cidr": "fd00::/104"});
        let CiliumIpam::ClusterPool(prefixes) = CiliumIpam::parse(&pool).unwrap() else { panic!("{pool}") };
        assert_eq!(prefixes.len(), 3);
        for (mode, expected) in [
            ("multi-pool", CiliumIpam::MultiPool),
            ("kubernetes", CiliumIpam::Kubernetes),
            ("eni", CiliumIpam::Other("eni".to_owned())),
        ] {
            assert_eq!(CiliumIpam::parse(&json!({"ipam": mode})).unwrap(), expected);
        }
        let error = CiliumIpam::parse(&json!({"cluster-pool-ipv4-cidr": "10"})).unwrap_err();
        assert_eq!(error, "cilium-config, cluster-pool-ipv4-cidr: \"10\" is not a prefix");
    }

    #[test]
    fn a_pool_has_prefixes_of_both_families() {
        let spec = json!({"ipv4": {"cidrs": ["10.20.0.0/16", "10.10.0.0/16"], "maskSize": 27}, "ipv6": {"cidrs": ["fd00::/48"]}});
        let shown: Vec<String> = pool_prefixes("p", &spec).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.10.0.0/16", "10.20.0.0/16", "fd00::/48"]);
        assert!(pool_prefixes("p", &json!({})).unwrap().is_empty());
        assert!(
            pool_prefixes("p", &json!({"ipv4": {"cidrs": [7]}})).unwrap_err().starts_with("CiliumPodIPPool p, ipv4: ")
        );
    }
}
