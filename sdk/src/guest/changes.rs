//! What goes out: a [`Decision`] or [`Refusal`] in the interface's values.

use std::net::IpAddr;

use ipnet::IpNet;

use super::bindings::coordinator::stage::{changes as to, types as wit};
use crate::{
    AddressEdit, Change, Decision, Device, Family, LinkEdit, Mac, Neighbour, NextHop, OnFinding, Probe, ProbeKind,
    Proposal, Refusal, ReplyMark, Route, RouteKind, Rule, Setting, Side, Sysctl, VethPair,
};

impl From<IpAddr> for wit::Ip {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                Self::V4((a, b, c, d))
            }
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h] = v6.segments();
                Self::V6((a, b, c, d, e, f, g, h))
            }
        }
    }
}

impl From<IpNet> for wit::Prefix {
    fn from(prefix: IpNet) -> Self {
        Self { ip: prefix.addr().into(), length: prefix.prefix_len() }
    }
}

fn mac(mac: Mac) -> wit::Mac {
    let [a, b, c, d, e, f] = mac.0;
    (a, b, c, d, e, f)
}

impl From<Side> for wit::Side {
    fn from(side: Side) -> Self {
        match side {
            Side::Pod => Self::Pod,
            Side::Node => Self::Node,
        }
    }
}

impl From<Device> for wit::Device {
    fn from(device: Device) -> Self {
        Self { side: device.side.into(), name: device.name }
    }
}

impl From<NextHop> for wit::NextHop {
    fn from(hop: NextHop) -> Self {
        Self { gateway: hop.gateway.map(wit::Ip::from), device: hop.device, weight: hop.weight, onlink: hop.onlink }
    }
}

impl From<Route> for wit::Route {
    fn from(route: Route) -> Self {
        Self {
            side: route.side.into(),
            table: route.table,
            to: route.to.into(),
            kind: match route.kind {
                RouteKind::Unicast => wit::RouteKind::Unicast,
                RouteKind::Blackhole => wit::RouteKind::Blackhole,
                RouteKind::Unreachable => wit::RouteKind::Unreachable,
                RouteKind::Prohibit => wit::RouteKind::Prohibit,
                RouteKind::Throw => wit::RouteKind::Throw,
            },
            metric: route.metric,
            source: route.source.map(wit::Ip::from),
            link_scope: route.link_scope,
            mtu: route.mtu,
            next_hops: route.next_hops.into_iter().map(wit::NextHop::from).collect(),
        }
    }
}

impl From<Rule> for wit::Rule {
    fn from(rule: Rule) -> Self {
        Self {
            side: rule.side.into(),
            family: match rule.family {
                Family::Ipv4 => wit::Family::Ipv4,
                Family::Ipv6 => wit::Family::Ipv6,
            },
            priority: rule.priority,
            sources: rule.sources.map(wit::Prefix::from),
            to: rule.to.map(wit::Prefix::from),
            fwmark: rule.fwmark.map(|mark| wit::Mark { value: mark.value, mask: mark.mask }),
            incoming: rule.incoming,
            outgoing: rule.outgoing,
            table: rule.table,
        }
    }
}

impl From<Neighbour> for wit::Neighbour {
    fn from(entry: Neighbour) -> Self {
        Self { device: entry.device.into(), ip: entry.ip.into(), mac: mac(entry.mac) }
    }
}

impl From<Sysctl> for wit::Sysctl {
    fn from(sysctl: Sysctl) -> Self {
        Self { side: sysctl.side.into(), key: sysctl.key, value: sysctl.value }
    }
}

impl From<ReplyMark> for wit::ReplyMark {
    fn from(mark: ReplyMark) -> Self {
        Self { device: mark.device.into(), bit: mark.bit, table: mark.table }
    }
}

impl From<Setting> for wit::Setting {
    fn from(setting: Setting) -> Self {
        Self { name: setting.name, value: setting.value.to_string() }
    }
}

impl From<Probe> for wit::Probe {
    fn from(probe: Probe) -> Self {
        Self {
            kind: match probe.kind {
                ProbeKind::Address => wit::ProbeKind::Address,
                ProbeKind::Gateway => wit::ProbeKind::Gateway,
            },
            device: probe.device.into(),
            target: probe.target.into(),
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
}

impl From<VethPair> for to::VethPair {
    fn from(pair: VethPair) -> Self {
        let (pod_mac, node_mac) = (mac(pair.pod_mac), mac(pair.node_mac));
        Self { pod: pair.pod, node: pair.node, pod_mac, node_mac, mtu: pair.mtu }
    }
}

impl From<LinkEdit> for to::LinkEdit {
    fn from(edit: LinkEdit) -> Self {
        Self {
            device: edit.device.into(),
            up: edit.up,
            mac: edit.mac.map(mac),
            mtu: edit.mtu,
            transmit_queue: edit.transmit_queue,
        }
    }
}

impl From<AddressEdit> for to::AddressEdit {
    fn from(edit: AddressEdit) -> Self {
        Self { device: edit.device.into(), prefix: edit.prefix.into() }
    }
}

impl From<Change> for to::Change {
    fn from(change: Change) -> Self {
        match change {
            Change::CreateVeth(pair) => Self::CreateVeth(pair.into()),
            Change::DeleteLink(device) => Self::DeleteLink(device.into()),
            Change::SetLink(edit) => Self::SetLink(edit.into()),
            Change::AddAddress(edit) => Self::AddAddress(edit.into()),
            Change::RemoveAddress(edit) => Self::RemoveAddress(edit.into()),
            Change::AddRoute(route) => Self::AddRoute(route.into()),
            Change::MoveRoute(to) => Self::MoveRoute(to::RouteMove { id: to.id, table: to.table }),
            Change::RemoveRoute(id) => Self::RemoveRoute(id),
            Change::AddRule(rule) => Self::AddRule(rule.into()),
            Change::RemoveRule(rule) => Self::RemoveRule(rule.into()),
            Change::AddNeighbour(entry) => Self::AddNeighbour(entry.into()),
            Change::RemoveNeighbour(entry) => Self::RemoveNeighbour(entry.into()),
            Change::SetSysctl(sysctl) => Self::SetSysctl(sysctl.into()),
            Change::MarkReplies(mark) => Self::MarkReplies(mark.into()),
            Change::SetSetting(setting) => Self::SetSetting(setting.into()),
            Change::SetProbe(probe) => Self::SetProbe(probe.into()),
        }
    }
}

impl From<Decision> for to::Decision {
    fn from(decision: Decision) -> Self {
        let proposal = |proposal: Proposal| to::Proposal { change: proposal.change.into(), why: proposal.why };
        let proposals = decision.proposals.into_iter().map(proposal).collect();
        Self { proposals, warnings: decision.warnings }
    }
}

impl From<Refusal> for to::Refusal {
    fn from(refusal: Refusal) -> Self {
        Self { reason: refusal.reason, hint: refusal.hint, retry: refusal.retry }
    }
}
