//! What comes back from a guest: the interface's decision or refusal as ours.

use std::net::IpAddr;

use coordinator_sdk::{
    AddressEdit, Change, Decision, Device, Family, LinkEdit, Mac, Mark, Neighbour, NextHop, OnFinding, Probe,
    ProbeKind, Proposal, Refusal, ReplyMark, Route, RouteKind, RouteMove, Rule, Setting, Side, Source, Sysctl,
    VethPair,
};
use ipnet::IpNet;

use super::super::bindings::coordinator::stage::{changes as from, types as wit};

/// The decision of the stage called `stage`.
///
/// # Errors
/// A value in it cannot be: which one, and why.
pub(in super::super) fn decision(stage: &str, decision: from::Decision) -> Result<Decision, String> {
    let mut proposals = Vec::with_capacity(decision.proposals.len());
    for (at, proposal) in decision.proposals.into_iter().enumerate() {
        let change = change(stage, proposal.change).map_err(|wrong| format!("proposal {at}: {wrong}"))?;
        proposals.push(Proposal { change, why: proposal.why });
    }
    Ok(Decision { proposals, warnings: decision.warnings })
}

/// The refusal.
pub(in super::super) fn refusal(refusal: from::Refusal) -> Refusal {
    Refusal { reason: refusal.reason, hint: refusal.hint, retry: refusal.retry }
}

fn change(stage: &str, change: from::Change) -> Result<Change, String> {
    Ok(match change {
        from::Change::CreateVeth(pair) => Change::CreateVeth(VethPair {
            pod: pair.pod,
            node: pair.node,
            pod_mac: mac(pair.pod_mac),
            node_mac: mac(pair.node_mac),
            mtu: pair.mtu,
        }),
        from::Change::DeleteLink(link) => Change::DeleteLink(device(link)),
        from::Change::SetLink(edit) => Change::SetLink(LinkEdit {
            device: device(edit.device),
            up: edit.up,
            mac: edit.mac.map(mac),
            mtu: edit.mtu,
            transmit_queue: edit.transmit_queue,
        }),
        from::Change::AddAddress(edit) => Change::AddAddress(address_edit(edit)?),
        from::Change::RemoveAddress(edit) => Change::RemoveAddress(address_edit(edit)?),
        from::Change::AddRoute(it) => Change::AddRoute(route(it)?),
        from::Change::MoveRoute(to) => Change::MoveRoute(RouteMove { id: to.id, table: to.table }),
        from::Change::RemoveRoute(id) => Change::RemoveRoute(id),
        from::Change::AddRule(it) => Change::AddRule(rule(it)?),
        from::Change::RemoveRule(it) => Change::RemoveRule(rule(it)?),
        from::Change::AddNeighbour(entry) => Change::AddNeighbour(neighbour(entry)),
        from::Change::RemoveNeighbour(entry) => Change::RemoveNeighbour(neighbour(entry)),
        from::Change::SetSysctl(it) => Change::SetSysctl(Sysctl { side: side(it.side), key: it.key, value: it.value }),
        from::Change::MarkReplies(mark) => {
            Change::MarkReplies(ReplyMark { device: device(mark.device), bit: mark.bit, table: mark.table })
        }
        from::Change::SetSetting(setting) => {
            let value = setting
                .value
                .parse()
                .map_err(|error| format!("the value of setting {} is not JSON: {error}", setting.name))?;
            Change::SetSetting(Setting { name: setting.name, value, source: Source::Stage(stage.to_owned()) })
        }
        from::Change::SetProbe(it) => Change::SetProbe(Probe {
            kind: match it.kind {
                wit::ProbeKind::Address => ProbeKind::Address,
                wit::ProbeKind::Gateway => ProbeKind::Gateway,
            },
            device: device(it.device),
            target: ip(it.target),
            retries: it.retries,
            interval_ms: it.interval_ms,
            timeout_ms: it.timeout_ms,
            on_finding: match it.on_finding {
                wit::OnFinding::Refuse => OnFinding::Refuse,
                wit::OnFinding::Warn => OnFinding::Warn,
                wit::OnFinding::Report => OnFinding::Report,
            },
        }),
    })
}

fn address_edit(edit: from::AddressEdit) -> Result<AddressEdit, String> {
    Ok(AddressEdit { device: device(edit.device), prefix: prefix(edit.prefix)? })
}

fn route(route: wit::Route) -> Result<Route, String> {
    Ok(Route {
        side: side(route.side),
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
        source: route.source.map(ip),
        link_scope: route.link_scope,
        mtu: route.mtu,
        next_hops: route.next_hops.into_iter().map(next_hop).collect(),
    })
}

fn next_hop(hop: wit::NextHop) -> NextHop {
    NextHop { gateway: hop.gateway.map(ip), device: hop.device, weight: hop.weight, onlink: hop.onlink }
}

fn rule(rule: wit::Rule) -> Result<Rule, String> {
    Ok(Rule {
        side: side(rule.side),
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
    })
}

fn neighbour(entry: wit::Neighbour) -> Neighbour {
    Neighbour { device: device(entry.device), ip: ip(entry.ip), mac: mac(entry.mac) }
}

fn side(side: wit::Side) -> Side {
    match side {
        wit::Side::Pod => Side::Pod,
        wit::Side::Node => Side::Node,
    }
}

fn device(device: wit::Device) -> Device {
    Device { side: side(device.side), name: device.name }
}

fn mac((a, b, c, d, e, f): wit::Mac) -> Mac {
    Mac([a, b, c, d, e, f])
}

fn ip(ip: wit::Ip) -> IpAddr {
    match ip {
        wit::Ip::V4((a, b, c, d)) => IpAddr::from([a, b, c, d]),
        wit::Ip::V6((a, b, c, d, e, f, g, h)) => IpAddr::from([a, b, c, d, e, f, g, h]),
    }
}

fn prefix(prefix: wit::Prefix) -> Result<IpNet, String> {
    let ip = ip(prefix.ip);
    IpNet::new(ip, prefix.length).map_err(|_| format!("{ip}/{} is no prefix", prefix.length))
}
