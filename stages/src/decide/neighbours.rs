//! Permanent neighbours on both ends of the pair that joins Pod and node: nobody has to be asked, nobody
//! can lie.

use coordinator_sdk::{Change, Decision, Device, Facts, Mode, Neighbour, Refusal, Stage};

use super::reach;

/// Each Pod address on the node's end, and each node address on `veth0`. In an overlay Pod the first interface
/// stands for `veth0`, and its own CNI sees to the way out in the families in which it gave an address.
#[derive(Debug, Clone, Copy)]
pub struct NeighboursStage;

impl Stage for NeighboursStage {
    type Options = ();

    fn decide(facts: &Facts, _options: &()) -> Result<Decision, Refusal> {
        let (pod, node) = (reach::exit(facts), reach::node_end(facts));
        // Ends without hardware addresses (netkit in L3 mode) need no neighbours.
        let is_bare = |device| facts.model.link(device).is_some_and(|link| link.flags.noarp || link.mac.is_none());
        if facts.mode() == Mode::Overlay && (is_bare(&pod) || is_bare(&node)) {
            return Ok(Decision::default());
        }
        let mac = |device: &Device| {
            let link = facts.model.link(device).and_then(|link| link.mac);
            link.ok_or_else(|| Refusal::new(format!("link {device} has no hardware address")))
        };
        let (pod_mac, node_mac) = (mac(&pod)?, mac(&node)?);
        let mut decision = Decision::default();
        for address in reach::served(facts) {
            let entry = Neighbour { device: node.clone(), ip: address.ip(), mac: pod_mac };
            decision.push(Change::AddNeighbour(entry), "the Pod's address is behind the pair that leads to it");
        }
        for family in facts.families().into_iter().filter(|family| reach::is_beside(facts, *family)) {
            for ip in reach::of_node(facts, family) {
                let entry = Neighbour { device: pod.clone(), ip, mac: node_mac };
                decision.push(Change::AddNeighbour(entry), "the node's address is behind the veth pair");
            }
        }
        Ok(decision)
    }
}
