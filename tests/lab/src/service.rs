//! What kube-proxy and the overlay would do, in nftables: services, node ports, the drop of invalid packets, and
//! the node's address for what overlay Pods send out of the cluster.

use anyhow::Result;

use crate::{
    command::command,
    host::{Host, PORT},
};

/// Services that are there whatever Pods there are; each answers on port 80.
pub(crate) const SERVICE_OVERLAY: [&str; 2] = ["10.96.0.10", "fd00:96::10"];
/// Its server is on the node itself.
pub(crate) const SERVICE_NODE: [&str; 2] = ["10.96.0.11", "fd00:96::11"];
/// Its server is the Pod under test.
pub(crate) const SERVICE_POD: [&str; 2] = ["10.96.0.12", "fd00:96::12"];
/// A node port of the Pod under test with the policy `Cluster`: the client's address is hidden.
pub(crate) const NODE_PORT: u16 = 30080;
/// The same with the policy `Local`: the Pod sees the client.
pub(crate) const NODE_PORT_LOCAL: u16 = 30081;

/// Puts the services in place; `pods` are the addresses of the Pod under test, by family.
pub(crate) fn serve(node: &Host, overlay: [&str; 2], host: [&str; 2], pods: [Option<&str>; 2]) -> Result<()> {
    let mut nat = String::new();
    for (at, (family, bracket)) in [("ip", ("", "")), ("ip6", ("[", "]"))].into_iter().enumerate() {
        let to = |address: &str| format!("{}{address}{}:{PORT}", bracket.0, bracket.1);
        let mut service = |ip: &str, backend: &str| {
            nat.push_str(&format!("{family} daddr {ip} tcp dport 80 dnat {family} to {}\n", to(backend)));
        };
        service(SERVICE_OVERLAY[at], overlay[at]);
        service(SERVICE_NODE[at], host[at]);
        if let Some(pod) = pods[at] {
            service(SERVICE_POD[at], pod);
            let node_port = format!("{family} daddr {} tcp dport", host[at]);
            nat.push_str(&format!(
                "{node_port} {NODE_PORT} meta mark set meta mark or 0x4000 dnat {family} to {}\n",
                to(pod)
            ));
            nat.push_str(&format!("{node_port} {NODE_PORT_LOCAL} dnat {family} to {}\n", to(pod)));
        }
    }
    // A Pod that reaches itself by a service must see somebody else: hairpin traffic is hidden too.
    let hairpin = pods
        .iter()
        .zip(["ip", "ip6"])
        .filter_map(|(pod, family)| pod.map(|pod| format!("{family} saddr {pod} {family} daddr {pod} masquerade\n")));
    let hairpin: String = hairpin.collect();
    let script = format!(
        "table inet kube\ndelete table inet kube\ntable inet kube {{
  chain services {{\n{nat}}}
  chain prerouting {{ type nat hook prerouting priority dstnat; jump services; }}
  chain output {{ type nat hook output priority -100; jump services; }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; meta mark and 0x4000 == 0x4000 masquerade;
    oifname {{ ens1, ens2, mgmt0 }} ip saddr 10.244.0.0/16 masquerade
    oifname {{ ens1, ens2, mgmt0 }} ip6 saddr fd00:244::/64 masquerade\n{hairpin}}}
  chain forward {{ type filter hook forward priority filter; ct state invalid drop; }}
}}\n"
    );
    node.enter(|| command("nft", &["-f", "-"], &script))??;
    Ok(())
}
