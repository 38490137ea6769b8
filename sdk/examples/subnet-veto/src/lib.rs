//! subnet-veto: a namespace may use its own subnets and no others.
//!
//! IPAM gives what it was configured to give; this is the check behind it. It proposes nothing and needs no grant.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use coordinator_sdk::{Decision, Facts, LogLevel, Refusal, Stage, log};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

/// What a pipeline says.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Subnets, each with the namespaces whose Pods may have addresses in it. `*` at the end of a namespace stands for
    /// any end. A subnet that is not listed is open to all.
    #[schemars(with = "BTreeMap<String, Vec<String>>")]
    pub subnets: BTreeMap<IpNet, Vec<String>>,
}

/// The stage.
#[derive(Debug, Clone, Copy)]
pub struct SubnetVeto;

impl Stage for SubnetVeto {
    type Options = Options;

    fn decide(facts: &Facts, options: &Options) -> Result<Decision, Refusal> {
        let namespace = facts.request.pod_namespace.as_str();
        for address in facts.attached_addresses() {
            let ip = address.ip();
            // The narrowest subnet has the say.
            let subnets = options.subnets.iter().filter(|(subnet, _)| subnet.contains(&ip));
            let Some((subnet, allowed)) = subnets.max_by_key(|(subnet, _)| subnet.prefix_len()) else { continue };
            if !allowed.iter().any(|pattern| fits(pattern, namespace)) {
                return Err(Refusal::new(format!("namespace {namespace:?} may not use {ip} of subnet {subnet}"))
                    .hint(format!("the subnet is for {}", allowed.join(", "))));
            }
            log(LogLevel::Debug, &format!("{namespace} may use {ip} of {subnet}"));
        }
        Ok(Decision::default())
    }
}

fn fits(pattern: &str, namespace: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => namespace.starts_with(beginning),
        None => pattern == namespace,
    }
}

coordinator_sdk::export_stage!(SubnetVeto);

#[cfg(test)]
mod tests {
    use coordinator_sdk::testing::{Scenario, plan, refusal};

    use super::*;

    const WITH: &str =
        r#"{"subnets": {"10.6.0.0/16": ["gold", "ops-*"], "10.6.2.0/24": ["silver"], "fd00:10:6::/64": ["gold"]}}"#;

    fn facts(namespace: &str, address: &str) -> Facts {
        Scenario::underlay("eth0", &[address]).of_pod(namespace, "web-0").facts()
    }

    #[test]
    fn a_namespace_may_use_its_own_subnets() {
        for (namespace, address) in [
            ("gold", "10.6.1.7/16"),
            ("ops-eu", "10.6.1.7/16"),
            ("silver", "10.6.2.7/16"),
            ("gold", "fd00:10:6::7/64"),
            ("anyone", "10.7.0.7/16"),
        ] {
            assert!(plan::<SubnetVeto>(&facts(namespace, address), WITH).unwrap().plan.edits.is_empty());
        }
    }

    #[test]
    fn and_no_others() {
        for (namespace, address) in
            [("silver", "10.6.1.7/16"), ("gold", "10.6.2.7/16"), ("ops", "10.6.1.7/16"), ("silver", "fd00:10:6::7/64")]
        {
            let refusal = refusal::<SubnetVeto>(&facts(namespace, address), WITH);
            assert!(refusal.reason.contains(namespace) && refusal.hint.is_some(), "{refusal:?}");
        }
    }
}
