//! The node's side: its addresses, how it reaches the Pod, and what is left of earlier Pods.

use std::{collections::BTreeSet, net::IpAddr};

use coordinator_sdk::{Address, Device, Family, KnownRoute, Link, LinkFlags, Model, Side, Sysctl, is_global};

use super::{Depth, Question, alias_prefix, pod::PodView};
use crate::{
    kernel::{
        address::{self, KernelAddress},
        link::{self, KernelLink},
        netlink::{NetlinkError, Request},
        route::{self, Way},
        rule,
    },
    sockets::SideSocket,
};

/// Addresses from documentation ranges (RFC 5737, RFC 3849): the node reaches them, if at all, by
/// its default route.
const FAR: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// What was learned of the node.
pub(super) struct NodeView {
    pub(super) model: Model,
    pub(super) route_sources: Vec<IpAddr>,
    pub(super) next_hops: Vec<IpAddr>,
}

/// Reads the node, and completes the Pod's links with the names of their other ends.
pub(super) fn read(
    node: &mut SideSocket,
    question: &Question<'_>,
    pod: &mut PodView,
) -> Result<NodeView, NetlinkError> {
    let attached: Vec<Address> = attached_addresses(question, pod);
    let mut view = NodeView { model: Model::default(), route_sources: Vec::new(), next_hops: Vec::new() };

    // One datagram: the veth, the way to each Pod address, the default routes.
    let families: Vec<Family> =
        Family::ALL.into_iter().filter(|f| attached.iter().any(|a| Family::of(a.ip()) == *f)).collect();
    let far: Vec<IpAddr> = FAR.into_iter().filter(|ip| families.contains(&Family::of(*ip))).collect();
    let mut questions = vec![link::question_by_name(question.node_veth)];
    questions.extend(attached.iter().map(|address| route::way_question(address.ip(), None)));
    questions.extend(far.iter().map(|ip| route::match_question(*ip)));
    let requests: Vec<_> = questions.into_iter().map(|message| Request { message, flags: 0 }).collect();
    let mut answers = node.netlink.transact(&requests)?.into_iter();

    let veth = answers.next().and_then(Result::ok).and_then(|found| found.into_iter().find_map(link::parse));
    let mut ways = Vec::new();
    for (address, answer) in attached.iter().zip(answers.by_ref().take(attached.len())) {
        ways.extend(answer.ok().map(|found| (address.ip(), route::way_in(&found))));
    }
    for answer in answers.flatten() {
        let way = route::way_in(&answer);
        if way.is_unicast {
            view.next_hops.extend(way.gateways);
        }
    }

    let mut links = Links { node, question, seen: BTreeSet::new(), model: &mut view.model };
    if let Some(veth) = &veth {
        links.insert(veth);
    }
    let mut addresses = address::list(&mut links.node.netlink)?;
    // Every link has a link-local one: those of other Pods must cost nothing.
    addresses.retain(|address| is_global(address.prefix.addr()));
    let others = pod.on_node.iter().map(|(_, index)| *index);
    links.learn(others.chain(addresses.iter().map(|address| address.index)))?;
    links.complete(pod);
    let parent = attached_parent(question, pod).and_then(|name| links.node.names.index(&name));
    links.keep(addresses);
    view.route_sources = sources(links.node, question, &ways, parent)?;
    read_routes(node, question, &ways, veth.as_ref().map(|link| link.index), &attached, &mut view.model)?;
    if question.depth == Depth::List {
        for family in families {
            view.model.rules.extend(rule::list(&mut node.netlink, Side::Node, family)?);
        }
    }
    for address in &mut view.model.addresses {
        address.flags.route_source = view.route_sources.contains(&address.prefix.addr());
    }
    Ok(view)
}

fn attached_addresses(question: &Question<'_>, pod: &PodView) -> Vec<Address> {
    let addresses = pod.model.addresses.iter();
    addresses.filter(|a| a.device.name == question.attached && a.is_global()).cloned().collect()
}

fn attached_parent(question: &Question<'_>, pod: &PodView) -> Option<String> {
    pod.model.link(&Device::pod(question.attached)).and_then(|link| link.parent.clone())
}

/// The node's links that are asked for one by one.
struct Links<'l, 'q> {
    node: &'l mut SideSocket,
    question: &'l Question<'q>,
    seen: BTreeSet<u32>,
    model: &'l mut Model,
}

impl Links<'_, '_> {
    fn insert(&mut self, seen: &KernelLink) {
        self.node.names.insert(seen.index, &seen.name);
        if !self.seen.insert(seen.index) {
            return;
        }
        if seen.parameter("ipv6", "disable_ipv6") == Some(1) {
            let key = format!("net/ipv6/conf/{}/disable_ipv6", seen.name);
            self.model.sysctls.push(Sysctl { side: Side::Node, key, value: "1".to_owned() });
        }
        let alias = seen.alias.as_deref().unwrap_or_default();
        let is_ours = alias.starts_with(&alias_prefix(self.question.container));
        self.model.links.push(Link {
            kind: seen.kind.clone(),
            mac: seen.mac,
            mtu: seen.mtu,
            min_mtu: seen.min_mtu,
            max_mtu: seen.max_mtu,
            transmit_queue: seen.transmit_queue,
            flags: LinkFlags { up: seen.up, carrier: seen.carrier, ours: is_ours, ..LinkFlags::default() },
            alias: seen.alias.clone(),
            ..Link::named(Device::node(&seen.name))
        });
    }

    /// Asks for the links with these numbers, unless they are known, in one datagram.
    fn learn(&mut self, indexes: impl Iterator<Item = u32>) -> Result<(), NetlinkError> {
        let unknown: BTreeSet<u32> = indexes.filter(|index| self.node.names.name(*index).is_none()).collect();
        let question = |index| Request { message: link::question_by_index(index), flags: 0 };
        let questions: Vec<_> = unknown.into_iter().map(question).collect();
        for answer in self.node.netlink.transact(&questions)?.into_iter().flatten() {
            if let Some(found) = answer.into_iter().find_map(link::parse) {
                self.insert(&found);
            }
        }
        Ok(())
    }

    /// Names the node's ends of the Pod's links.
    fn complete(&self, pod: &mut PodView) {
        for (device, index) in std::mem::take(&mut pod.on_node) {
            let name = self.node.names.name(index).map(str::to_owned);
            if let Some(link) = pod.model.links.iter_mut().find(|link| link.device == device) {
                match link.kind.as_str() {
                    "veth" | "netkit" => link.peer = name,
                    _ => link.parent = name,
                }
            }
        }
    }

    /// Keeps the node's addresses whose link is still there.
    fn keep(&mut self, addresses: Vec<KernelAddress>) {
        for KernelAddress { index, prefix, flags } in addresses {
            let Some(name) = self.node.names.name(index) else { continue };
            self.model.addresses.push(Address { device: Device::node(name), prefix, gateway: None, flags });
        }
    }
}

/// The sources of the node's routes to the Pod that are not ours.
fn sources(
    node: &mut SideSocket,
    question: &Question<'_>,
    ways: &[(IpAddr, Way)],
    parent: Option<u32>,
) -> Result<Vec<IpAddr>, NetlinkError> {
    let mut sources = Vec::new();
    for (ip, way) in ways {
        let source = match way.table == question.host_rule_table {
            false => way.source.filter(|_| way.is_unicast),
            // Our own route, or a leftover: what lies behind it is the way by the parent device.
            true => match parent {
                Some(_) => route::way(&mut node.netlink, *ip, parent)?
                    .ok()
                    .filter(|way| way.is_unicast && way.table != question.host_rule_table)
                    .and_then(|way| way.source),
                None => None,
            },
        };
        sources.extend(source.filter(|ip| !sources.contains(ip)));
    }
    // Recorded ones stand in only for families in which the kernel shows none any more.
    let families: Vec<Family> = sources.iter().map(|ip| Family::of(*ip)).collect();
    let is_missing = |ip: &&IpAddr| !families.contains(&Family::of(**ip));
    sources.extend(question.route_sources.iter().filter(is_missing).copied().collect::<Vec<_>>());
    Ok(sources)
}

/// The routes to the Pod's addresses in the table that precedes `main`.
fn read_routes(
    node: &mut SideSocket,
    question: &Question<'_>,
    ways: &[(IpAddr, Way)],
    veth: Option<u32>,
    attached: &[Address],
    model: &mut Model,
) -> Result<(), NetlinkError> {
    let mut found = Vec::new();
    let mut must_list = question.depth == Depth::List;
    for (ip, way) in ways.iter().filter(|(_, way)| way.table == question.host_rule_table) {
        // Usually it is our own, of an earlier ADD. Anything else is a leftover, with or without
        // others of worse metric behind it.
        let answer = node.netlink.get(route::match_question(*ip))?;
        let message = answer.ok().and_then(route::route_in);
        let is_own = way.link.is_some() && way.link == veth;
        must_list |= !is_own;
        found.extend(message);
    }
    if must_list {
        found.clear();
        let families = Family::ALL.into_iter().filter(|f| attached.iter().any(|a| Family::of(a.ip()) == *f));
        for family in families {
            found.extend(route::list(&mut node.netlink, family, Some(question.host_rule_table))?);
        }
    }
    for message in found {
        let mut known = known_route(node, &message, model)?;
        let is_to_pod = attached.iter().any(|address| {
            known.route.to.addr() == address.ip() && known.route.to.prefix_len() == known.route.to.max_prefix_len()
        });
        if is_to_pod && known.route.table == question.host_rule_table {
            known.id = u32::try_from(model.routes.len()).unwrap_or(u32::MAX);
            model.routes.push(known);
        }
    }
    Ok(())
}

/// The route as a value, its links asked for by number.
fn known_route(
    node: &mut SideSocket,
    message: &route::RouteMessage,
    model: &mut Model,
) -> Result<KnownRoute, NetlinkError> {
    if let Some(index) = route::links_of(message).into_iter().find(|index| node.names.name(*index).is_none())
        && let Some(seen) = link::by_index(&mut node.netlink, index)?
    {
        node.names.insert(seen.index, &seen.name);
        let alias = seen.alias.clone();
        model.links.push(Link { kind: seen.kind, alias, ..Link::named(Device::node(&seen.name)) });
    }
    Ok(route::known(message, 0, Side::Node, &node.names))
}
