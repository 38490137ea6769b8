//! Follows each conversation step by step; the first step that goes wrong is its fault.

use std::net::IpAddr;

use coordinator_sdk::{Device, Drift, Family, Key, Side};
use coordinator_stages::kernel::{lookup::Packet, netlink::KernelError};
use ipnet::IpNet;

use super::{
    Class, Direction, Fault, Hop, Inquiry, Path,
    ask::ask,
    survey::{Exit, Survey},
    target::{class_of, targets},
};
use crate::attachment::AttachmentError;

/// A conversation that is followed.
struct Conversation {
    local: IpAddr,
    remote: IpAddr,
    class: Class,
    direction: Direction,
    /// The interface that it should use both ways.
    interface: String,
    index: u32,
    is_up: bool,
    /// The mark of the Pod's packets.
    mark: u32,
}

/// Follows all of them.
pub(super) fn all(survey: &mut Survey, inquiry: &Inquiry<'_>) -> Result<Vec<Path>, AttachmentError> {
    let mut paths = gone(survey, inquiry);
    for conversation in conversations(survey, inquiry) {
        let (mut out, mut back) = (None, None);
        let fault = follow(survey, &conversation, &mut out, &mut back)?;
        let drifts = match fault {
            Some(_) => survey.drifts.iter().filter(|drift| bears_on(drift, &conversation)).map(shown).collect(),
            None => Vec::new(),
        };
        let Conversation { local, remote, class, direction, interface, .. } = conversation;
        paths.push(Path { local, interface, remote, class, direction, out, back, fault, drifts });
    }
    Ok(paths)
}

fn shown(drift: &Drift) -> String {
    drift.to_string()
}

/// Recorded addresses that the Pod does not have any more.
fn gone(survey: &Survey, inquiry: &Inquiry<'_>) -> Vec<Path> {
    let mut paths = Vec::new();
    for record in inquiry.records {
        for ip in record.addresses.iter().filter(|ip| inquiry.from.is_none_or(|from| from == **ip)) {
            if survey.owner(*ip).is_none() {
                paths.push(Path {
                    local: *ip,
                    interface: record.interface.to_string(),
                    remote: *ip,
                    class: Class::Neighbour,
                    direction: Direction::Inbound,
                    out: None,
                    back: None,
                    fault: Some(Fault::AddressGone),
                    drifts: Vec::new(),
                });
            }
        }
    }
    paths
}

fn conversations(survey: &Survey, inquiry: &Inquiry<'_>) -> Vec<Conversation> {
    let mut all = Vec::new();
    for interface in &survey.interfaces {
        for prefix in &interface.addresses {
            let local = prefix.addr();
            if inquiry.from.is_some_and(|from| from != local) {
                continue;
            }
            for (class, remote) in destinations(survey, inquiry, *prefix) {
                let exit = survey.exit.as_ref();
                let by_exit = |exit: &Exit, direction, mark| Conversation {
                    local,
                    remote,
                    class,
                    direction,
                    interface: exit.name.clone(),
                    index: exit.index,
                    is_up: exit.is_up,
                    mark,
                };
                let by_owner = |direction| Conversation {
                    local,
                    remote,
                    class,
                    direction,
                    interface: interface.name.clone(),
                    index: interface.index,
                    is_up: interface.is_up,
                    mark: 0,
                };
                // The Pod begins: through the node where the destination lies there, else by the address's own.
                match (exit, &survey.missing_exit) {
                    (Some(exit), _) if class.is_through_node() => all.push(by_exit(exit, Direction::Outbound, 0)),
                    (None, Some(name)) if class.is_through_node() => {
                        let lost = by_owner(Direction::Outbound);
                        all.push(Conversation { interface: name.clone(), index: 0, is_up: false, ..lost });
                    }
                    _ => all.push(by_owner(Direction::Outbound)),
                }
                // The other side begins: by the address's own interface …
                if matches!(class, Class::Neighbour | Class::Outside) {
                    all.push(by_owner(Direction::Inbound));
                }
                // … and by way of the node, whose node ports show clients as they are.
                if let Some(exit) = exit.filter(|_| matches!(class, Class::Node | Class::Pod | Class::Outside)) {
                    all.push(by_exit(exit, Direction::Inbound, exit.mark));
                }
            }
        }
    }
    all
}

fn destinations(survey: &Survey, inquiry: &Inquiry<'_>, local: IpNet) -> Vec<(Class, IpAddr)> {
    match inquiry.to {
        Some(to) if Family::of(to) == Family::of(local.addr()) => vec![(class_of(survey, local, to), to)],
        Some(_) => Vec::new(),
        None => targets(survey, local),
    }
}

/// The first thing that goes wrong.
fn follow(
    survey: &mut Survey,
    it: &Conversation,
    out: &mut Option<Hop>,
    back: &mut Option<Hop>,
) -> Result<Option<Fault>, AttachmentError> {
    if !it.is_up {
        return Ok(Some(Fault::LinkDown(format!("the pod's {}", it.interface))));
    }
    // What the Pod sends: a request, or the reply to one.
    let sent = Packet { to: it.remote, from: Some(it.local), incoming: None, mark: it.mark };
    let hop = match ask(survey, Side::Pod, sent)? {
        Ok((hop, _)) => hop,
        Err(refusal) => return Ok(Some(Fault::NoRoute(refusal.to_string()))),
    };
    *out = Some(hop.clone());
    let exit = survey.exit.clone().filter(|exit| exit.name == it.interface);
    if hop.link != it.interface {
        let is_mark_lost = it.direction == Direction::Inbound && it.mark == 0 && exit.is_some();
        return Ok(Some(if is_mark_lost && is_marked_elsewhere(survey, it) {
            Fault::MarkLost(hop)
        } else {
            Fault::WrongWay(hop)
        }));
    }
    if let Some(exit) = &exit
        && let Some(fault) = through_node(survey, it, exit, back)?
    {
        return Ok(Some(fault));
    }
    // What comes in for the Pod: a reply, or a request, which is marked when it comes from the node.
    let received = Packet { to: it.local, from: Some(it.remote), incoming: Some(it.index), mark: it.mark };
    if let Err(refusal) = ask(survey, Side::Pod, received)? {
        return Ok(Some(unheard(survey, Side::Pod, &it.interface, it.local, &refusal)));
    }
    Ok(on_the_wire(survey, it, exit.as_ref()))
}

/// True when the wanted state has a mark for the interface, so that its absence is the fault.
fn is_marked_elsewhere(survey: &Survey, it: &Conversation) -> bool {
    survey.wanted.marks.iter().any(|mark| mark.device == Device::pod(&it.interface))
}

/// The node's part: it takes what the Pod sends, and sends to the Pod by the same pair.
fn through_node(
    survey: &mut Survey,
    it: &Conversation,
    exit: &Exit,
    back: &mut Option<Hop>,
) -> Result<Option<Fault>, AttachmentError> {
    if !exit.node_is_up {
        return Ok(Some(Fault::LinkDown(format!("the node's {}", exit.node_name))));
    }
    let is_of_node = survey.node_addresses.contains(&it.remote);
    let from = Some(it.remote).filter(|_| is_of_node);
    let returned = Packet { to: it.local, from, incoming: None, mark: 0 };
    let hop = match ask(survey, Side::Node, returned)? {
        Ok((hop, _)) => hop,
        Err(refusal) => return Ok(Some(Fault::NodeNoRoute(refusal.to_string()))),
    };
    *back = Some(hop.clone());
    if hop.link != exit.node_name && hop.link != exit.node_end {
        return Ok(Some(Fault::NodeWrongWay(hop)));
    }
    // A service is translated before it is routed: where to, the forwarding table does not say.
    if it.class == Class::Service || it.class == Class::Outside {
        return Ok(None);
    }
    let taken = Packet { to: it.remote, from: Some(it.local), incoming: Some(exit.node_index), mark: 0 };
    let is_forwarded = !is_of_node && it.class != Class::Node;
    // IPv6 looks at this behind the forwarding table, and for all interfaces at once.
    let is_off = match Family::of(it.local) {
        Family::Ipv4 => format!("net/ipv4/conf/{}/forwarding", exit.node_name),
        Family::Ipv6 => "net/ipv6/conf/all/forwarding".to_owned(),
    };
    if is_forwarded && survey.sysctl(Side::Node, &is_off) == Some("0") {
        return Ok(Some(Fault::ForwardingOff(exit.node_name.clone())));
    }
    let answer = ask(survey, Side::Node, taken)?;
    Ok(answer.err().map(|refusal| unheard(survey, Side::Node, &exit.node_name, it.remote, &refusal)))
}

/// Why the kernel drops what comes in: newer ones do not say that it is the reverse path filter.
fn unheard(survey: &Survey, side: Side, link: &str, local: IpAddr, refusal: &KernelError) -> Fault {
    let value = |scope: &str| {
        let value = survey.sysctl(side, &format!("net/ipv4/conf/{scope}/rp_filter"));
        value.and_then(|text| text.parse::<u8>().ok()).unwrap_or(0)
    };
    let value = value("all").max(value(link));
    let link = link.to_owned();
    match (local.is_ipv4() && value > 0, side) {
        (true, Side::Pod) => Fault::ReverseFilter { link, value },
        (true, Side::Node) => Fault::NodeReverseFilter { link, value },
        (false, _) => Fault::Refused(format!("{side}, coming in by {link}: {refusal}")),
    }
}

/// What no forwarding table shows: hardware addresses, and who answers for an address.
fn on_the_wire(survey: &Survey, it: &Conversation, exit: Option<&Exit>) -> Option<Fault> {
    let drift = |wanted: &Key| survey.drifts.iter().find(|drift| drift.key == *wanted);
    if let Some(exit) = exit {
        let entries = [
            Key::Neighbour(Device::node(&exit.node_end), it.local),
            Key::Neighbour(Device::pod(&exit.name), it.remote),
        ];
        let links = [Key::Link(Device::node(&exit.node_end)), Key::Link(Device::pod(&exit.name))];
        let of_mac = |drift: &&Drift| is_of_mac(drift);
        let wrong = entries.iter().filter_map(drift).next();
        let wrong = wrong.or_else(|| links.iter().filter_map(drift).find(of_mac));
        return wrong.map(|drift| Fault::Neighbour(drift.to_string()));
    }
    let answering = ["arp_ignore", "arp_announce"]
        .map(|name| Key::Sysctl(Side::Pod, format!("net/ipv4/conf/{}/{name}", it.interface)));
    let is_v4 = Family::of(it.local) == Family::Ipv4;
    let wrong = answering.iter().filter(|_| is_v4).filter_map(drift).next();
    wrong.map(|drift| Fault::Answers(drift.to_string()))
}

/// True when a link drifted in its hardware address.
fn is_of_mac(drift: &Drift) -> bool {
    let mac = |text: &Option<String>| {
        let text = text.as_deref().unwrap_or_default();
        text.split(", ").find(|part| part.starts_with("MAC ")).map(str::to_owned)
    };
    mac(&drift.expected) != mac(&drift.found)
}

/// True when a drifted object has to do with a conversation.
fn bears_on(drift: &Drift, it: &Conversation) -> bool {
    let family = Family::of(it.local);
    match &drift.key {
        Key::Rule(rule) => rule.family == family && rule.sources.is_none_or(|prefix| prefix.contains(&it.local)),
        Key::Route(Side::Pod, _, to, _) => to.contains(&it.remote),
        Key::Route(Side::Node, _, to, _) => to.contains(&it.local),
        Key::Neighbour(_, ip) => *ip == it.local || *ip == it.remote,
        Key::Link(_) | Key::Mark(_) => true,
        Key::Address(_, prefix) => prefix.addr() == it.local,
        Key::Sysctl(..) => true,
    }
}
