//! The Pod's side: everything in its namespace that routing depends on.

use std::os::fd::AsFd;

use super::{ObserveError, Question, alias_prefix};
use crate::{
    kernel::{
        address,
        link::{self, KernelLink},
        namespace::{Inside, Namespace},
        rule, sysctl,
    },
    raw_routes::RawRoutes,
    sockets::{PodSockets, SideSocket},
};
use coordinator_sdk::{
    Address, Device, Family, Link, LinkFlags, Model, POD_VETH, REPLY_TABLE, ReplyMark, Side, Sysctl,
};

/// More objects of one kind than any Pod has use for: its owner can write anything there.
const MOST: usize = 4096;

/// What the Pod's thread brings home.
pub(super) struct PodView {
    pub(super) sockets: PodSockets,
    pub(super) model: Model,
    pub(super) raw_routes: RawRoutes,
    /// The Pod's links whose other end or lower device has this number on the node.
    pub(super) on_node: Vec<(Device, u32)>,
}

/// Reads the namespace that the calling thread is in as the Pod's.
pub(super) fn read(inside: &Inside<'_>, node: &Namespace, question: &Question<'_>) -> Result<PodView, ObserveError> {
    let in_pod = |source| ObserveError::Netlink { side: Side::Pod, source };
    let mut sockets = PodSockets::open(inside)?;
    let SideSocket { netlink, names } = &mut sockets.route;
    let mut model = Model::default();

    let links = bounded("links", link::list(netlink).map_err(in_pod)?)?;
    let has_lower_elsewhere = links.iter().any(|link| link.lower_namespace.is_some());
    let node_id = match has_lower_elsewhere {
        true => link::namespace_id(netlink, node.as_fd()).map_err(in_pod)?.ok().flatten(),
        false => None,
    };
    let mut on_node = Vec::new();
    for seen in &links {
        names.insert(seen.index, &seen.name);
        let device = Device::pod(&seen.name);
        if let (Some(lower), Some(id)) = (seen.lower, seen.lower_namespace)
            && Some(id) == node_id
        {
            on_node.push((device.clone(), lower));
        }
        model.links.push(link_of(seen, device, question));
    }

    for seen in bounded("addresses", address::list(netlink).map_err(in_pod)?)? {
        let Some(name) = names.name(seen.index) else { continue };
        let device = Device::pod(name);
        let result = question
            .results
            .iter()
            .find(|result| device.name == question.attached && result.prefix.addr() == seen.prefix.addr());
        let mut flags = seen.flags;
        flags.from_result = result.is_some();
        let gateway = result.and_then(|result| result.gateway);
        model.addresses.push(Address { device, prefix: seen.prefix, gateway, flags });
    }

    let is_used = |family| {
        let mut addresses = model.addresses.iter();
        addresses.any(|a| a.is_global() && Family::of(a.ip()) == family)
    };
    let families: Vec<Family> = Family::ALL.into_iter().filter(|family| is_used(*family)).collect();
    for family in &families {
        model.rules.extend(bounded("rules", rule::list(netlink, Side::Pod, *family).map_err(in_pod)?)?);
    }
    let raw_routes = RawRoutes::read_beside(&mut sockets.route, &families, question.aside).map_err(in_pod)?;
    model.routes = bounded("routes", raw_routes.known().cloned().collect())?;

    read_sysctls(inside, &links, question, &mut model)?;
    let marks = sockets.nftables.observe()?;
    let table = REPLY_TABLE;
    model.marks.extend(marks.into_iter().map(|(name, bit)| ReplyMark { device: Device::pod(name), bit, table }));
    Ok(PodView { sockets, model, raw_routes, on_node })
}

fn bounded<T>(what: &'static str, items: Vec<T>) -> Result<Vec<T>, ObserveError> {
    let found = items.len();
    if found > MOST { Err(ObserveError::TooMany { what, found, most: MOST }) } else { Ok(items) }
}

fn link_of(seen: &KernelLink, device: Device, question: &Question<'_>) -> Link {
    let is_ours = seen.alias.as_deref().is_some_and(|alias| alias.starts_with(&alias_prefix(question.container)));
    Link {
        kind: seen.kind.clone(),
        mac: seen.mac,
        permanent_mac: seen.permanent_mac,
        mtu: seen.mtu,
        min_mtu: seen.min_mtu,
        max_mtu: seen.max_mtu,
        transmit_queue: seen.transmit_queue,
        flags: LinkFlags {
            up: seen.up,
            carrier: seen.carrier,
            noarp: seen.noarp,
            attached: seen.name == question.attached,
            first: seen.name == question.first,
            ours: is_ours,
        },
        pci: seen.parent_device.clone(),
        alias: seen.alias.clone(),
        ..Link::named(device)
    }
}

/// Reads what the sysctls stage may write, so that a failed ADD can write it back.
fn read_sysctls(
    inside: &Inside<'_>,
    links: &[KernelLink],
    question: &Question<'_>,
    model: &mut Model,
) -> Result<(), ObserveError> {
    let mut keys = vec!["net/ipv4/conf/all/src_valid_mark".to_owned()];
    let scopes = ["all", "default"].into_iter().chain(links.iter().filter(|l| !l.loopback).map(|l| l.name.as_str()));
    keys.extend(scopes.map(|scope| format!("net/ipv4/conf/{scope}/rp_filter")));
    for name in [question.attached, question.first, POD_VETH] {
        if links.iter().any(|link| link.name == name) {
            keys.push(format!("net/ipv6/conf/{name}/disable_ipv6"));
        }
    }
    let sharing = model.links.iter().map(|link| &link.device).filter(|device| model.shares_subnet(device));
    keys.extend(sharing.flat_map(|device| {
        ["arp_ignore", "arp_announce"].map(|parameter| format!("net/ipv4/conf/{}/{parameter}", device.name))
    }));
    // A default route that is moved comes back with the next advertisement, unless this is switched off.
    let advertised = model.routes.iter().filter(|known| known.flags.from_router_advertisement);
    let devices = advertised.flat_map(|known| &known.route.next_hops).filter_map(|hop| hop.device.as_deref());
    keys.extend(devices.map(|name| format!("net/ipv6/conf/{name}/accept_ra_defrtr")));
    if question.attached != question.first {
        keys.push(format!("net/ipv6/conf/{}/accept_ra_defrtr", question.attached));
    }
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let value = match shown(links, &key) {
            None => sysctl::read(inside, &key)?,
            value => value,
        };
        if let Some(value) = value {
            model.sysctls.push(Sysctl { side: Side::Pod, key, value });
        }
    }
    Ok(())
}

/// The value of a link's parameter that the link was shown with.
fn shown(links: &[KernelLink], key: &str) -> Option<String> {
    let (family, rest) = key.strip_prefix("net/")?.split_once("/conf/")?;
    let (name, parameter) = rest.rsplit_once('/')?;
    let value = links.iter().find(|link| link.name == name)?.parameter(family, parameter)?;
    Some(value.to_string())
}
