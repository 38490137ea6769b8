//! A further interface of a Pod that the plugin serves already: what its ADD asks of the kernel, and the way back.
//!
//! The interfaces are alternately in the lab's two subnets. The third is the first to share one: it also gives the first
//! interface a table.

use std::{fs, net::IpAddr};

use anyhow::{Context as _, Result};
use coordinator_sdk::{Family, NextHop, POD_VETH, PROTOCOL, Route, Rule, SOURCE_RULE_PRIORITY, Side, TABLE_MAIN};
use coordinator_stages::kernel::{
    link::{self, LinkNames},
    neighbour,
    netlink::{Netlink, Request},
    route, rule,
};
use ipnet::IpNet;

use super::{
    Places, announce, observe_node, observe_pod, send,
    world::{CIDRS, World, gateway, pod_ips, subnets},
};

/// `RTPROT_BOOT`: who made the interfaces' default routes.
const BOOT: u8 = 3;

/// The n-th interface.
pub(super) struct Further<'f> {
    nth: u8,
    world: World<'f>,
    /// The Pod's first interface and its addresses.
    first: (&'static str, Vec<IpAddr>),
}

/// An interface's routes and rules in a table of its own.
struct Table {
    number: u32,
    interface: String,
    ips: Vec<IpAddr>,
}

impl<'f> Further<'f> {
    /// The interface of this number, in a Pod whose first one has number `number` in the lab, the next one the next.
    pub(super) fn new(families: &'f [Family], nth: u8, number: u8, node_veth: &str) -> Self {
        let mut world = World::new(families, number);
        world.aside = (2..nth).map(table_of).collect();
        world.attached = format!("net{}", nth - 1);
        world.pod_ips = pod_ips(families, lan(nth), number + nth - 1);
        node_veth.clone_into(&mut world.node_veth);
        Self { nth, world, first: ("eth0", pod_ips(families, lan(1), number)) }
    }

    fn table(&self) -> Table {
        Table { number: table_of(self.nth), interface: self.world.attached.clone(), ips: self.world.pod_ips.clone() }
    }

    fn first_table(&self) -> Option<Table> {
        let (interface, ips) = &self.first;
        (self.nth == 3).then(|| Table { number: 103, interface: (*interface).to_owned(), ips: ips.clone() })
    }

    /// Parameters, and their values before and after.
    fn parameters(&self) -> Vec<(String, [&'static str; 2])> {
        let mut interfaces = Vec::new();
        // The second of a subnet finds the first without them.
        interfaces.extend((self.nth == 3).then(|| "eth0".to_owned()));
        interfaces.extend((self.nth == 4).then(|| "net1".to_owned()));
        interfaces.extend((self.nth > 2).then(|| self.world.attached.clone()));
        let path = |name: &str, parameter: &str| format!("/proc/sys/net/ipv4/conf/{name}/{parameter}");
        let both = |name: String| [(path(&name, "arp_announce"), ["0", "2"]), (path(&name, "arp_ignore"), ["0", "1"])];
        interfaces.into_iter().flat_map(both).collect()
    }

    pub(super) fn add(&self, places: &Places) -> Result<()> {
        let world = &self.world;
        let ((mut pod, _nftables, attached), names) = places.in_pod(|| {
            let (mut pod, nftables, links) = observe_pod(places, world)?;
            let mut names = LinkNames::default();
            links.iter().for_each(|link| names.insert(link.index, &link.name));
            ask_neighbours(&mut pod, names.index(POD_VETH), &world.node_ips)?;
            let attached = links.into_iter().find(|link| link.name == world.attached).context("no interface")?;
            Ok(((pod, nftables, attached), names))
        })?;
        let mut node: Netlink = Netlink::open()?;
        let veth = observe_node(&mut node, world)?;
        ask_neighbours(&mut node, veth, &world.pod_ips)?;

        places.in_pod(|| self.parameters().iter().try_for_each(|(path, [_, value])| Ok(fs::write(path, value)?)))?;
        let mut requests = Vec::new();
        let tables: Vec<Table> = self.first_table().into_iter().chain([self.table()]).collect();
        for table in &tables {
            for wanted in table.direct(world) {
                requests.push(route::add(route::message(&wanted, PROTOCOL, &names)?));
            }
        }
        for known in self.table().defaults(TABLE_MAIN) {
            let there = Route { table: self.table().number, ..known.clone() };
            requests.push(route::add(route::message(&there, PROTOCOL, &names)?));
            requests.push(route::remove(route::message(&known, BOOT, &names)?));
        }
        let default = self.first_table().map(|table| table.defaults(table.number)).unwrap_or_default();
        for wanted in tables.iter().flat_map(|table| table.through_node(world)).chain(default) {
            requests.push(route::add(route::message(&wanted, PROTOCOL, &names)?));
        }
        requests.extend(tables.iter().flat_map(Table::rules).map(|it| rule::add(&it)));
        send(&mut pod, &requests)?;

        let mut names = LinkNames::default();
        let node_end = veth.context("no veth")?;
        names.insert(node_end, &world.node_veth);
        let mac = link::by_name(&mut pod, POD_VETH)?.and_then(|link| link.mac).context("no address")?;
        let mut requests: Vec<Request> = world.pod_ips.iter().map(|ip| neighbour::set(node_end, *ip, mac)).collect();
        for wanted in world.node_routes() {
            requests.push(route::add(route::message(&wanted, PROTOCOL, &names)?));
        }
        let own = requests.len();
        requests.extend(world.node_rules().iter().map(rule::add));
        // They are there.
        for answer in node.transact(&requests)?.into_iter().take(own) {
            answer?;
        }
        places.in_pod(|| announce(&attached, world))
    }

    /// Leaves the Pod to the plugin as it was.
    pub(super) fn del(&self, places: &Places) -> Result<()> {
        let mut pod = places.in_pod(|| {
            self.parameters().iter().try_for_each(|(path, [value, _])| fs::write(path, value))?;
            Ok(Netlink::open()?)
        })?;
        let mut names = LinkNames::default();
        link::list(&mut pod)?.iter().for_each(|link| names.insert(link.index, &link.name));
        let mut requests = Vec::new();
        for table in self.first_table().into_iter().chain([self.table()]) {
            requests.extend(table.rules().iter().map(rule::remove));
            let routes = table.through_node(&self.world).into_iter().chain(table.defaults(table.number));
            for made in routes.chain(table.direct(&self.world)) {
                requests.push(route::remove(route::message(&made, PROTOCOL, &names)?));
            }
        }
        for known in self.table().defaults(TABLE_MAIN) {
            requests.push(route::append(route::message(&known, BOOT, &names)?));
        }
        send(&mut pod, &requests)?;
        let mut node: Netlink = Netlink::open()?;
        let veth = link::by_name(&mut node, &self.world.node_veth)?.context("no veth")?;
        let mut names = LinkNames::default();
        names.insert(veth.index, &veth.name);
        let mut requests: Vec<Request> =
            self.world.pod_ips.iter().map(|ip| neighbour::remove(veth.index, *ip)).collect();
        for made in self.world.node_routes() {
            requests.push(route::remove(route::message(&made, PROTOCOL, &names)?));
        }
        send(&mut node, &requests)
    }
}

/// The number of the n-th interface's table; the first one's is made with the third's, behind it.
fn table_of(nth: u8) -> u32 {
    99 + u32::from(nth) + u32::from(nth > 3)
}

/// Of the lab's two networks.
fn lan(nth: u8) -> u8 {
    2 - nth % 2
}

fn ask_neighbours(netlink: &mut Netlink, link: Option<u32>, ips: &[IpAddr]) -> Result<()> {
    let index = link.context("no veth")?;
    let question = |ip: &IpAddr| Request { message: neighbour::question(index, *ip), flags: 0 };
    netlink.transact(&ips.iter().map(question).collect::<Vec<_>>())?;
    Ok(())
}

impl Table {
    /// What the interface reaches itself, and the node.
    fn direct(&self, world: &World<'_>) -> Vec<Route> {
        let mut routes = Vec::new();
        for ip in &self.ips {
            for to in subnets(*ip) {
                let source = Some(*ip).filter(IpAddr::is_ipv4);
                let metric = ip.is_ipv6().then_some(256);
                routes.push(Route { source, metric, ..Route::direct(Side::Pod, self.number, to, &self.interface) });
            }
            let nodes = world.node_ips.iter().filter(|node| node.is_ipv4() == ip.is_ipv4());
            routes.extend(nodes.map(|node| Route::direct(Side::Pod, self.number, IpNet::from(*node), POD_VETH)));
        }
        routes
    }

    fn defaults(&self, table: u32) -> Vec<Route> {
        let by_gateway = |ip: &IpAddr| {
            let to = Family::of(*ip).default_prefix();
            via(Route::direct(Side::Pod, table, to, &self.interface), Some(gateway(*ip)), &self.interface)
        };
        self.ips.iter().map(by_gateway).collect()
    }

    fn through_node(&self, world: &World<'_>) -> Vec<Route> {
        let mut routes = Vec::new();
        for ip in &self.ips {
            let is_like = |other: IpAddr| other.is_ipv4() == ip.is_ipv4();
            let gateway = world.node_ips.iter().copied().find(|node| is_like(*node));
            let cidrs = CIDRS.into_iter().filter(|cidr| is_like(cidr.addr()));
            routes.extend(cidrs.map(|to| via(Route::direct(Side::Pod, self.number, to, POD_VETH), gateway, POD_VETH)));
        }
        routes
    }

    fn rules(&self) -> Vec<Rule> {
        let from = |ip: &IpAddr| Rule {
            sources: Some(IpNet::from(*ip)),
            ..Rule::all(Side::Pod, Family::of(*ip), SOURCE_RULE_PRIORITY, self.number)
        };
        self.ips.iter().map(from).collect()
    }
}

fn via(route: Route, gateway: Option<IpAddr>, device: &str) -> Route {
    let next_hops = vec![NextHop { gateway, device: Some(device.to_owned()), weight: 1, onlink: false }];
    Route { link_scope: false, next_hops, ..route }
}
