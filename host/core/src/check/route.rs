//! Routes and rules: out of this attachment's links, in tables and at priorities of ours.

use std::net::IpAddr;

use coordinator_sdk::{
    Device, NODE_RULE_PRIORITY, NextHop, REPLY_TABLE, Route, RouteKind, Rule, SOURCE_RULE_PRIORITY, Side, TABLE_MAIN,
};
use ipnet::IpNet;

use super::{Checker, Problem, number, text, unicast};

/// The last priority of a Pod's rules that a stage may use; the first is that of the source rules.
pub(super) const LAST_PRIORITY: u32 = 1999;
/// More ways than a route has.
const NEXT_HOPS: u64 = 64;

impl Checker<'_> {
    pub(super) fn route(&self, route: &Route) -> Result<(), Problem> {
        destination(route.to)?;
        match route.side {
            Side::Pod if route.table == TABLE_MAIN => {}
            Side::Pod => self.pod_table(route.table)?,
            Side::Node => {
                self.node_table(route.table)?;
                self.served(route.to)?;
            }
        }
        number("number of next hops", u64::try_from(route.next_hops.len()).unwrap_or(u64::MAX), 0, NEXT_HOPS)?;
        if route.kind == RouteKind::Unicast && route.next_hops.is_empty() {
            return Err(Problem::Number { name: "number of next hops", value: 0, least: 1, most: NEXT_HOPS });
        }
        route.next_hops.iter().try_for_each(|hop| self.next_hop(route.side, hop))?;
        route.mtu.map_or(Ok(()), |mtu| number("mtu", u64::from(mtu), 68, 65535))?;
        route.source.map_or(Ok(()), |ip| self.own_address(route.side, ip))
    }

    fn next_hop(&self, side: Side, hop: &NextHop) -> Result<(), Problem> {
        // Without a device the kernel would look for one, and might find anybody's.
        let name = hop.device.clone().unwrap_or_default();
        self.own_link(&Device { side, name })?;
        number("weight", u64::from(hop.weight), 1, 256)?;
        hop.gateway.map_or(Ok(()), unicast)
    }

    /// A route that was observed in the Pod and leaves by this attachment's links only.
    pub(super) fn observed_route(&self, id: u32) -> Result<(), Problem> {
        let known = self.facts.model.route(id).ok_or(Problem::NoRoute(id))?;
        let devices = known.route.next_hops.iter().map(|hop| hop.device.clone().unwrap_or_default());
        devices.map(Device::pod).try_for_each(|device| self.own_link(&device))
    }

    pub(super) fn rule(&self, rule: &Rule) -> Result<(), Problem> {
        let (first, last) = match rule.side {
            Side::Pod => (SOURCE_RULE_PRIORITY, LAST_PRIORITY),
            Side::Node => (NODE_RULE_PRIORITY, NODE_RULE_PRIORITY),
        };
        if !(first..=last).contains(&rule.priority) {
            return Err(Problem::Priority { priority: rule.priority, first, last });
        }
        match rule.side {
            Side::Pod => self.pod_table(rule.table)?,
            Side::Node => self.node_table(rule.table)?,
        }
        [&rule.incoming, &rule.outgoing].into_iter().flatten().try_for_each(|name| text::interface("interface", name))
    }

    /// A table of the Pod: one of ours, and no other interface's.
    pub(super) fn pod_table(&self, table: u32) -> Result<(), Problem> {
        let wrong = |reason| Err(Problem::Table { table, reason });
        if (253..=255).contains(&table) {
            return wrong("253, 254 and 255 are the kernel's own");
        }
        if table < REPLY_TABLE {
            return wrong("tables of stages begin with 100");
        }
        let others = self.facts.others.iter().filter_map(|other| other.table);
        let mut links = self.facts.model.links.iter().filter(|link| link.device.side == Side::Pod);
        let is_of_link = |other: &coordinator_sdk::Link| other.table == Some(table) && !self.is_own(&other.device);
        if others.into_iter().any(|other| other == table) || links.any(is_of_link) {
            return wrong("it is another interface's");
        }
        Ok(())
    }

    fn node_table(&self, table: u32) -> Result<(), Problem> {
        let reason = "on the node only hostRuleTable is ours";
        let ours = self.facts.settings.host_rule_table;
        if table == ours { Ok(()) } else { Err(Problem::Table { table, reason }) }
    }

    /// What the node may have for this Pod: one of the attachment's addresses, alone.
    pub(super) fn served(&self, to: IpNet) -> Result<(), Problem> {
        let addresses = self.facts.attached_addresses();
        let is_served = addresses.iter().any(|address| IpNet::from(address.ip()) == to);
        let reason = "on the node only this attachment's addresses may be named";
        if is_served { Ok(()) } else { Err(Problem::Address { ip: to.addr(), reason }) }
    }

    fn own_address(&self, side: Side, ip: IpAddr) -> Result<(), Problem> {
        let mut addresses = self.facts.model.addresses.iter().filter(|address| address.device.side == side);
        let reason = "it is no address of this side, so it cannot be a source";
        if addresses.any(|address| address.ip() == ip) { Ok(()) } else { Err(Problem::Address { ip, reason }) }
    }
}

/// Any prefix of hosts.
fn destination(to: IpNet) -> Result<(), Problem> {
    match to.addr() {
        _ if to.prefix_len() == 0 => Ok(()),
        ip if ip.is_unspecified() => Ok(()),
        _ => unicast(to.addr()),
    }
}
