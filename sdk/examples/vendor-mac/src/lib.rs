//! vendor-mac: hardware addresses by a vendor's scheme, so that a switch knows tenant and Pod by sight.
//!
//! The first three octets are the vendor's. The fourth tells the namespace, by a table in the pipeline, and the last two
//! come from the interface's IPv4 address.

#![forbid(unsafe_code)]

use std::{collections::BTreeMap, net::IpAddr};

use coordinator_sdk::{Change, Decision, Facts, LinkEdit, Mac, Refusal, Stage};
use schemars::JsonSchema;
use serde::Deserialize;

/// What a pipeline says.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The vendor's three octets.
    pub oui: [u8; 3],
    /// The fourth octet for each namespace.
    pub tenants: BTreeMap<String, u8>,
    /// The fourth octet for namespaces that are not listed; without it their Pods are refused.
    pub others: Option<u8>,
}

/// The stage.
#[derive(Debug, Clone, Copy)]
pub struct VendorMac;

impl Stage for VendorMac {
    type Options = Options;

    fn decide(facts: &Facts, options: &Options) -> Result<Decision, Refusal> {
        let namespace = facts.request.pod_namespace.as_str();
        let Some(link) = facts.attached_link() else { return Ok(Decision::default()) };
        if link.kind == "ipvlan" {
            return Err(Refusal::new(format!("{} is an ipvlan interface and has its parent's MAC", link.device.name))
                .hint("use the scheme for macvlan and SR-IOV networks only: when = { network = \"…\" }"));
        }
        let Some(tenant) = options.tenants.get(namespace).copied().or(options.others) else {
            return Err(Refusal::new(format!("namespace {namespace:?} has no octet in the MAC scheme"))
                .hint("add it to tenants in the pipeline, or set others"));
        };
        let v4 = facts.attached_addresses().into_iter().find_map(|address| match address.ip() {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        });
        let Some(ip) = v4 else {
            return Err(Refusal::new(format!("{} has no IPv4 address to make a MAC of", link.device.name)));
        };
        let ([a, b, c], [_, _, e, f]) = (options.oui, ip.octets());
        let mac = Mac([a, b, c, tenant, e, f]);
        if !mac.is_unicast() {
            return Err(
                Refusal::new(format!("{mac} is a multicast address")).hint("the first octet of oui must be even")
            );
        }
        let edit = LinkEdit { mac: Some(mac), ..LinkEdit::of(link.device.clone()) };
        Ok(Decision::default()
            .propose(Change::SetLink(edit), format!("{namespace} is tenant {tenant}, and {ip} is its Pod")))
    }
}

coordinator_sdk::export_stage!(VendorMac, needs: ["pod.link"]);

#[cfg(test)]
mod tests {
    use coordinator_sdk::testing::{NoPlan, Scenario, plan, refusal};

    use super::*;

    const WITH: &str = r#"{"oui": [2, 66, 16], "tenants": {"gold": 7}}"#;

    fn pod(namespace: &str) -> Scenario {
        Scenario::underlay("eth0", &["fd00::7/64", "10.6.2.20/16"]).of_pod(namespace, "web-0")
    }

    #[test]
    fn vendor_tenant_and_pod_stand_in_the_address() {
        plan::<VendorMac>(&pod("gold").facts(), WITH).unwrap().has("02:42:10:07:02:14");
    }

    #[test]
    fn an_unknown_tenant_is_refused_or_gets_the_common_octet() {
        assert!(refusal::<VendorMac>(&pod("lead").facts(), WITH).reason.contains("\"lead\""));
        let with = r#"{"oui": [2, 66, 16], "tenants": {}, "others": 255}"#;
        plan::<VendorMac>(&pod("lead").facts(), with).unwrap().has("02:42:10:ff:02:14");
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_reason() {
        let ipvlan =
            pod("gold").with(|facts| facts.model.links.iter_mut().for_each(|link| link.kind = "ipvlan".into()));
        assert!(refusal::<VendorMac>(&ipvlan.facts(), WITH).reason.contains("ipvlan"));
        let v6 = Scenario::underlay("eth0", &["fd00::7/64"]).of_pod("gold", "web-0");
        assert!(refusal::<VendorMac>(&v6.facts(), WITH).reason.contains("no IPv4"));
        let odd = r#"{"oui": [3, 66, 16], "tenants": {"gold": 7}}"#;
        assert!(refusal::<VendorMac>(&pod("gold").facts(), odd).reason.contains("multicast"));
        assert!(matches!(plan::<VendorMac>(&pod("gold").facts(), r#"{"oui": [2, 66]}"#), Err(NoPlan::Options(_))));
    }
}
