//! What must be known before packets are asked about: interfaces, addresses, rules, marks, and what of ours drifted.

use std::net::IpAddr;

use coordinator_sdk::{
    Drift, Family, KnownRoute, KnownRule, Mode, Model, POD_VETH, Settings, Side, Sysctl, drifts, is_global,
};
use coordinator_stages::{
    kernel::{
        address,
        link::{self, LinkNames},
        netlink::Netlink,
        rule, sysctl,
    },
    observe::observe_known,
    sockets::{NodeSockets, PodSockets},
};

use super::Inquiry;
use crate::{attachment::AttachmentError, record::Record};

/// An interface of the Pod.
#[derive(Debug, Clone)]
pub(super) struct Interface {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) is_up: bool,
    pub(super) addresses: Vec<ipnet::IpNet>,
}

/// The Pod's interface that leads to the node, and the node's end of it, or that end's bridge.
#[derive(Debug, Clone)]
pub(super) struct Exit {
    pub(super) name: String,
    pub(super) index: u32,
    pub(super) is_up: bool,
    /// The node's end of the pair.
    pub(super) node_end: String,
    /// Where the node routes what comes in there: the end itself, or its bridge.
    pub(super) node_name: String,
    pub(super) node_index: u32,
    pub(super) node_is_up: bool,
    /// The mark of replies to what comes in here; 0 when nothing marks them.
    pub(super) mark: u32,
}

/// Both sides, ready to be asked.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) pod: Netlink,
    pub(super) pod_names: LinkNames,
    pub(super) node: NodeSockets,
    pub(super) interfaces: Vec<Interface>,
    pub(super) exit: Option<Exit>,
    /// What the exit would be called, when it should be there and is not.
    pub(super) missing_exit: Option<String>,
    pub(super) rules: Vec<KnownRule>,
    /// The node's addresses.
    pub(super) node_addresses: Vec<IpAddr>,
    /// `rp_filter` and such, of both sides.
    pub(super) sysctls: Vec<Sysctl>,
    /// How the Pod's attachments drifted, each with its record's side of the story.
    pub(super) drifts: Vec<Drift>,
    /// What is wanted of the Pod and the node, all attachments together.
    pub(super) wanted: Model,
    pub(super) settings: Settings,
}

impl Survey {
    /// A parameter that was read.
    pub(super) fn sysctl(&self, side: Side, key: &str) -> Option<&str> {
        self.sysctls.iter().find(|known| known.side == side && known.key == key).map(|known| known.value.as_str())
    }

    /// The interface that bears an address.
    pub(super) fn owner(&self, ip: IpAddr) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.addresses.iter().any(|prefix| prefix.addr() == ip))
    }

    /// The name of a link on one side, or its number.
    pub(super) fn link_name(&mut self, side: Side, index: u32) -> String {
        let known = match side {
            Side::Pod => self.pod_names.name(index),
            Side::Node => self.node.route.names.name(index),
        };
        if let Some(name) = known {
            return name.to_owned();
        }
        let netlink = if side == Side::Pod { &mut self.pod } else { &mut self.node.route.netlink };
        match link::by_index(netlink, index) {
            Ok(Some(found)) => {
                let names = if side == Side::Pod { &mut self.pod_names } else { &mut self.node.route.names };
                names.insert(index, &found.name);
                found.name
            }
            _ => format!("link {index}"),
        }
    }
}

/// Looks at both sides once.
pub(super) fn survey(inquiry: &Inquiry<'_>) -> Result<Survey, AttachmentError> {
    let mut node = NodeSockets::open()?;
    let settings = leading(inquiry.records).map(|record| record.about.settings.clone()).unwrap_or_default();
    let exit_name = match settings.mode {
        Mode::Overlay => settings.pod_default_cni_nic.to_string(),
        _ => POD_VETH.to_owned(),
    };
    let mut wanted = Model::default();
    let mut lost: Vec<&KnownRoute> = Vec::new();
    for record in inquiry.records {
        let own = record.after.restricted(&record.after.own_keys());
        let known = wanted.own_keys();
        wanted.extend(own.without(&known));
        lost.extend(record.lost());
    }
    let mut view = inquiry.namespace.enter(|inside| -> Result<_, AttachmentError> {
        let now = observe_known(inside, &mut node, &wanted, &lost)?;
        let mut sockets = PodSockets::open(inside)?;
        let links = link::list(&mut sockets.route.netlink)?;
        let addresses = address::list(&mut sockets.route.netlink)?;
        let mut rules = Vec::new();
        for family in Family::ALL {
            rules.extend(rule::list(&mut sockets.route.netlink, Side::Pod, family)?);
        }
        let marks = sockets.nftables.observe().map_err(coordinator_stages::observe::ObserveError::from)?;
        let mut sysctls = Vec::new();
        let scopes = ["all"].into_iter().chain(links.iter().map(|link| link.name.as_str()));
        let mut keys: Vec<String> = scopes.map(|scope| format!("net/ipv4/conf/{scope}/rp_filter")).collect();
        keys.push("net/ipv4/conf/all/src_valid_mark".to_owned());
        read(inside, Side::Pod, &keys, &mut sysctls)?;
        Ok((now, sockets.route.netlink, links, addresses, rules, marks, sysctls))
    })??;
    let exit_link = view.2.iter().find(|link| link.name == exit_name).cloned();
    let mark = |name: &str| {
        let found = view.5.iter().find(|(device, _)| device == name);
        found.and_then(|(_, bit)| 1_u32.checked_shl(u32::from(*bit))).unwrap_or(0)
    };
    let mut pod_names = LinkNames::default();
    let mut interfaces = Vec::new();
    for seen in &view.2 {
        pod_names.insert(seen.index, &seen.name);
        let addresses = view.3.iter().filter(|it| it.index == seen.index && is_global(it.prefix.addr()));
        interfaces.push(Interface {
            index: seen.index,
            name: seen.name.clone(),
            is_up: seen.up,
            addresses: addresses.map(|address| address.prefix).collect(),
        });
    }
    let mut exit = None;
    if let Some(seen) = exit_link
        && let Some(lower) = seen.lower
        && let Some(end) = link::by_index(&mut node.route.netlink, lower)?
    {
        let routing = bridge_of(&mut node.route.netlink, &end)?.unwrap_or_else(|| end.clone());
        node.route.names.insert(end.index, &end.name);
        node.route.names.insert(routing.index, &routing.name);
        exit = Some(Exit {
            mark: mark(&seen.name),
            name: seen.name,
            index: seen.index,
            is_up: seen.up,
            node_end: end.name,
            node_name: routing.name,
            node_index: routing.index,
            node_is_up: end.up && routing.up,
        });
    }
    let node_addresses = address::list(&mut node.route.netlink)?.into_iter().map(|it| it.prefix.addr()).collect();
    if let Some(exit) = &exit {
        let mut keys = vec!["net/ipv4/conf/all/rp_filter".to_owned(), "net/ipv6/conf/all/forwarding".to_owned()];
        keys.push(format!("net/ipv4/conf/{}/rp_filter", exit.node_name));
        keys.push(format!("net/ipv4/conf/{}/forwarding", exit.node_name));
        let here = std::mem::take(&mut view.6);
        let read_node = |inside: &coordinator_stages::kernel::namespace::Inside<'_>| {
            let mut sysctls = here;
            read(inside, Side::Node, &keys, &mut sysctls).map(|()| sysctls)
        };
        view.6 = node.namespace.enter(read_node)??;
    }
    let missing_exit = Some(exit_name).filter(|_| exit.is_none() && !inquiry.records.is_empty());
    let drifts = drifts(&view.0, &wanted);
    let (_, pod, _, _, rules, _, sysctls) = view;
    Ok(Survey {
        pod,
        pod_names,
        node,
        interfaces,
        exit,
        missing_exit,
        rules,
        node_addresses,
        sysctls,
        drifts,
        wanted,
        settings,
    })
}

/// The bridge of which the node's end of a pair is a port: packets of the Pod come in by it for routing.
fn bridge_of(node: &mut Netlink, end: &link::KernelLink) -> Result<Option<link::KernelLink>, AttachmentError> {
    let master = end.master.map(|index| link::by_index(node, index)).transpose()?.flatten();
    Ok(master.filter(|master| master.kind == "bridge"))
}

/// The record whose settings speak for the Pod: that of its first interface, else the first one.
fn leading(records: &[Record]) -> Option<&Record> {
    let is_first = |record: &&Record| record.interface == record.about.settings.pod_default_cni_nic;
    records.iter().find(is_first).or(records.first())
}

fn read(
    inside: &coordinator_stages::kernel::namespace::Inside<'_>,
    side: Side,
    keys: &[String],
    sysctls: &mut Vec<Sysctl>,
) -> Result<(), AttachmentError> {
    for key in keys {
        let value = sysctl::read(inside, key).map_err(coordinator_stages::observe::ObserveError::from)?;
        sysctls.extend(value.map(|value| Sysctl { side, key: key.clone(), value }));
    }
    Ok(())
}
