//! What goes to a guest: [`Facts`] as the interface's snapshot.

use std::net::IpAddr;

use coordinator_sdk::{
    Address, Claim, Device, Facts, Family, Finding, KnownRoute, KnownRule, Link, Mac, Mode, Model, Neighbour, NextHop,
    OnFinding, OtherAttachment, Outcome, PolicyRoute, Probe, ProbeKind, ReplyMark, Request, Route, RouteKind, RpFilter,
    Settings, Side, Source, Sysctl,
};
use ipnet::IpNet;

use super::super::bindings::coordinator::stage::{facts as to, types as wit};

/// The snapshot of these facts.
pub(in super::super) fn snapshot(facts: &Facts) -> to::Snapshot {
    to::Snapshot {
        request: request(&facts.request),
        settings: settings(&facts.settings),
        others: facts.others.iter().map(other).collect(),
        claims: facts.claims.iter().map(claim).collect(),
        node_next_hops: facts.node_next_hops.iter().copied().map(ip).collect(),
        model: model(&facts.model),
        probes: facts.probes.iter().map(probe).collect(),
        findings: facts.findings.as_ref().map(|findings| findings.iter().map(finding).collect()),
        extra: facts.extra.iter().map(|(name, value)| (name.clone(), value.to_string())).collect(),
    }
}

fn request(request: &Request) -> to::Request {
    to::Request {
        container: request.container.to_string(),
        interface: request.interface.to_string(),
        network: request.network.clone(),
        pod_namespace: request.pod_namespace.clone(),
        pod_name: request.pod_name.clone(),
        pod_uid: request.pod_uid.clone(),
        node: request.node.clone(),
        config: request.config.to_string(),
        metadata: request.metadata.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
    }
}

fn settings(settings: &Settings) -> to::Settings {
    let prefixes = |list: &[IpNet]| list.iter().copied().map(prefix).collect();
    let policy_route = |route: &PolicyRoute| to::PolicyRoute { to: prefix(route.dst), gateway: ip(route.gw) };
    let nanos = |duration: std::time::Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    to::Settings {
        mode: match settings.mode {
            Mode::Auto => to::Mode::Auto,
            Mode::Underlay => to::Mode::Underlay,
            Mode::Overlay => to::Mode::Overlay,
            Mode::Disable => to::Mode::Disable,
        },
        pod_default_cni_nic: settings.pod_default_cni_nic.to_string(),
        pod_default_route_nic: settings.pod_default_route_nic.as_ref().map(ToString::to_string),
        tune_pod_routes: settings.tune_pod_routes,
        overlay_pod_cidr: prefixes(&settings.overlay_pod_cidr),
        service_cidr: prefixes(&settings.service_cidr),
        hijack_cidr: prefixes(&settings.hijack_cidr),
        policy_routes: settings.policy_routes.iter().map(policy_route).collect(),
        host_rule_table: settings.host_rule_table,
        pod_rp_filter: match settings.pod_rp_filter {
            RpFilter::Set(value) => Some(value),
            RpFilter::Leave => None,
        },
        tx_queue_len: settings.tx_queue_len,
        pod_mac_prefix: settings.pod_mac_prefix.map(|prefix| prefix.octets().into()),
        veth_link_address: settings.veth_link_address.map(ip),
        veth_mtu: settings.veth_mtu,
        detect_ip_conflict: settings.detect_ip_conflict,
        detect_gateway: settings.detect_gateway,
        detect_options: to::DetectOptions {
            retries: settings.detect_options.retries,
            interval_ns: nanos(settings.detect_options.interval),
            timeout_ns: nanos(settings.detect_options.timeout),
        },
        pipeline: settings.pipeline.clone(),
        sources: settings.sources.iter().map(|(name, by)| (name.clone(), source(by))).collect(),
    }
}

fn source(source: &Source) -> wit::Source {
    match source {
        Source::Builtin => wit::Source::Builtin,
        Source::Pipeline => wit::Source::Pipeline,
        Source::Node => wit::Source::Node,
        Source::Annotation => wit::Source::Annotation,
        Source::Configuration => wit::Source::Configuration,
        Source::Stage(name) => wit::Source::Stage(name.clone()),
    }
}

fn other(other: &OtherAttachment) -> to::OtherAttachment {
    to::OtherAttachment { interface: other.interface.to_string(), network: other.network.clone(), table: other.table }
}

fn claim(claim: &Claim) -> to::Claim {
    to::Claim { ip: ip(claim.ip), container: claim.container.to_string() }
}

fn model(model: &Model) -> to::Model {
    to::Model {
        links: model.links.iter().map(link).collect(),
        addresses: model.addresses.iter().map(address).collect(),
        routes: model.routes.iter().map(known_route).collect(),
        rules: model.rules.iter().map(known_rule).collect(),
        neighbours: model.neighbours.iter().map(neighbour).collect(),
        sysctls: model.sysctls.iter().map(sysctl).collect(),
        marks: model.marks.iter().map(mark).collect(),
    }
}

/// A set of flags out of those that hold.
macro_rules! flags {
    ($kind:ident of $from:expr, $($field:ident => $flag:ident),+ $(,)?) => {{
        let mut flags = to::$kind::empty();
        $(if $from.$field { flags |= to::$kind::$flag; })+
        flags
    }};
}

fn link(link: &Link) -> to::Link {
    to::Link {
        device: device(&link.device),
        kind: link.kind.clone(),
        mac: link.mac.map(mac),
        permanent_mac: link.permanent_mac.map(mac),
        mtu: link.mtu,
        min_mtu: link.min_mtu,
        max_mtu: link.max_mtu,
        transmit_queue: link.transmit_queue,
        flags: flags!(LinkFlags of link.flags, up => UP, carrier => CARRIER, noarp => NOARP, attached => ATTACHED,
            first => FIRST, ours => OURS),
        peer: link.peer.clone(),
        parent: link.parent.clone(),
        driver: link.driver.clone(),
        pci: link.pci.clone(),
        numa: link.numa,
        rdma: link.rdma.clone(),
        table: link.table,
        alias: link.alias.clone(),
    }
}

fn address(address: &Address) -> to::Address {
    to::Address {
        device: device(&address.device),
        prefix: prefix(address.prefix),
        gateway: address.gateway.map(ip),
        flags: flags!(AddressFlags of address.flags, tentative => TENTATIVE, dad_failed => DAD_FAILED,
            deprecated => DEPRECATED, dynamic => DYNAMIC, temporary => TEMPORARY, from_result => FROM_RESULT,
            route_source => ROUTE_SOURCE),
    }
}

fn known_route(known: &KnownRoute) -> to::KnownRoute {
    to::KnownRoute {
        id: known.id,
        route: route(&known.route),
        protocol: known.protocol,
        flags: flags!(RouteFlags of known.flags, ours => OURS, planned => PLANNED,
            from_router_advertisement => FROM_ROUTER_ADVERTISEMENT, nexthop_object => NEXTHOP_OBJECT,
            connected => CONNECTED),
    }
}

fn route(route: &Route) -> wit::Route {
    wit::Route {
        side: side(route.side),
        table: route.table,
        to: prefix(route.to),
        kind: match route.kind {
            RouteKind::Unicast => wit::RouteKind::Unicast,
            RouteKind::Blackhole => wit::RouteKind::Blackhole,
            RouteKind::Unreachable => wit::RouteKind::Unreachable,
            RouteKind::Prohibit => wit::RouteKind::Prohibit,
            RouteKind::Throw => wit::RouteKind::Throw,
        },
        metric: route.metric,
        source: route.source.map(ip),
        link_scope: route.link_scope,
        mtu: route.mtu,
        next_hops: route.next_hops.iter().map(next_hop).collect(),
    }
}

fn next_hop(hop: &NextHop) -> wit::NextHop {
    wit::NextHop { gateway: hop.gateway.map(ip), device: hop.device.clone(), weight: hop.weight, onlink: hop.onlink }
}

fn known_rule(known: &KnownRule) -> to::KnownRule {
    let rule = &known.rule;
    let rule = wit::Rule {
        side: side(rule.side),
        family: match rule.family {
            Family::Ipv4 => wit::Family::Ipv4,
            Family::Ipv6 => wit::Family::Ipv6,
        },
        priority: rule.priority,
        sources: rule.sources.map(prefix),
        to: rule.to.map(prefix),
        fwmark: rule.fwmark.map(|mark| wit::Mark { value: mark.value, mask: mark.mask }),
        incoming: rule.incoming.clone(),
        outgoing: rule.outgoing.clone(),
        table: rule.table,
    };
    to::KnownRule { rule, protocol: known.protocol }
}

fn neighbour(entry: &Neighbour) -> wit::Neighbour {
    wit::Neighbour { device: device(&entry.device), ip: ip(entry.ip), mac: mac(entry.mac) }
}

fn sysctl(sysctl: &Sysctl) -> wit::Sysctl {
    wit::Sysctl { side: side(sysctl.side), key: sysctl.key.clone(), value: sysctl.value.clone() }
}

fn mark(mark: &ReplyMark) -> wit::ReplyMark {
    wit::ReplyMark { device: device(&mark.device), bit: mark.bit, table: mark.table }
}

fn probe(probe: &Probe) -> wit::Probe {
    wit::Probe {
        kind: match probe.kind {
            ProbeKind::Address => wit::ProbeKind::Address,
            ProbeKind::Gateway => wit::ProbeKind::Gateway,
        },
        device: device(&probe.device),
        target: ip(probe.target),
        retries: probe.retries,
        interval_ms: probe.interval_ms,
        timeout_ms: probe.timeout_ms,
        on_finding: match probe.on_finding {
            OnFinding::Refuse => wit::OnFinding::Refuse,
            OnFinding::Warn => wit::OnFinding::Warn,
            OnFinding::Report => wit::OnFinding::Report,
        },
    }
}

fn finding(finding: &Finding) -> to::Finding {
    to::Finding {
        probe: probe(&finding.probe),
        outcome: match finding.outcome {
            Outcome::Free => to::Outcome::Free,
            Outcome::Conflict => to::Outcome::Conflict,
            Outcome::Answered => to::Outcome::Answered,
            Outcome::Silent => to::Outcome::Silent,
        },
        mac: finding.mac.map(mac),
    }
}

fn side(side: Side) -> wit::Side {
    match side {
        Side::Pod => wit::Side::Pod,
        Side::Node => wit::Side::Node,
    }
}

fn device(device: &Device) -> wit::Device {
    wit::Device { side: side(device.side), name: device.name.clone() }
}

fn mac(mac: Mac) -> wit::Mac {
    mac.0.into()
}

fn ip(ip: IpAddr) -> wit::Ip {
    match ip {
        IpAddr::V4(v4) => wit::Ip::V4(v4.octets().into()),
        IpAddr::V6(v6) => wit::Ip::V6(v6.segments().into()),
    }
}

fn prefix(prefix: IpNet) -> wit::Prefix {
    wit::Prefix { ip: ip(prefix.addr()), length: prefix.prefix_len() }
}
