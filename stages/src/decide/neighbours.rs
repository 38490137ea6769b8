//! Permanent neighbours on both ends of the veth pair: nobody has to be asked, nobody can lie.

use coordinator_sdk::{Change, Decision, Device, Facts, Neighbour, POD_VETH, Refusal, Stage};

use super::reach;

/// Each Pod address on the node's end, each node address on `veth0`.
#[derive(Debug, Clone, Copy)]
pub struct NeighboursStage;

impl Stage for NeighboursStage {
    type Options = ();

    fn decide(facts: &Facts, _options: &()) -> Result<Decision, Refusal> {
        let (pod, node) = (Device::pod(POD_VETH), reach::node_end(facts));
        let mac = |device: &Device| {
            let link = facts.model.link(device).and_then(|link| link.mac);
            link.ok_or_else(|| Refusal::new(format!("link {device} has no hardware address")))
        };
        let (pod_mac, node_mac) = (mac(&pod)?, mac(&node)?);
        let mut decision = Decision::default();
        for address in reach::served(facts) {
            let entry = Neighbour { device: node.clone(), ip: address.ip(), mac: pod_mac };
            decision.push(Change::AddNeighbour(entry), "the Pod's address is behind the veth pair");
        }
        for family in facts.families() {
            for ip in reach::of_node(facts, family) {
                let entry = Neighbour { device: pod.clone(), ip, mac: node_mac };
                decision.push(Change::AddNeighbour(entry), "the node's address is behind the veth pair");
            }
        }
        Ok(decision)
    }
}
