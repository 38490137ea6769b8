//! One question to one side, with the rule that led to the answer.

use std::net::IpAddr;

use coordinator_sdk::{Family, KnownRule, Rule, Side};
use coordinator_stages::kernel::{
    lookup::{self, Found, Packet},
    netlink::{KernelError, NetlinkError},
    route, rule,
};

use super::{Hop, survey::Survey};

/// Asks one side; a refusal is an answer.
pub(super) fn ask(
    survey: &mut Survey,
    side: Side,
    packet: Packet,
) -> Result<Result<(Hop, bool), KernelError>, NetlinkError> {
    let netlink = if side == Side::Pod { &mut survey.pod } else { &mut survey.node.route.netlink };
    let found = match lookup::ask(netlink, packet)? {
        Ok(found) => found,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let Found { is_local, table, link, gateway, route } = found;
    let link = link.map(|index| survey.link_name(side, index)).unwrap_or_default();
    let rule = deciding(survey, side, packet, table)?;
    let names = if side == Side::Pod { &survey.pod_names } else { &survey.node.route.names };
    let known = route::known(&route, 0, side, names);
    let route = shown(&known.route.to_string());
    Ok(Ok((Hop { side, link, gateway, table, rule, route }, is_local)))
}

/// A route's text without its table, which stands beside it.
fn shown(text: &str) -> String {
    text.rsplit_once(" table ").map_or(text, |(route, _)| route).to_owned()
}

/// The first rule that fits the packet and leads to the table.
fn deciding(survey: &mut Survey, side: Side, packet: Packet, table: u32) -> Result<Option<Rule>, NetlinkError> {
    let family = Family::of(packet.to);
    let incoming = packet.incoming.map(|index| survey.link_name(side, index));
    let of_node;
    let rules: &[KnownRule] = match side {
        Side::Pod => &survey.rules,
        Side::Node => {
            of_node = rule::list(&mut survey.node.route.netlink, Side::Node, family)?;
            &of_node
        }
    };
    let mut fitting: Vec<&Rule> = rules.iter().map(|known| &known.rule).collect();
    fitting.retain(|rule| {
        rule.family == family && rule.table == table && fits(rule, packet.from, packet, incoming.as_deref())
    });
    fitting.sort_by_key(|rule| rule.priority);
    Ok(fitting.first().map(|rule| (*rule).clone()))
}

fn fits(rule: &Rule, from: Option<IpAddr>, packet: Packet, incoming: Option<&str>) -> bool {
    let has_source = rule.sources.is_none_or(|prefix| from.is_some_and(|ip| prefix.contains(&ip)));
    let has_destination = rule.to.is_none_or(|prefix| prefix.contains(&packet.to));
    let has_mark = rule.fwmark.is_none_or(|mark| packet.mark & mark.mask == mark.value);
    // What is sent from here comes from the loopback, to a rule.
    let has_way = rule.incoming.as_deref().is_none_or(|name| name == incoming.unwrap_or("lo"));
    has_source && has_destination && has_mark && has_way && rule.outgoing.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use coordinator_sdk::Mark;

    #[test]
    fn a_rule_fits_by_all_that_it_says() {
        let packet =
            Packet { to: [10, 96, 0, 1].into(), from: Some([10, 6, 2, 20].into()), incoming: None, mark: 0x101 };
        let all = Rule::all(Side::Pod, Family::Ipv4, 1, 254);
        let fit = |rule: &Rule| fits(rule, packet.from, packet, None);
        assert!(fit(&all));
        assert!(fit(&Rule { fwmark: Some(Mark { value: 1, mask: 1 }), ..all.clone() }));
        assert!(!fit(&Rule { fwmark: Some(Mark { value: 1, mask: 0xffff }), ..all.clone() }));
        assert!(fit(&Rule { sources: Some("10.6.0.0/16".parse().unwrap()), ..all.clone() }));
        assert!(!fit(&Rule { to: Some("10.97.0.0/16".parse().unwrap()), ..all.clone() }));
        assert!(fit(&Rule { incoming: Some("lo".to_owned()), ..all.clone() }));
        assert!(!fit(&Rule { incoming: Some("eth0".to_owned()), ..all }));
    }
}
