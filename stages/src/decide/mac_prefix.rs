//! The attached interface's hardware address by policy: `podMACPrefix`.

use coordinator_sdk::{Address, Change, Decision, Facts, LinkEdit, Refusal, Stage};

/// Prefix + the last four bytes of the interface's first address, IPv4 first.
#[derive(Debug, Clone, Copy)]
pub struct MacPrefixStage;

impl Stage for MacPrefixStage {
    type Options = ();

    fn decide(facts: &Facts, _options: &()) -> Result<Decision, Refusal> {
        let decision = Decision::default();
        let Some(prefix) = facts.settings.pod_mac_prefix else { return Ok(decision) };
        let (Some(link), Some(ip)) =
            (facts.attached_link(), facts.attached_addresses().first().map(|a: &&Address| a.ip()))
        else {
            return Ok(decision);
        };
        if link.kind == "ipvlan" {
            return Err(Refusal::new(format!(
                "podMACPrefix {prefix} cannot be applied to {}: an ipvlan interface has its parent's MAC",
                link.device.name
            ))
            .hint("leave podMACPrefix empty for IPvlan networks"));
        }
        let edit = LinkEdit { mac: Some(prefix.join(ip)), ..LinkEdit::of(link.device.clone()) };
        Ok(decision.propose(Change::SetLink(edit), format!("podMACPrefix {prefix} and address {ip} give it")))
    }
}
