//! Policy rules by netlink.

use coordinator_sdk::{Family, KnownRule, Mark, PROTOCOL, Rule, Side};
use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::RouteProtocol,
    rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage},
};

use super::netlink::{Netlink, NetlinkError, Request};

/// All rules of a family that look up a table.
///
/// # Errors
/// As [`Netlink::dump`].
pub fn list(netlink: &mut Netlink, side: Side, family: Family) -> Result<Vec<KnownRule>, NetlinkError> {
    let mut question = RuleMessage::default();
    question.header.family = kernel_family(family);
    let answers = netlink.dump("rules", RouteNetlinkMessage::GetRule(question))?;
    Ok(answers.into_iter().filter_map(|answer| parse(answer, side, family)).collect())
}

fn kernel_family(family: Family) -> AddressFamily {
    match family {
        Family::Ipv4 => AddressFamily::Inet,
        Family::Ipv6 => AddressFamily::Inet6,
    }
}

fn parse(message: RouteNetlinkMessage, side: Side, family: Family) -> Option<KnownRule> {
    let RouteNetlinkMessage::NewRule(message) = message else { return None };
    if message.header.action != RuleAction::ToTable {
        return None;
    }
    let mut rule = Rule::all(side, family, 0, u32::from(message.header.table));
    let mut protocol = 0;
    let (mut mark, mut mask) = (0, 0);
    // A rule that asks for more than a `Rule` can say is none of ours, whoever it says made it.
    let mut asks_for_more = message.header.tos != 0 || message.header.flags.contains(RuleFlags::Invert);
    for attribute in message.attributes {
        match attribute {
            RuleAttribute::Priority(priority) => rule.priority = priority,
            RuleAttribute::Table(table) => rule.table = table,
            RuleAttribute::Source(ip) => rule.sources = IpNet::new(ip, message.header.src_len).ok(),
            RuleAttribute::Destination(ip) => rule.to = IpNet::new(ip, message.header.dst_len).ok(),
            RuleAttribute::FwMark(value) => mark = value,
            RuleAttribute::FwMask(value) => mask = value,
            RuleAttribute::Iifname(name) => rule.incoming = Some(name),
            RuleAttribute::Oifname(name) => rule.outgoing = Some(name),
            RuleAttribute::Protocol(value) => protocol = u8::from(value),
            RuleAttribute::SuppressPrefixLen(u32::MAX) | RuleAttribute::SuppressIfGroup(u32::MAX) => {}
            RuleAttribute::L3MDev(false) | RuleAttribute::Realm(_) => {}
            _ => asks_for_more = true,
        }
    }
    if asks_for_more {
        protocol = 0;
    }
    rule.fwmark = (mask != 0).then_some(Mark { value: mark, mask });
    Some(KnownRule { rule, protocol })
}

fn message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = kernel_family(rule.family);
    message.header.action = RuleAction::ToTable;
    message.header.table = u8::try_from(rule.table).unwrap_or(0);
    let attributes = &mut message.attributes;
    attributes.push(RuleAttribute::Priority(rule.priority));
    attributes.push(RuleAttribute::Table(rule.table));
    attributes.push(RuleAttribute::Protocol(RouteProtocol::from(PROTOCOL)));
    if let Some(prefix) = rule.sources {
        message.header.src_len = prefix.prefix_len();
        attributes.push(RuleAttribute::Source(prefix.addr()));
    }
    if let Some(prefix) = rule.to {
        message.header.dst_len = prefix.prefix_len();
        attributes.push(RuleAttribute::Destination(prefix.addr()));
    }
    if let Some(mark) = rule.fwmark {
        attributes.push(RuleAttribute::FwMark(mark.value));
        attributes.push(RuleAttribute::FwMask(mark.mask));
    }
    attributes.extend(rule.incoming.clone().map(RuleAttribute::Iifname));
    attributes.extend(rule.outgoing.clone().map(RuleAttribute::Oifname));
    message
}

/// Adds a rule of ours, if there is none like it.
pub fn add(rule: &Rule) -> Request {
    Request { message: RouteNetlinkMessage::NewRule(message(rule)), flags: NLM_F_CREATE | NLM_F_EXCL }
}

/// Removes a rule of ours: the protocol number is part of the request, so a foreign twin stays.
pub fn remove(rule: &Rule) -> Request {
    Request { message: RouteNetlinkMessage::DelRule(message(rule)), flags: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_asks_for_more_is_not_ours() {
        super::super::isolated(|| {
            let mut netlink = Netlink::open().unwrap();
            let rule = Rule { sources: "192.0.2.1/32".parse().ok(), ..Rule::all(Side::Pod, Family::Ipv4, 1001, 101) };
            netlink.transact(&[add(&rule)]).unwrap().pop().unwrap().unwrap();
            let ours = |netlink: &mut Netlink| {
                let mut all = list(netlink, Side::Pod, Family::Ipv4).unwrap();
                all.retain(|known| known.protocol == PROTOCOL);
                all
            };
            assert_eq!(ours(&mut netlink), [KnownRule { rule: rule.clone(), protocol: PROTOCOL }]);
            for more in ["sport 80", "ipproto tcp", "tos 0x10", "uidrange 0-0", "suppress_prefixlength 0"] {
                let words = format!("rule add from 192.0.2.2 lookup 101 priority 1002 protocol {PROTOCOL} {more}");
                let done = std::process::Command::new("ip").args(words.split(' ')).status().unwrap();
                assert!(done.success(), "{more}");
                assert_eq!(ours(&mut netlink).len(), 1, "{more}");
            }
            netlink.transact(&[remove(&rule)]).unwrap().pop().unwrap().unwrap();
            assert_eq!(ours(&mut netlink), []);
        });
    }
}
