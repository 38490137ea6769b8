//! Calico's pools: which prefixes its Pods have their addresses from.

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;

use super::prefixes::prefix;

/// An IPPool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalicoPool {
    /// Its name.
    pub name: String,
    /// Its prefix.
    pub cidr: IpNet,
    /// True when no new addresses come from it.
    pub disabled: bool,
    /// True when Pods may have addresses from it: others are for tunnels and load balancers.
    pub for_pods: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PoolSpec {
    cidr: String,
    #[serde(default)]
    disabled: bool,
    #[serde(default)]
    allowed_uses: Vec<String>,
}

impl CalicoPool {
    /// The pool that an object's `spec` describes.
    ///
    /// # Errors
    /// What cannot be understood, in words.
    pub fn parse(name: &str, spec: &Value) -> Result<Self, String> {
        let told = |error: String| format!("IPPool {name}: {error}");
        let spec = PoolSpec::deserialize(spec).map_err(|error| told(error.to_string()))?;
        let cidr = prefix(&spec.cidr).map_err(told)?;
        let for_pods = spec.allowed_uses.is_empty() || spec.allowed_uses.iter().any(|used| used == "Workload");
        Ok(Self { name: name.to_owned(), cidr, disabled: spec.disabled, for_pods })
    }

    /// True when the pool's addresses count, `used` telling which disabled pools still have some.
    pub fn counts(&self, used: &[IpNet]) -> bool {
        self.for_pods && (!self.disabled || used.contains(&self.cidr))
    }
}

/// The prefix of an IPAMBlock with at least one address given out; a block without any says nothing.
///
/// `spec.allocations` has an entry for each address of the block: null, or an index into its attributes.
pub fn used_block(spec: &Value) -> Option<IpNet> {
    let block = prefix(spec.get("cidr")?.as_str()?).ok()?;
    spec.get("allocations")?.as_array()?.iter().any(|entry| !entry.is_null()).then_some(block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_disabled_pool_counts_while_it_has_addresses_out() {
        let pool = |spec: Value| CalicoPool::parse("p", &spec).unwrap();
        let open = pool(json!({"cidr": "10.1.0.0/16", "ipipMode": "Always"}));
        let shut = pool(json!({"cidr": "10.2.0.0/16", "disabled": true}));
        let outside = pool(json!({"cidr": "10.3.0.0/16", "allowedUses": ["LoadBalancer"]}));
        assert!(open.counts(&[]) && !shut.counts(&[]) && shut.counts(&[shut.cidr]) && !outside.counts(&[outside.cidr]));
        assert!(pool(json!({"cidr": "10.3.0.0/16", "allowedUses": ["Tunnel", "Workload"]})).counts(&[]));
    }

    #[test]
    fn a_pool_without_a_prefix_is_told() {
        for (spec, expected) in [(json!({}), "missing field `cidr`"), (json!({"cidr": "x"}), "\"x\" is not a prefix")] {
            let error = CalicoPool::parse("broken", &spec).unwrap_err();
            assert!(error.starts_with("IPPool broken: ") && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_block_is_used_when_one_address_is() {
        let block = |allocations: Value| used_block(&json!({"cidr": "10.2.3.64/26", "allocations": allocations}));
        assert_eq!(block(json!([null, 0])).unwrap().to_string(), "10.2.3.64/26");
        assert_eq!(block(json!([null, null])), None);
        assert_eq!(used_block(&json!({"cidr": "10.2.3.64/26"})), None);
    }
}
