//! Pods whose first interface an overlay CNI made, in the shapes that are found in clusters.

use anyhow::Result;

use crate::{
    node::{Families, Lab},
    pod::Pod,
};

/// How an overlay CNI makes a Pod's first interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlay {
    /// A host address, a link-local router with a route to it, proxy ARP on the node.
    Calico,
    /// The same, the router reached by a route that is `onlink`.
    CalicoOnlink,
    /// The node's own address as router, and an MTU on the routes.
    Cilium,
    /// A bridge on the node, with an address for all its Pods.
    Flannel,
}

impl Overlay {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Calico, Self::CalicoOnlink, Self::Cilium, Self::Flannel];
}

impl Lab {
    /// A Pod with an overlay interface; `number` (2 to 99) tells Pods apart.
    ///
    /// # Errors
    /// A Pod of that name or number exists.
    pub fn overlay_pod(
        &self,
        name: &str,
        interface: &str,
        number: u8,
        shape: Overlay,
        families: Families,
    ) -> Result<Pod> {
        let pod = Pod::create(name)?;
        let (v4, v6) =
            (format!("10.244.{}.{number}", shape as u8 + 2), format!("fd00:244::{}:{number:x}", shape as u8 + 2));
        let end = format!("over{number}");
        self.node.ip(&[
            &format!("link add {end} address ee:ee:ee:ee:ee:ee type veth peer name {interface} netns {name}"),
            &format!("link set {end} up"),
        ])?;
        pod.host.ip(&[&format!("link set {interface} up")])?;
        self.node.sysctl(&format!("net/ipv4/conf/{end}/proxy_arp"), "1")?;
        self.node.sysctl(&format!("net/ipv4/neigh/{end}/proxy_delay"), "0")?;
        if families.has_v4() {
            self.join_v4(&pod, interface, &end, &v4, shape)?;
            pod.push_address(v4.parse()?);
        }
        if families.has_v6() {
            self.join_v6(&pod, interface, &end, &v6, shape)?;
            pod.push_address(v6.parse()?);
        }
        // The kernel takes its time to notice carriers, and brings addresses and routes of its own then.
        for link in [end.as_str()].into_iter().chain((shape == Overlay::Flannel).then_some("cni0")) {
            self.node.await_carrier(link)?;
            self.node.await_addresses(link)?;
        }
        pod.host.serve()?;
        Ok(pod)
    }

    fn join_v4(&self, pod: &Pod, interface: &str, end: &str, ip: &str, shape: Overlay) -> Result<()> {
        let host = format!("address add {ip}/32 dev {interface}");
        match shape {
            Overlay::Calico => pod.host.ip(&[
                &host,
                &format!("route add 169.254.1.1 dev {interface} scope link"),
                &format!("route add default via 169.254.1.1 dev {interface}"),
            ])?,
            Overlay::CalicoOnlink => {
                pod.host.ip(&[&host, &format!("route add default via 169.254.1.1 dev {interface} onlink")])?;
            }
            Overlay::Cilium => {
                self.node.ip(&[&format!("address replace 10.244.4.1/32 dev {end}")])?;
                pod.host.ip(&[
                    &host,
                    &format!("route add 10.244.4.1 dev {interface} scope link"),
                    &format!("route add default via 10.244.4.1 dev {interface} mtu 1450"),
                ])?;
            }
            Overlay::Flannel => {
                self.node.ip(&[
                    "link add cni0 type bridge",
                    "address add 10.244.5.1/24 dev cni0",
                    "address add fd00:244:0:5::1/64 dev cni0 nodad",
                    "link set cni0 up",
                    &format!("link set {end} master cni0"),
                    // As Flannel's configuration asks for: a Pod reaches itself by a service.
                    &format!("link set dev {end} type bridge_slave hairpin on"),
                ])?;
                return pod.host.ip(&[
                    &format!("address add {ip}/24 dev {interface}"),
                    &format!("route add default via 10.244.5.1 dev {interface}"),
                    &format!("route add 10.244.0.0/16 via 10.244.5.1 dev {interface}"),
                ]);
            }
        }
        self.node.ip(&[&format!("route add {ip}/32 dev {end}")])
    }

    fn join_v6(&self, pod: &Pod, interface: &str, end: &str, ip: &str, shape: Overlay) -> Result<()> {
        let mtu = if shape == Overlay::Cilium { " mtu 1450" } else { "" };
        let gateway = if shape == Overlay::Flannel { "cni0" } else { end };
        self.node.ip(&[
            &format!("-6 address add fe80::1/64 dev {gateway} nodad"),
            &format!("-6 route add {ip}/128 dev {gateway}"),
        ])?;
        pod.host.ip(&[
            &format!("-6 address add {ip}/128 dev {interface} nodad"),
            &format!("-6 route add default via fe80::1 dev {interface}{mtu}"),
        ])
    }
}
