//! What comes in: the interface's snapshot as [`Facts`].

use std::{
    mem::ManuallyDrop,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use ipnet::IpNet;
use litemap::LiteMap;

use super::bindings::coordinator::stage::{facts as from, types as wit};
use crate::{
    Address, AddressFlags, Claim, ContainerId, DetectOptions, Device, Facts, Family, Finding, InterfaceName, Json,
    KnownRoute, KnownRule, Link, LinkFlags, Mac, MacPrefix, Mark, Mode, Model, Neighbour, NextHop, OnFinding,
    OtherAttachment, Outcome, PolicyRoute, Probe, ProbeKind, ReplyMark, Request, Route, RouteFlags, RouteKind,
    RpFilter, Rule, Settings, Side, Source, Sysctl,
};

/// By pushing: to collect would bring in code that reuses a list's memory, for each kind of value. And without giving the old
/// list back, as [`decide`](super::decide) says, or there would be code for that.
fn each<T, U: From<T>>(values: Vec<T>) -> Vec<U> {
    let mut all = Vec::with_capacity(values.len());
    let mut values = ManuallyDrop::new(values.into_iter());
    for value in values.by_ref() {
        all.push(U::from(value));
    }
    all
}

/// One by one: to collect them would bring in a sort for each kind of value.
fn map<T, U>(pairs: Vec<(String, T)>, value: impl Fn(T) -> U) -> LiteMap<String, U> {
    let mut all = LiteMap::with_capacity(pairs.len());
    let mut pairs = ManuallyDrop::new(pairs.into_iter());
    for (name, it) in pairs.by_ref() {
        all.insert(name, value(it));
    }
    all
}

/// A value that the type it is for takes. A host that is itself in order sends no other; where each conversion could fail,
/// each had code that gives the rest back, which is as large again as all of this.
fn right<T, E>(value: Result<T, E>, what: &str) -> T {
    match value {
        Ok(value) => value,
        Err(_) => wrong(what),
    }
}

#[cold]
#[inline(never)]
#[allow(clippy::panic, reason = "the host ends the guest and says what it said")]
fn wrong(what: &str) -> ! {
    panic!("these facts are wrong: {what}")
}

fn name(text: &str) -> InterfaceName {
    right(text.parse(), "the name of an interface")
}

fn container(text: &str) -> ContainerId {
    right(text.parse(), "the id of a container")
}

impl From<wit::Prefix> for IpNet {
    fn from(prefix: wit::Prefix) -> Self {
        right(Self::new(prefix.ip.into(), prefix.length), "the length of a prefix")
    }
}

impl From<wit::Ip> for IpAddr {
    fn from(ip: wit::Ip) -> Self {
        match ip {
            wit::Ip::V4((a, b, c, d)) => Self::V4(Ipv4Addr::new(a, b, c, d)),
            wit::Ip::V6((a, b, c, d, e, f, g, h)) => Self::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)),
        }
    }
}

fn mac((a, b, c, d, e, f): wit::Mac) -> Mac {
    Mac([a, b, c, d, e, f])
}

impl From<wit::Side> for Side {
    fn from(side: wit::Side) -> Self {
        match side {
            wit::Side::Pod => Self::Pod,
            wit::Side::Node => Self::Node,
        }
    }
}

impl From<wit::Device> for Device {
    fn from(device: wit::Device) -> Self {
        Self { side: device.side.into(), name: device.name }
    }
}

impl From<wit::NextHop> for NextHop {
    fn from(hop: wit::NextHop) -> Self {
        Self { gateway: hop.gateway.map(IpAddr::from), device: hop.device, weight: hop.weight, onlink: hop.onlink }
    }
}

impl From<wit::Route> for Route {
    fn from(route: wit::Route) -> Self {
        Self {
            side: route.side.into(),
            table: route.table,
            to: route.to.into(),
            kind: match route.kind {
                wit::RouteKind::Unicast => RouteKind::Unicast,
                wit::RouteKind::Blackhole => RouteKind::Blackhole,
                wit::RouteKind::Unreachable => RouteKind::Unreachable,
                wit::RouteKind::Prohibit => RouteKind::Prohibit,
                wit::RouteKind::Throw => RouteKind::Throw,
            },
            metric: route.metric,
            source: route.source.map(IpAddr::from),
            link_scope: route.link_scope,
            mtu: route.mtu,
            next_hops: each(route.next_hops),
        }
    }
}

impl From<from::KnownRoute> for KnownRoute {
    fn from(known: from::KnownRoute) -> Self {
        let is = |flag| known.flags.contains(flag);
        let flags = RouteFlags {
            ours: is(from::RouteFlags::OURS),
            planned: is(from::RouteFlags::PLANNED),
            from_router_advertisement: is(from::RouteFlags::FROM_ROUTER_ADVERTISEMENT),
            nexthop_object: is(from::RouteFlags::NEXTHOP_OBJECT),
            connected: is(from::RouteFlags::CONNECTED),
        };
        Self { id: known.id, route: known.route.into(), protocol: known.protocol, flags }
    }
}

impl From<from::KnownRule> for KnownRule {
    fn from(known: from::KnownRule) -> Self {
        let rule = known.rule;
        let rule = Rule {
            side: rule.side.into(),
            family: match rule.family {
                wit::Family::Ipv4 => Family::Ipv4,
                wit::Family::Ipv6 => Family::Ipv6,
            },
            priority: rule.priority,
            sources: rule.sources.map(IpNet::from),
            to: rule.to.map(IpNet::from),
            fwmark: rule.fwmark.map(|mark| Mark { value: mark.value, mask: mark.mask }),
            incoming: rule.incoming,
            outgoing: rule.outgoing,
            table: rule.table,
        };
        Self { rule, protocol: known.protocol }
    }
}

impl From<wit::Neighbour> for Neighbour {
    fn from(entry: wit::Neighbour) -> Self {
        Self { device: entry.device.into(), ip: entry.ip.into(), mac: mac(entry.mac) }
    }
}

impl From<wit::Sysctl> for Sysctl {
    fn from(sysctl: wit::Sysctl) -> Self {
        Self { side: sysctl.side.into(), key: sysctl.key, value: sysctl.value }
    }
}

impl From<wit::ReplyMark> for ReplyMark {
    fn from(mark: wit::ReplyMark) -> Self {
        Self { device: mark.device.into(), bit: mark.bit, table: mark.table }
    }
}

impl From<wit::Probe> for Probe {
    fn from(probe: wit::Probe) -> Self {
        Self {
            kind: match probe.kind {
                wit::ProbeKind::Address => ProbeKind::Address,
                wit::ProbeKind::Gateway => ProbeKind::Gateway,
            },
            device: probe.device.into(),
            target: probe.target.into(),
            retries: probe.retries,
            interval_ms: probe.interval_ms,
            timeout_ms: probe.timeout_ms,
            on_finding: match probe.on_finding {
                wit::OnFinding::Refuse => OnFinding::Refuse,
                wit::OnFinding::Warn => OnFinding::Warn,
                wit::OnFinding::Report => OnFinding::Report,
            },
        }
    }
}

impl From<from::Finding> for Finding {
    fn from(finding: from::Finding) -> Self {
        Self {
            probe: finding.probe.into(),
            outcome: match finding.outcome {
                from::Outcome::Free => Outcome::Free,
                from::Outcome::Conflict => Outcome::Conflict,
                from::Outcome::Answered => Outcome::Answered,
                from::Outcome::Silent => Outcome::Silent,
            },
            mac: finding.mac.map(mac),
        }
    }
}

impl From<from::Link> for Link {
    fn from(link: from::Link) -> Self {
        let is = |flag| link.flags.contains(flag);
        let flags = LinkFlags {
            up: is(from::LinkFlags::UP),
            carrier: is(from::LinkFlags::CARRIER),
            noarp: is(from::LinkFlags::NOARP),
            attached: is(from::LinkFlags::ATTACHED),
            first: is(from::LinkFlags::FIRST),
            ours: is(from::LinkFlags::OURS),
        };
        Self {
            device: link.device.into(),
            kind: link.kind,
            mac: link.mac.map(mac),
            permanent_mac: link.permanent_mac.map(mac),
            mtu: link.mtu,
            min_mtu: link.min_mtu,
            max_mtu: link.max_mtu,
            transmit_queue: link.transmit_queue,
            flags,
            peer: link.peer,
            parent: link.parent,
            driver: link.driver,
            pci: link.pci,
            numa: link.numa,
            rdma: link.rdma,
            table: link.table,
            alias: link.alias,
        }
    }
}

impl From<from::Address> for Address {
    fn from(address: from::Address) -> Self {
        let is = |flag| address.flags.contains(flag);
        let flags = AddressFlags {
            tentative: is(from::AddressFlags::TENTATIVE),
            dad_failed: is(from::AddressFlags::DAD_FAILED),
            deprecated: is(from::AddressFlags::DEPRECATED),
            dynamic: is(from::AddressFlags::DYNAMIC),
            temporary: is(from::AddressFlags::TEMPORARY),
            from_result: is(from::AddressFlags::FROM_RESULT),
            route_source: is(from::AddressFlags::ROUTE_SOURCE),
        };
        let gateway = address.gateway.map(IpAddr::from);
        Self { device: address.device.into(), prefix: address.prefix.into(), gateway, flags }
    }
}

impl From<from::Model> for Model {
    fn from(model: from::Model) -> Self {
        Self {
            links: each(model.links),
            addresses: each(model.addresses),
            routes: each(model.routes),
            rules: each(model.rules),
            neighbours: each(model.neighbours),
            sysctls: each(model.sysctls),
            marks: each(model.marks),
        }
    }
}

impl From<from::Request> for Request {
    fn from(request: from::Request) -> Self {
        Self {
            container: container(&request.container),
            interface: name(&request.interface),
            network: request.network,
            pod_namespace: request.pod_namespace,
            pod_name: request.pod_name,
            pod_uid: request.pod_uid,
            node: request.node,
            config: Json::sent(request.config),
            metadata: map(request.metadata, |text| text),
        }
    }
}

impl From<from::PolicyRoute> for PolicyRoute {
    fn from(route: from::PolicyRoute) -> Self {
        Self { dst: route.to.into(), gw: route.gateway.into() }
    }
}

impl From<wit::Source> for Source {
    fn from(source: wit::Source) -> Self {
        match source {
            wit::Source::Builtin => Self::Builtin,
            wit::Source::Pipeline => Self::Pipeline,
            wit::Source::Node => Self::Node,
            wit::Source::Annotation => Self::Annotation,
            wit::Source::Configuration => Self::Configuration,
            wit::Source::Stage(name) => Self::Stage(name),
        }
    }
}

impl From<from::Settings> for Settings {
    fn from(settings: from::Settings) -> Self {
        let mac_prefix = |(a, b)| right(MacPrefix::try_from([a, b]), "the prefix of hardware addresses");
        Self {
            mode: match settings.mode {
                from::Mode::Auto => Mode::Auto,
                from::Mode::Underlay => Mode::Underlay,
                from::Mode::Overlay => Mode::Overlay,
                from::Mode::Disable => Mode::Disable,
            },
            pod_default_cni_nic: name(&settings.pod_default_cni_nic),
            pod_default_route_nic: settings.pod_default_route_nic.as_deref().map(name),
            tune_pod_routes: settings.tune_pod_routes,
            overlay_pod_cidr: each(settings.overlay_pod_cidr),
            service_cidr: each(settings.service_cidr),
            hijack_cidr: each(settings.hijack_cidr),
            policy_routes: each(settings.policy_routes),
            host_rule_table: settings.host_rule_table,
            pod_rp_filter: settings.pod_rp_filter.map_or(RpFilter::Leave, RpFilter::Set),
            tx_queue_len: settings.tx_queue_len,
            pod_mac_prefix: settings.pod_mac_prefix.map(mac_prefix),
            veth_link_address: settings.veth_link_address.map(IpAddr::from),
            veth_mtu: settings.veth_mtu,
            detect_ip_conflict: settings.detect_ip_conflict,
            detect_gateway: settings.detect_gateway,
            detect_options: DetectOptions {
                retries: settings.detect_options.retries,
                interval: Duration::from_nanos(settings.detect_options.interval_ns),
                timeout: Duration::from_nanos(settings.detect_options.timeout_ns),
            },
            pipeline: settings.pipeline,
            sources: map(settings.sources, Source::from),
            // Where the plugin logs is no stage's business.
            ..Self::default()
        }
    }
}

impl From<from::OtherAttachment> for OtherAttachment {
    fn from(other: from::OtherAttachment) -> Self {
        Self { interface: name(&other.interface), network: other.network, table: other.table }
    }
}

impl From<from::Claim> for Claim {
    fn from(claim: from::Claim) -> Self {
        Self { ip: claim.ip.into(), container: container(&claim.container) }
    }
}

impl From<from::Snapshot> for Facts {
    fn from(snapshot: from::Snapshot) -> Self {
        Self {
            request: snapshot.request.into(),
            settings: snapshot.settings.into(),
            others: each(snapshot.others),
            claims: each(snapshot.claims),
            node_next_hops: each(snapshot.node_next_hops),
            model: snapshot.model.into(),
            probes: each(snapshot.probes),
            findings: snapshot.findings.map(each),
            extra: map(snapshot.extra, Json::sent),
        }
    }
}
