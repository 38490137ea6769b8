//! Reads again what is known of an attachment, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use coordinator_sdk::{
    Address, AddressFlags, Device, Family, KnownRoute, Link, LinkFlags, Model, Neighbour, REPLY_TABLE, ReplyMark, Side,
    Sysctl,
};

use super::ObserveError;
use crate::{
    kernel::{
        address, link,
        namespace::Inside,
        neighbour,
        netlink::{NetlinkError, Request},
        route, rule, sysctl,
    },
    raw_routes::RawRoutes,
    sockets::{NodeSockets, PodSockets, SideSocket},
};

/// The objects of `wanted` as they are now, and those of the `lost` routes that are back; what is missing is not
/// in the result.
///
/// A link that has another ifalias than the wanted one is not the wanted link.
///
/// # Errors
/// The kernel refuses.
pub fn observe_known(
    pod: &Inside<'_>,
    node: &mut NodeSockets,
    wanted: &Model,
    lost: &[&KnownRoute],
) -> Result<Model, ObserveError> {
    let in_pod = |source| ObserveError::Netlink { side: Side::Pod, source };
    let on_node = |source| ObserveError::Netlink { side: Side::Node, source };
    let mut sockets = PodSockets::open(pod)?;
    let mut model = Model::default();

    for seen in link::list(&mut sockets.route.netlink).map_err(in_pod)? {
        sockets.route.names.insert(seen.index, &seen.name);
        model.links.push(link_of(&seen, Side::Pod));
    }
    let mut names: BTreeSet<&str> = BTreeSet::new();
    names.extend(wanted.links.iter().map(|link| &link.device).filter(|it| it.side == Side::Node).map(|it| &*it.name));
    names.extend(wanted.neighbours.iter().map(|it| &it.device).filter(|it| it.side == Side::Node).map(|it| &*it.name));
    for name in names {
        if let Some(seen) = link::by_name(&mut node.route.netlink, name).map_err(on_node)? {
            node.route.names.insert(seen.index, &seen.name);
            model.links.push(link_of(&seen, Side::Node));
        }
    }
    model.links.retain(|link| wanted.link(&link.device).is_some_and(|known| known.alias == link.alias));

    for seen in address::list(&mut sockets.route.netlink).map_err(in_pod)? {
        if let Some(name) = sockets.route.names.name(seen.index) {
            let (device, flags) = (Device::pod(name), AddressFlags::default());
            model.addresses.push(Address { device, prefix: seen.prefix, gateway: None, flags });
        }
    }
    model.routes = RawRoutes::read(&mut sockets.route, &Family::ALL).map_err(in_pod)?.known().cloned().collect();
    for family in Family::ALL {
        model.rules.extend(rule::list(&mut sockets.route.netlink, Side::Pod, family).map_err(in_pod)?);
        model.rules.extend(rule::list(&mut node.route.netlink, Side::Node, family).map_err(on_node)?);
        let tables: BTreeSet<u32> = wanted
            .routes_of(Side::Node)
            .filter(|known| known.route.family() == family)
            .map(|known| known.route.table)
            .collect();
        for table in tables {
            let messages = route::list(&mut node.route.netlink, family, Some(table)).map_err(on_node)?;
            let names = &node.route.names;
            model.routes.extend(messages.iter().map(|message| route::known(message, 0, Side::Node, names)));
        }
    }
    model.neighbours = neighbours(&mut sockets.route, Side::Pod, wanted).map_err(in_pod)?;
    model.neighbours.extend(neighbours(&mut node.route, Side::Node, wanted).map_err(on_node)?);
    for known in &wanted.sysctls {
        if let Some(value) = sysctl::read(pod, &known.key)? {
            model.sysctls.push(Sysctl { value, ..known.clone() });
        }
    }
    let marks = sockets.nftables.observe()?.into_iter();
    model.marks.extend(marks.map(|(name, bit)| ReplyMark { device: Device::pod(name), bit, table: REPLY_TABLE }));
    let back = model.routes.iter().filter(|known| lost.iter().any(|other| other.same(known))).cloned().collect();
    let mut now = model.restricted(&wanted.own_keys());
    now.routes.retain(|known| !lost.iter().any(|other| other.same(known)));
    now.extend(Model { routes: back, ..Model::default() });
    Ok(now)
}

fn link_of(seen: &link::KernelLink, side: Side) -> Link {
    Link {
        kind: seen.kind.clone(),
        mac: seen.mac,
        mtu: seen.mtu,
        transmit_queue: seen.transmit_queue,
        flags: LinkFlags { up: seen.up, ..LinkFlags::default() },
        alias: seen.alias.clone(),
        ..Link::named(Device { side, name: seen.name.clone() })
    }
}

fn neighbours(socket: &mut SideSocket, side: Side, wanted: &Model) -> Result<Vec<Neighbour>, NetlinkError> {
    let mut by_link: BTreeMap<u32, &Device> = BTreeMap::new();
    let mut questions = Vec::new();
    for entry in wanted.neighbours.iter().filter(|entry| entry.device.side == side) {
        if let Some(index) = socket.names.index(&entry.device.name) {
            by_link.insert(index, &entry.device);
            questions.push(Request { message: neighbour::question(index, entry.ip), flags: 0 });
        }
    }
    let answers = socket.netlink.transact(&questions)?;
    let mut found = Vec::new();
    for message in answers.into_iter().flatten().flatten() {
        for (index, device) in &by_link {
            let entry = neighbour::parse(message.clone(), *index);
            found.extend(entry.map(|(ip, mac)| Neighbour { device: (*device).clone(), ip, mac }));
        }
    }
    Ok(found)
}
