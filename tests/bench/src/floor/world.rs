//! The lab's node and Pod, as constants, and what an ADD wants of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use coordinator_sdk::{
    Family, MARK_RULE_PRIORITY, Mac, Mark, NODE_RULE_PRIORITY, NextHop, POD_VETH, REPLY_TABLE, Route, Rule, Side,
    TABLE_MAIN, VethPair,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The ifalias of both ends.
pub const ALIAS: &str = "coordinator:floor-0123456789abcdef/eth0";
/// The node's table with the routes to Pods.
pub const HOST_TABLE: u32 = 500;

/// The node's addresses, of which the first is the gateway: `ens1`, `ens2`, `mgmt0`.
const NODE: [IpAddr; 6] = [
    IpAddr::V4(Ipv4Addr::new(10, 6, 1, 10)),
    IpAddr::V4(Ipv4Addr::new(10, 7, 1, 10)),
    IpAddr::V4(Ipv4Addr::new(172, 20, 0, 10)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x10, 6, 0, 0, 0, 0, 0x110)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x10, 7, 0, 0, 0, 0, 0x110)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x172, 0x20, 0, 0, 0, 0, 0x10)),
];
/// Addresses that only a default route leads to.
const FAR: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];
/// The cluster's Pod and service networks.
pub const CIDRS: [IpNet; 4] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 16)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 16)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x244, 0, 0, 0, 0, 0, 0), 64)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, 0), 112)),
];

/// What exists in the families of the Pod.
pub struct World<'f> {
    /// The Pod's families.
    pub families: &'f [Family],
    /// The node's addresses.
    pub node_ips: Vec<IpAddr>,
    /// The Pod's addresses.
    pub pod_ips: Vec<IpAddr>,
    /// The Pod's interface.
    pub attached: String,
    /// The node's end of the veth pair.
    pub node_veth: String,
    /// Tables of the Pod that are not looked into.
    pub aside: Vec<u32>,
}

/// The addresses that the lab gives an interface on one of its networks.
pub fn pod_ips(families: &[Family], lan: u8, number: u8) -> Vec<IpAddr> {
    let third = 5 + lan;
    let all: [IpAddr; 2] = [
        Ipv4Addr::new(10, third, 2, number).into(),
        Ipv6Addr::new(0xfd00, 0x10, u16::from(third), 0, 0, 0, 2, u16::from(number)).into(),
    ];
    all.into_iter().filter(|ip| families.contains(&Family::of(*ip))).collect()
}

/// The router of an address of the lab.
pub fn gateway(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => Ipv4Addr::from_bits((ip.to_bits() & !0xffff) + 1).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits((ip.to_bits() >> 64 << 64) + 1).into(),
    }
}

/// The subnets of an address of the lab, its own first.
pub fn subnets(ip: IpAddr) -> Vec<IpNet> {
    let link_local = Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 64);
    match ip {
        IpAddr::V4(ip) => vec![IpNet::V4(Ipv4Net::new_assert(ip, 16).trunc())],
        IpAddr::V6(ip) => vec![IpNet::V6(Ipv6Net::new_assert(ip, 64).trunc()), IpNet::V6(link_local)],
    }
}

impl<'f> World<'f> {
    /// The world as the Pod of this number and these families sees it.
    pub fn new(families: &'f [Family], number: u8) -> Self {
        let of = |ips: &[IpAddr]| ips.iter().copied().filter(|ip| families.contains(&Family::of(*ip))).collect();
        Self {
            families,
            node_ips: of(&NODE),
            pod_ips: pod_ips(families, 1, number),
            attached: "eth0".to_owned(),
            node_veth: format!("vethfloor{number}"),
            aside: Vec::new(),
        }
    }

    /// The veth pair.
    pub fn pair(&self) -> VethPair {
        VethPair {
            pod: POD_VETH.to_owned(),
            node: self.node_veth.clone(),
            pod_mac: Mac([0x0a, 0, 0, 0, 0, 1]),
            node_mac: Mac([0x0a, 0, 0, 0, 0, 2]),
            mtu: 1500,
        }
    }

    /// Addresses that only a default route leads to.
    pub fn far_ips(&self) -> impl Iterator<Item = IpAddr> + use<'f> {
        let families = self.families;
        FAR.into_iter().filter(move |ip| families.contains(&Family::of(*ip)))
    }

    /// To the node's addresses, to the cluster's networks, and back for replies.
    pub fn pod_routes(&self) -> Vec<Route> {
        let main = |to: IpNet| {
            let source = self.pod_ips.iter().copied().find(|ip| ip.is_ipv4() && to.addr().is_ipv4());
            Route { source, ..Route::direct(Side::Pod, TABLE_MAIN, to, POD_VETH) }
        };
        let mut routes: Vec<Route> = self.node_ips.iter().map(|ip| main(IpNet::from(*ip))).collect();
        for family in self.families {
            let gateway = self.node_ips.iter().copied().find(|ip| Family::of(*ip) == *family);
            let next_hops = vec![NextHop { gateway, device: Some(POD_VETH.to_owned()), weight: 1, onlink: false }];
            let cidrs = CIDRS.into_iter().filter(|cidr| Family::of(cidr.addr()) == *family);
            routes.extend(cidrs.map(|to| Route { link_scope: false, next_hops: next_hops.clone(), ..main(to) }));
            let back = Route::direct(Side::Pod, REPLY_TABLE, family.default_prefix(), POD_VETH);
            routes.push(Route { link_scope: false, next_hops, ..back });
        }
        routes
    }

    /// Marked replies go back as they came.
    pub fn pod_rules(&self) -> Vec<Rule> {
        let marked = |family: &Family| {
            let mut rule = Rule::all(Side::Pod, *family, MARK_RULE_PRIORITY, REPLY_TABLE);
            rule.fwmark = Some(Mark { value: 1, mask: 1 });
            rule
        };
        self.families.iter().map(marked).collect()
    }

    /// To the Pod.
    pub fn node_routes(&self) -> Vec<Route> {
        let host = |ip: &IpAddr| Route {
            metric: ip.is_ipv6().then_some(1),
            ..Route::direct(Side::Node, HOST_TABLE, IpNet::from(*ip), &self.node_veth)
        };
        self.pod_ips.iter().map(host).collect()
    }

    /// The routes to Pods precede the node's own.
    pub fn node_rules(&self) -> Vec<Rule> {
        let all = |family: &Family| Rule::all(Side::Node, *family, NODE_RULE_PRIORITY, HOST_TABLE);
        self.families.iter().map(all).collect()
    }
}
