//! What comes in: the interface's snapshot as [`Facts`].

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use ipnet::IpNet;
use serde_json::Value;

use super::bindings::coordinator::stage::{facts as from, types as wit};
use crate::{
    Address, AddressFlags, Claim, DetectOptions, Device, Facts, Family, Finding, InterfaceName, KnownRoute, KnownRule,
    Link, LinkFlags, Mac, MacPrefix, Mark, Mode, Model, Neighbour, NextHop, OnFinding, OtherAttachment, Outcome,
    PolicyRoute, Probe, ProbeKind, ReplyMark, Request, Route, RouteFlags, RouteKind, RpFilter, Rule, Settings, Side,
    Source, Sysctl,
};

/// What is wrong with a value that the host sent: a host that is itself in order sends no such value.
type Wrong = String;

fn all<T, U>(values: Vec<T>) -> Result<Vec<U>, Wrong>
where
    U: TryFrom<T>,
    U::Error: ToString,
{
    values.into_iter().map(|value| U::try_from(value).map_err(|wrong| wrong.to_string())).collect()
}

fn each<T, U: From<T>>(values: Vec<T>) -> Vec<U> {
    values.into_iter().map(U::from).collect()
}

/// One by one: to collect them would bring in a sort for each kind of value.
fn map<T, U>(pairs: Vec<(String, T)>, value: impl Fn(T) -> Result<U, Wrong>) -> Result<BTreeMap<String, U>, Wrong> {
    let mut all = BTreeMap::new();
    for (name, it) in pairs {
        all.insert(name, value(it)?);
    }
    Ok(all)
}

fn json(text: &str) -> Result<Value, Wrong> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn name(text: &str) -> Result<InterfaceName, Wrong> {
    text.parse().map_err(|error: crate::NameError| error.to_string())
}

fn prefix(prefix: wit::Prefix) -> Result<IpNet, Wrong> {
    let ip = IpAddr::from(prefix.ip);
    IpNet::new(ip, prefix.length).map_err(|_| format!("{ip}/{}", prefix.length))
}

fn prefixes(values: Vec<wit::Prefix>) -> Result<Vec<IpNet>, Wrong> {
    values.into_iter().map(prefix).collect()
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

impl TryFrom<wit::Route> for Route {
    type Error = Wrong;
    fn try_from(route: wit::Route) -> Result<Self, Wrong> {
        Ok(Self {
            side: route.side.into(),
            table: route.table,
            to: prefix(route.to)?,
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
        })
    }
}

impl TryFrom<from::KnownRoute> for KnownRoute {
    type Error = Wrong;
    fn try_from(known: from::KnownRoute) -> Result<Self, Wrong> {
        let is = |flag| known.flags.contains(flag);
        let flags = RouteFlags {
            ours: is(from::RouteFlags::OURS),
            planned: is(from::RouteFlags::PLANNED),
            from_router_advertisement: is(from::RouteFlags::FROM_ROUTER_ADVERTISEMENT),
            nexthop_object: is(from::RouteFlags::NEXTHOP_OBJECT),
            connected: is(from::RouteFlags::CONNECTED),
        };
        Ok(Self { id: known.id, route: known.route.try_into()?, protocol: known.protocol, flags })
    }
}

impl TryFrom<from::KnownRule> for KnownRule {
    type Error = Wrong;
    fn try_from(known: from::KnownRule) -> Result<Self, Wrong> {
        let rule = known.rule;
        let rule = Rule {
            side: rule.side.into(),
            family: match rule.family {
                wit::Family::Ipv4 => Family::Ipv4,
                wit::Family::Ipv6 => Family::Ipv6,
            },
            priority: rule.priority,
            sources: rule.sources.map(prefix).transpose()?,
            to: rule.to.map(prefix).transpose()?,
            fwmark: rule.fwmark.map(|mark| Mark { value: mark.value, mask: mark.mask }),
            incoming: rule.incoming,
            outgoing: rule.outgoing,
            table: rule.table,
        };
        Ok(Self { rule, protocol: known.protocol })
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

impl TryFrom<from::Address> for Address {
    type Error = Wrong;
    fn try_from(address: from::Address) -> Result<Self, Wrong> {
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
        Ok(Self { device: address.device.into(), prefix: prefix(address.prefix)?, gateway, flags })
    }
}

impl TryFrom<from::Model> for Model {
    type Error = Wrong;
    fn try_from(model: from::Model) -> Result<Self, Wrong> {
        Ok(Self {
            links: each(model.links),
            addresses: all(model.addresses)?,
            routes: all(model.routes)?,
            rules: all(model.rules)?,
            neighbours: each(model.neighbours),
            sysctls: each(model.sysctls),
            marks: each(model.marks),
        })
    }
}

impl TryFrom<from::Request> for Request {
    type Error = Wrong;
    fn try_from(request: from::Request) -> Result<Self, Wrong> {
        Ok(Self {
            container: request.container.parse().map_err(|error: crate::NameError| error.to_string())?,
            interface: name(&request.interface)?,
            network: request.network,
            pod_namespace: request.pod_namespace,
            pod_name: request.pod_name,
            pod_uid: request.pod_uid,
            node: request.node,
            config: json(&request.config)?,
            metadata: map(request.metadata, Ok)?,
        })
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

impl TryFrom<from::Settings> for Settings {
    type Error = Wrong;
    fn try_from(settings: from::Settings) -> Result<Self, Wrong> {
        let policy_route = |route: from::PolicyRoute| {
            Ok::<_, Wrong>(PolicyRoute { dst: prefix(route.to)?, gw: IpAddr::from(route.gateway) })
        };
        let mac_prefix = settings.pod_mac_prefix.map(|(a, b)| MacPrefix::try_from([a, b]));
        Ok(Self {
            mode: match settings.mode {
                from::Mode::Auto => Mode::Auto,
                from::Mode::Underlay => Mode::Underlay,
                from::Mode::Overlay => Mode::Overlay,
                from::Mode::Disable => Mode::Disable,
            },
            pod_default_cni_nic: name(&settings.pod_default_cni_nic)?,
            pod_default_route_nic: settings.pod_default_route_nic.as_deref().map(name).transpose()?,
            tune_pod_routes: settings.tune_pod_routes,
            overlay_pod_cidr: prefixes(settings.overlay_pod_cidr)?,
            service_cidr: prefixes(settings.service_cidr)?,
            hijack_cidr: prefixes(settings.hijack_cidr)?,
            policy_routes: settings.policy_routes.into_iter().map(policy_route).collect::<Result<_, Wrong>>()?,
            host_rule_table: settings.host_rule_table,
            pod_rp_filter: settings.pod_rp_filter.map_or(RpFilter::Leave, RpFilter::Set),
            tx_queue_len: settings.tx_queue_len,
            pod_mac_prefix: mac_prefix.transpose().map_err(|error| error.to_string())?,
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
            sources: map(settings.sources, |source| Ok(source.into()))?,
            // Where the plugin logs is no stage's business.
            ..Self::default()
        })
    }
}

impl TryFrom<from::OtherAttachment> for OtherAttachment {
    type Error = Wrong;
    fn try_from(other: from::OtherAttachment) -> Result<Self, Wrong> {
        Ok(Self { interface: name(&other.interface)?, network: other.network, table: other.table })
    }
}

impl TryFrom<from::Claim> for Claim {
    type Error = Wrong;
    fn try_from(claim: from::Claim) -> Result<Self, Wrong> {
        let container = claim.container.parse().map_err(|error: crate::NameError| error.to_string())?;
        Ok(Self { ip: claim.ip.into(), container })
    }
}

impl TryFrom<from::Snapshot> for Facts {
    type Error = Wrong;
    fn try_from(snapshot: from::Snapshot) -> Result<Self, Wrong> {
        Ok(Self {
            request: snapshot.request.try_into()?,
            settings: snapshot.settings.try_into()?,
            others: all(snapshot.others)?,
            claims: all(snapshot.claims)?,
            node_next_hops: each(snapshot.node_next_hops),
            model: snapshot.model.try_into()?,
            probes: each(snapshot.probes),
            findings: snapshot.findings.map(each),
            extra: map(snapshot.extra, |text| json(&text))?,
        })
    }
}
