//! Links by netlink: showing, making and altering them.

use std::{
    collections::BTreeMap,
    os::fd::{AsRawFd, BorrowedFd},
};

use coordinator_sdk::{LinkEdit, Mac, VethPair};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{
        AfSpecInet, AfSpecInet6, AfSpecUnspec, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkExtentMask, LinkFlags,
        LinkInfo, LinkMessage,
    },
    nsid::{NsidAttribute, NsidMessage},
};

use super::netlink::{KernelError, Netlink, NetlinkError, Request};

/// A link as the kernel shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelLink {
    /// Its number in this namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// `IFLA_INFO_KIND`, or empty.
    pub kind: String,
    /// Six octets, when it has a hardware address like that.
    pub mac: Option<Mac>,
    /// The address it was born with.
    pub permanent_mac: Option<Mac>,
    /// Bytes.
    pub mtu: u32,
    /// Bytes.
    pub min_mtu: u32,
    /// Bytes; 0 when the driver does not say.
    pub max_mtu: u32,
    /// Packets.
    pub transmit_queue: u32,
    /// `IFF_UP`.
    pub up: bool,
    /// `IFF_LOWER_UP`.
    pub carrier: bool,
    /// `IFF_NOARP`.
    pub noarp: bool,
    /// `IFF_LOOPBACK`.
    pub loopback: bool,
    /// The number of the peer or lower device (`IFLA_LINK`), in `lower_namespace`.
    pub lower: Option<u32>,
    /// The bridge or other master that it is a port of.
    pub master: Option<u32>,
    /// The namespace id in which `lower` counts; absent = this one.
    pub lower_namespace: Option<i32>,
    /// The ifalias.
    pub alias: Option<String>,
    /// The device's bus address.
    pub parent_device: Option<String>,
    /// Parameters of its own that a link is shown with: the end of each one's name below `net`, and its value.
    parameters: Vec<(&'static str, i32)>,
}

impl KernelLink {
    /// The value of `net/<family>/conf/<this link>/<name>`, when the link is shown with it: a file that need not be
    /// opened.
    pub fn parameter(&self, family: &str, name: &str) -> Option<i32> {
        let is_it = |known: &str| known.split_once('/') == Some((family, name));
        self.parameters.iter().find(|(known, _)| is_it(known)).map(|(_, value)| *value)
    }
}

fn parameters(spec: &AfSpecUnspec) -> Vec<(&'static str, i32)> {
    let of_v4 = |attribute: &AfSpecInet| match attribute {
        AfSpecInet::DevConf(conf) => Some([
            ("ipv4/rp_filter", conf.rp_filter),
            ("ipv4/arp_ignore", conf.arp_ignore),
            ("ipv4/arp_announce", conf.arp_announce),
        ]),
        _ => None,
    };
    let of_v6 = |attribute: &AfSpecInet6| match attribute {
        AfSpecInet6::DevConf(conf) => {
            Some([("ipv6/disable_ipv6", conf.disable_ipv6), ("ipv6/accept_ra_defrtr", conf.accept_ra_defrtr)])
        }
        _ => None,
    };
    match spec {
        AfSpecUnspec::Inet(attributes) => attributes.iter().filter_map(of_v4).flatten().collect(),
        AfSpecUnspec::Inet6(attributes) => attributes.iter().filter_map(of_v6).flatten().collect(),
        _ => Vec::new(),
    }
}

/// Numbers and names of one namespace's links.
#[derive(Debug, Clone, Default)]
pub struct LinkNames {
    names: BTreeMap<u32, String>,
}

impl LinkNames {
    /// Remembers a link.
    pub fn insert(&mut self, index: u32, name: &str) {
        self.names.retain(|_, known| known != name);
        self.names.insert(index, name.to_owned());
    }

    /// The link's name.
    pub fn name(&self, index: u32) -> Option<&str> {
        self.names.get(&index).map(String::as_str)
    }

    /// The link's number.
    pub fn index(&self, name: &str) -> Option<u32> {
        self.names.iter().find(|(_, known)| *known == name).map(|(index, _)| *index)
    }
}

fn bare_question() -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    message
}

/// All links.
///
/// # Errors
/// As [`Netlink::dump`].
pub fn list(netlink: &mut Netlink) -> Result<Vec<KernelLink>, NetlinkError> {
    let answers = netlink.dump("links", RouteNetlinkMessage::GetLink(bare_question()))?;
    Ok(answers.into_iter().filter_map(parse).collect())
}

/// The link with this name, when there is one.
///
/// # Errors
/// The kernel refuses for another reason than that there is none.
pub fn by_name(netlink: &mut Netlink, name: &str) -> Result<Option<KernelLink>, NetlinkError> {
    one(netlink, question_by_name(name))
}

/// The question for the link with this name.
pub fn question_by_name(name: &str) -> RouteNetlinkMessage {
    let mut message = bare_question();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    RouteNetlinkMessage::GetLink(message)
}

/// The link with this number, when there is one.
///
/// # Errors
/// The kernel refuses for another reason than that there is none.
pub fn by_index(netlink: &mut Netlink, index: u32) -> Result<Option<KernelLink>, NetlinkError> {
    one(netlink, question_by_index(index))
}

/// The question for the link with this number.
pub fn question_by_index(index: u32) -> RouteNetlinkMessage {
    let mut message = bare_question();
    message.header.index = index;
    RouteNetlinkMessage::GetLink(message)
}

fn one(netlink: &mut Netlink, question: RouteNetlinkMessage) -> Result<Option<KernelLink>, NetlinkError> {
    match netlink.get(question)? {
        Ok(answers) => Ok(answers.into_iter().find_map(parse)),
        Err(error) if error.is_absent() => Ok(None),
        Err(source) => Err(NetlinkError::Refused { what: "link", source }),
    }
}

/// The id by which this namespace knows `other`; absent when no link has joined them yet.
///
/// # Errors
/// The conversation fails. The kernel's refusal is a value: `other` is no network namespace then.
pub fn namespace_id(
    netlink: &mut Netlink,
    other: BorrowedFd<'_>,
) -> Result<Result<Option<i32>, KernelError>, NetlinkError> {
    let mut message = NsidMessage::default();
    message.attributes.push(NsidAttribute::Fd(u32::try_from(other.as_raw_fd()).unwrap_or(u32::MAX)));
    let id = |answer: RouteNetlinkMessage| match answer {
        RouteNetlinkMessage::NewNsId(message) => message.attributes.iter().find_map(|attribute| match attribute {
            NsidAttribute::Id(id) if *id >= 0 => Some(*id),
            _ => None,
        }),
        _ => None,
    };
    Ok(netlink.get(RouteNetlinkMessage::GetNsId(message))?.map(|answers| answers.into_iter().find_map(id)))
}

fn mac_of(bytes: &[u8]) -> Option<Mac> {
    bytes.try_into().ok().map(Mac)
}

/// The link that a message shows.
pub fn parse(message: RouteNetlinkMessage) -> Option<KernelLink> {
    let RouteNetlinkMessage::NewLink(message) = message else { return None };
    let flags = message.header.flags;
    let mut link = KernelLink {
        index: message.header.index,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        noarp: flags.contains(LinkFlags::Noarp),
        loopback: flags.contains(LinkFlags::Loopback),
        ..KernelLink::default()
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Address(bytes) => link.mac = mac_of(&bytes),
            LinkAttribute::PermAddress(bytes) => link.permanent_mac = mac_of(&bytes),
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::MinMtu(mtu) => link.min_mtu = mtu,
            LinkAttribute::MaxMtu(mtu) => link.max_mtu = mtu,
            LinkAttribute::TxQueueLen(length) => link.transmit_queue = length,
            LinkAttribute::Link(index) => link.lower = Some(index),
            LinkAttribute::Controller(index) => link.master = Some(index),
            LinkAttribute::LinkNetNsId(id) => link.lower_namespace = Some(id),
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias),
            LinkAttribute::ParentDevName(name) => link.parent_device = Some(name),
            LinkAttribute::AfSpecUnspec(specs) => link.parameters = specs.iter().flat_map(parameters).collect(),
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    if let LinkInfo::Kind(kind) = info {
                        link.kind = kind.to_string();
                    }
                }
            }
            _ => {}
        }
    }
    Some(link)
}

/// Makes a veth pair, both ends down: one in the socket's namespace (the node), the other in `pod`.
pub fn create_veth(pair: &VethPair, pod: BorrowedFd<'_>) -> Request {
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName(pair.pod.clone()),
        LinkAttribute::Address(pair.pod_mac.0.to_vec()),
        LinkAttribute::Mtu(pair.mtu),
        LinkAttribute::NetNsFd(pod.as_raw_fd()),
    ];
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(pair.node.clone()),
        LinkAttribute::Address(pair.node_mac.0.to_vec()),
        LinkAttribute::Mtu(pair.mtu),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    Request { message: RouteNetlinkMessage::NewLink(message), flags: NLM_F_CREATE | NLM_F_EXCL }
}

fn addressed(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.interface_family = AddressFamily::Unspec;
    message.header.index = index;
    message
}

/// Alters a link: every value that is set.
pub fn set(index: u32, edit: &LinkEdit) -> Request {
    let mut message = addressed(index);
    if let Some(up) = edit.up {
        message.header.change_mask = LinkFlags::Up;
        message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    }
    message.attributes.extend(edit.mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
    message.attributes.extend(edit.mtu.map(LinkAttribute::Mtu));
    message.attributes.extend(edit.transmit_queue.map(LinkAttribute::TxQueueLen));
    Request { message: RouteNetlinkMessage::SetLink(message), flags: 0 }
}

/// Gives a link an ifalias, then raises it.
///
/// A veth's end cannot be raised while the pair is made: the kernel answers ENOTCONN. Two requests, because a
/// link that is up and gets an ifalias without a carrier makes the kernel look at every IPv6 route it has.
pub fn claim(index: u32, alias: &str) -> [Request; 2] {
    let mut named = addressed(index);
    named.attributes.push(LinkAttribute::IfAlias(alias.to_owned()));
    let mut raised = addressed(index);
    raised.header.change_mask = LinkFlags::Up;
    raised.header.flags = LinkFlags::Up;
    [named, raised].map(|message| Request { message: RouteNetlinkMessage::SetLink(message), flags: 0 })
}

/// Deletes a link.
pub fn delete(index: u32) -> Request {
    Request { message: RouteNetlinkMessage::DelLink(addressed(index)), flags: 0 }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            isolated,
            namespace::{Inside, Namespace},
            sysctl,
        },
        *,
    };

    #[test]
    fn a_link_is_shown_with_what_its_parameters_say() {
        isolated(|| {
            let checks = |inside: &Inside<'_>| {
                for (key, value) in [("ipv4/conf/lo/rp_filter", "2"), ("ipv4/conf/lo/arp_announce", "1")] {
                    sysctl::write(inside, &format!("net/{key}"), value).unwrap();
                }
                let links = list(&mut Netlink::open().unwrap()).unwrap();
                let lo = links.iter().find(|link| link.name == "lo").unwrap();
                assert_eq!(lo.parameters.len(), 5, "{lo:?}");
                for (name, value) in &lo.parameters {
                    let key = format!("net/{}", name.replace('/', "/conf/lo/"));
                    assert_eq!(sysctl::read(inside, &key).unwrap(), Some(value.to_string()), "{key}");
                }
                assert_eq!(lo.parameter("ipv4", "rp_filter"), Some(2));
                assert_eq!(lo.parameter("ipv4", "disable_ipv6"), None);
            };
            Namespace::current().unwrap().enter(checks).unwrap();
        });
    }
}
