//! The veth pair that joins an underlay Pod to its node.

use coordinator_sdk::{
    AddressEdit, Change, ContainerId, Decision, Device, Facts, Family, LinkEdit, Mac, Mode, POD_VETH, Refusal, Stage,
    TABLE_MAIN, VethPair,
};
use ipnet::IpNet;

/// Bytes: what the node's end and the Pod's end carry unless the path is known to carry less.
const USUAL_MTU: u32 = 1500;

/// Makes the pair with the first attachment that needs it; later ones keep it.
#[derive(Debug, Clone, Copy)]
pub struct VethStage;

/// The node's end: `veth` and the first eleven characters of the container id, 15 in all (`IFNAMSIZ`).
pub fn node_veth_name(container: &ContainerId) -> String {
    format!("veth{}", container.prefix(11))
}

impl Stage for VethStage {
    type Options = ();

    fn decide(facts: &Facts, _options: &()) -> Result<Decision, Refusal> {
        if facts.mode() == Mode::Overlay {
            return Ok(Decision::default());
        }
        let container = &facts.request.container;
        let pair = VethPair {
            pod: POD_VETH.to_owned(),
            node: node_veth_name(container),
            pod_mac: Mac::derived(&format!("pod:{container}")),
            node_mac: Mac::derived(&format!("node:{container}")),
            mtu: facts.settings.veth_mtu.unwrap_or_else(|| path_mtu(facts)),
        };
        let mtu = pair.mtu;
        let (pod, node) = (Device::pod(&pair.pod), Device::node(&pair.node));
        let is_there = facts.model.link(&pod).is_some_and(|link| link.flags.ours);
        let mut decision = Decision::default();
        decision.push(Change::CreateVeth(pair), "the node cannot be reached through the Pod's own interface");
        if is_there && facts.settings.veth_mtu.is_some() {
            for device in [&pod, &node] {
                let edit = LinkEdit { mtu: Some(mtu), ..LinkEdit::of(device.clone()) };
                decision.push(Change::SetLink(edit), "vethMTU asks for it");
            }
        }
        if let Some(ip) = facts.settings.veth_link_address
            && facts.families().contains(&Family::of(ip))
        {
            let edit = AddressEdit { device: pod, prefix: IpNet::from(ip) };
            decision.push(Change::AddAddress(edit), "vethLinkAddress asks for it");
        }
        Ok(decision)
    }
}

/// The smallest MTU that is known on the Pod's path, at most the usual one.
fn path_mtu(facts: &Facts) -> u32 {
    let of_link = facts.attached_link().map(|link| link.mtu);
    let defaults = facts.model.routes.iter().filter(|known| {
        known.route.table == TABLE_MAIN
            && known.route.to.prefix_len() == 0
            && known.route.leaves_by(facts.request.interface.as_str())
    });
    let of_routes = defaults.filter_map(|known| known.route.mtu);
    of_link.into_iter().chain(of_routes).filter(|mtu| *mtu >= 68).fold(USUAL_MTU, u32::min)
}
