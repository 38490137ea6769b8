//! Kernel parameters of the Pod.

use coordinator_sdk::{Change, Decision, Device, Facts, Family, POD_VETH, Refusal, RpFilter, Side, Stage, Sysctl};

/// An ARP question is answered on the interface that has the address, and asked from an address of its own
/// (`arp_ignore`, `arp_announce`): the kernel would otherwise answer for every address on every interface.
const SHARED_SUBNET: [(&str, &str); 2] = [("arp_ignore", "1"), ("arp_announce", "2")];

/// Sets `podRPFilter` everywhere in the Pod, lets reverse path filtering look at marks, keeps interfaces in one
/// subnet from answering for each other, and switches IPv6 on where it is needed.
#[derive(Debug, Clone, Copy)]
pub struct SysctlsStage;

impl Stage for SysctlsStage {
    type Options = ();

    fn decide(facts: &Facts, _options: &()) -> Result<Decision, Refusal> {
        let mut decision = Decision::default();
        let set = |decision: &mut Decision, key: String, value: &str, why: &str| {
            let sysctl = Sysctl { side: Side::Pod, key, value: value.to_owned() };
            decision.push(Change::SetSysctl(sysctl), why);
        };
        let names: Vec<&str> = facts
            .model
            .links
            .iter()
            .filter(|link| link.device.side == Side::Pod)
            .map(|link| link.device.name.as_str())
            .filter(|name| *name != "lo")
            .collect();
        if let RpFilter::Set(value) = facts.settings.pod_rp_filter {
            // The kernel takes the greater of `all` and the interface's own, so each one is written.
            for scope in ["all", "default"].into_iter().chain(names.iter().copied()) {
                let key = format!("net/ipv4/conf/{scope}/rp_filter");
                set(&mut decision, key, &value.to_string(), "podRPFilter is to be the effective value");
            }
        }
        set(&mut decision, "net/ipv4/conf/all/src_valid_mark".to_owned(), "1", "reverse path filtering respects marks");
        for name in names.iter().filter(|name| facts.model.shares_subnet(&Device::pod(**name))) {
            for (parameter, value) in SHARED_SUBNET {
                let key = format!("net/ipv4/conf/{name}/{parameter}");
                set(&mut decision, key, value, "interfaces in one subnet answer for their own addresses only");
            }
        }
        if facts.families().contains(&Family::Ipv6) {
            let is_there = |name: &&str| facts.model.link(&Device::pod(*name)).is_some();
            for name in [facts.request.interface.as_str(), POD_VETH].into_iter().filter(is_there) {
                let key = format!("net/ipv6/conf/{name}/disable_ipv6");
                set(&mut decision, key, "0", "the Pod has IPv6 addresses");
            }
        }
        Ok(decision)
    }
}
