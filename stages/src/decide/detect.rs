//! What the wire is asked about an attachment: `detectIPConflict`, `detectGateway`, `detectOptions`.
//!
//! It proposes probes and no more. Who asks them is the probe phase, and what a bad answer leads to is decided
//! after it, so a stage before or after this one can ask otherwise or judge otherwise.

use std::{net::IpAddr, time::Duration};

use coordinator_sdk::{
    Address, Change, Decision, Facts, LinkEdit, OnFinding, Probe, ProbeKind, Refusal, RouteKind, Side, Stage,
};

/// ARP frames in one second at which a switch with dynamic ARP inspection shuts the port, by its default.
const ARP_LIMIT: u64 = 15;

/// Is each address free, does each gateway answer?
#[derive(Debug, Clone, Copy)]
pub struct DetectStage;

impl Stage for DetectStage {
    type Options = ();

    fn decide(facts: &Facts, _options: &()) -> Result<Decision, Refusal> {
        let mut decision = Decision::default();
        let mut wanted: Vec<(ProbeKind, IpAddr)> = Vec::new();
        if facts.settings.detect_ip_conflict {
            wanted.extend(own_addresses(facts).map(|ip| (ProbeKind::Address, ip)));
        }
        if facts.settings.detect_gateway {
            wanted.extend(gateways(facts).into_iter().map(|ip| (ProbeKind::Gateway, ip)));
        }
        let Some(link) = facts.attached_link().filter(|_| !wanted.is_empty()) else { return Ok(decision) };
        if link.flags.noarp || link.mac.is_none() {
            decision.warn(format!("{} has no neighbours that could be asked: nothing is detected", link.device.name));
            return Ok(decision);
        }
        if !link.flags.up {
            let up = LinkEdit { up: Some(true), ..LinkEdit::of(link.device.clone()) };
            decision.push(Change::SetLink(up), "an interface that is down hears nothing");
        }
        let mut probes = facts.probes.clone();
        for (kind, target) in wanted {
            // What an earlier stage asks about the same is its own choice.
            if probes.iter().any(|p| (p.kind, &p.device, p.target) == (kind, &link.device, target)) {
                continue;
            }
            let options = facts.settings.detect_options;
            let probe = Probe {
                kind,
                device: link.device.clone(),
                target,
                retries: options.retries,
                interval_ms: milliseconds(options.interval),
                timeout_ms: milliseconds(options.timeout),
                on_finding: OnFinding::Refuse,
            };
            let why = match kind {
                ProbeKind::Address => "an address that two hosts use works for neither (detectIPConflict)",
                ProbeKind::Gateway => "a Pod without its gateway reaches nobody far away (detectGateway)",
            };
            probes.push(probe.clone());
            decision.push(Change::SetProbe(probe), why);
        }
        let frames = frames_in_a_second(facts, &probes);
        if frames >= ARP_LIMIT {
            decision.warn(format!(
                "up to {frames} ARP frames leave {} within one second, and a switch with dynamic ARP inspection shuts \
                 the port at {ARP_LIMIT}: fewer retries or a longer interval in detectOptions keep below",
                link.device.name
            ));
        }
        Ok(decision)
    }
}

/// The attached interface's addresses, but for those that the kernel makes, and checks, by itself.
fn own_addresses(facts: &Facts) -> impl Iterator<Item = IpAddr> {
    let addresses = facts.attached_addresses().into_iter();
    addresses.filter(|address| address.flags.from_result || !address.flags.dynamic).map(Address::ip)
}

/// The routers of the attached interface's default routes, whatever table these are in.
fn gateways(facts: &Facts) -> Vec<IpAddr> {
    let attached = facts.request.interface.as_str();
    let defaults = facts.model.routes_of(Side::Pod).map(|known| &known.route);
    let defaults = defaults.filter(|route| route.is_default() && route.kind == RouteKind::Unicast);
    let hops = defaults.flat_map(|route| &route.next_hops).filter(|hop| hop.device.as_deref() == Some(attached));
    let mut gateways: Vec<IpAddr> = hops.filter_map(|hop| hop.gateway).collect();
    gateways.sort_unstable();
    gateways.dedup();
    gateways
}

/// The most IPv4 frames that leave within any second: questions, and the announcement of each address.
fn frames_in_a_second(facts: &Facts, probes: &[Probe]) -> u64 {
    let of_probe = |probe: &Probe| {
        let retries = u64::from(probe.retries);
        let asked = 1000_u64.checked_div(u64::from(probe.interval_ms)).map_or(retries, |n| retries.min(n + 1));
        // A gateway that is silent is asked again with the Pod's address, once that is known to be free.
        let is_asked_twice = probe.kind == ProbeKind::Gateway && facts.settings.detect_ip_conflict;
        if is_asked_twice { asked * 2 } else { asked }
    };
    let asked: u64 = probes.iter().filter(|probe| probe.target.is_ipv4()).map(of_probe).sum();
    let told = facts.attached_addresses().iter().filter(|address| address.ip().is_ipv4()).count();
    asked + u64::try_from(told).unwrap_or(u64::MAX)
}

fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros().div_ceil(1000)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use coordinator_sdk::{Device, KnownRoute, Link, Mac, NextHop, Projection, Route};

    use super::*;

    fn facts() -> Facts {
        let mut facts = Facts::default();
        let mut link = Link::named(Device::pod("eth0"));
        link.mac = Some(Mac([2, 0, 0, 0, 0, 1]));
        facts.model.links.push(link);
        for prefix in ["10.6.2.20/16", "fd00::2/64", "fe80::1/64"] {
            let address = Address {
                device: Device::pod("eth0"),
                prefix: prefix.parse().unwrap(),
                gateway: None,
                flags: Default::default(),
            };
            facts.model.addresses.push(address);
        }
        for (id, (device, table, gateway)) in
            [("eth0", 254, "10.6.0.1"), ("eth0", 101, "fe80::9"), ("eth0", 100, "10.6.0.1"), ("veth0", 100, "10.6.1.1")]
                .into_iter()
                .enumerate()
        {
            let to = if gateway.contains(':') { "::/0" } else { "0.0.0.0/0" };
            let mut route = Route::direct(Side::Pod, table, to.parse().unwrap(), device);
            let hop = NextHop { gateway: Some(gateway.parse().unwrap()), ..route.next_hops[0].clone() };
            route.next_hops = vec![hop];
            let id = u32::try_from(id).unwrap();
            facts.model.routes.push(KnownRoute { id, route, protocol: 4, flags: Default::default() });
        }
        facts.settings.detect_ip_conflict = true;
        facts.settings.detect_gateway = true;
        facts
    }

    fn probes(facts: Facts) -> (Vec<Probe>, Vec<String>) {
        let decision = DetectStage::decide(&facts, &()).unwrap();
        let mut projection = Projection::new(facts);
        projection.project("detect", decision).unwrap();
        (projection.facts().probes.clone(), projection.warnings().to_vec())
    }

    #[test]
    fn addresses_and_gateways_of_both_families_are_asked_for_in_any_table() {
        let (probes, warnings) = probes(facts());
        let asked: Vec<_> = probes.iter().map(|probe| (probe.kind, probe.target.to_string())).collect();
        let expected = [
            (ProbeKind::Address, "10.6.2.20"),
            (ProbeKind::Address, "fd00::2"),
            (ProbeKind::Gateway, "10.6.0.1"),
            (ProbeKind::Gateway, "fe80::9"),
        ];
        assert_eq!(asked, expected.map(|(kind, ip)| (kind, ip.to_owned())));
        assert_eq!((probes[0].retries, probes[0].interval_ms, probes[0].timeout_ms), (3, 10, 100));
        assert_eq!(warnings, [""; 0]);
    }

    #[test]
    fn an_earlier_stage_keeps_its_own_question() {
        let mut facts = facts();
        let (asked, _) = probes(facts.clone());
        facts.probes.push(Probe { retries: 7, on_finding: OnFinding::Report, ..asked[0].clone() });
        let (asked, _) = probes(facts);
        assert_eq!((asked.len(), asked[0].retries), (4, 7));
    }

    #[test]
    fn what_a_switch_would_shut_the_port_for_is_warned_about() {
        let mut facts = facts();
        facts.settings.detect_options.retries = 5;
        let (_, warnings) = probes(facts.clone());
        assert!(warnings[0].contains("16 ARP frames"), "{warnings:?}");
        facts.settings.detect_options.interval = Duration::from_millis(500);
        assert_eq!(probes(facts.clone()).1, [""; 0]);
        facts.model.links[0].flags.noarp = true;
        let (asked, warnings) = probes(facts);
        assert!(asked.is_empty() && warnings[0].contains("no neighbours"), "{warnings:?}");
    }

    #[test]
    fn nobody_is_asked_when_nobody_wants_to_know() {
        let mut facts = facts();
        (facts.settings.detect_ip_conflict, facts.settings.detect_gateway) = (false, false);
        assert_eq!(DetectStage::decide(&facts, &()).unwrap(), Decision::default());
    }
}
