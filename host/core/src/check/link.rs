//! Links and what hangs on them: addresses, neighbours, parameters.

use coordinator_sdk::{AddressEdit, Device, LinkEdit, Mac, Neighbour, POD_VETH, Side, Sysctl, VethPair};
use ipnet::IpNet;

use super::{Checker, Problem, number, text, unicast};

/// Bytes that an MTU may be; IPv4 wants 68 (RFC 791).
const MTU: (u64, u64) = (68, 65535);

impl Checker<'_> {
    pub(super) fn veth(&self, pair: &VethPair) -> Result<(), Problem> {
        let names = [(&pair.pod, POD_VETH), (&pair.node, self.node_veth.as_str())];
        for (given, ours) in names {
            if given != ours {
                let reason = "the pair's ends are called veth0, and veth with the beginning of the container id";
                return Err(Problem::Text { name: "end", value: text::shown(given), reason });
            }
        }
        [pair.pod_mac, pair.node_mac].into_iter().try_for_each(mac)?;
        number("mtu", u64::from(pair.mtu), MTU.0, MTU.1)
    }

    /// A link that may go: one that this plugin made.
    pub(super) fn made_link(&self, device: &Device) -> Result<(), Problem> {
        self.own_link(device)?;
        let is_made = self.facts.model.link(device).is_some_and(|link| link.flags.ours);
        if is_made { Ok(()) } else { Err(Problem::Link(device.clone())) }
    }

    pub(super) fn link_edit(&self, edit: &LinkEdit) -> Result<(), Problem> {
        self.own_link(&edit.device)?;
        edit.mac.map_or(Ok(()), mac)?;
        if let Some(mtu) = edit.mtu {
            let link = self.facts.model.link(&edit.device);
            let most = link.map(|link| u64::from(link.max_mtu)).filter(|most| *most > 0);
            let least = link.map_or(MTU.0, |link| u64::from(link.min_mtu).max(MTU.0));
            number("mtu", u64::from(mtu), least, most.unwrap_or(MTU.1).min(MTU.1))?;
        }
        edit.transmit_queue.map_or(Ok(()), |length| number("transmit_queue", u64::from(length), 1, 1_000_000))
    }

    pub(super) fn address(&self, edit: &AddressEdit) -> Result<(), Problem> {
        self.own_link(&edit.device)?;
        unicast(edit.prefix.addr())?;
        // A shorter prefix would take half the world for neighbours.
        let (least, most) = if edit.prefix.addr().is_ipv4() { (8, 32) } else { (16, 128) };
        number("prefix length", u64::from(edit.prefix.prefix_len()), least, most)
    }

    pub(super) fn neighbour(&self, entry: &Neighbour) -> Result<(), Problem> {
        self.own_link(&entry.device)?;
        unicast(entry.ip)?;
        mac(entry.mac)?;
        if entry.device.side == Side::Node {
            self.served(IpNet::from(entry.ip))?;
        }
        Ok(())
    }

    /// A parameter of the network, of one of this attachment's links or of the Pod as a whole.
    pub(super) fn sysctl(&self, sysctl: &Sysctl) -> Result<(), Problem> {
        let wrong = |reason| Err(Problem::Text { name: "key", value: text::shown(&sysctl.key), reason });
        text::bounded("value", &sysctl.value, 256)?;
        let segments: Vec<&str> = sysctl.key.split('/').collect();
        let is_path = segments.iter().all(|segment| !segment.is_empty() && !segment.starts_with('.'))
            && sysctl.key.len() <= 256
            && !sysctl.key.chars().any(|c| c.is_control() || c.is_whitespace());
        match segments.as_slice() {
            _ if !is_path => wrong("it is no path below /proc/sys"),
            ["net", "ipv4" | "ipv6", "conf" | "neigh", name @ ("all" | "default"), key] => match (sysctl.side, *key) {
                (Side::Node, _) => wrong("of the node, only this attachment's own link may be altered"),
                // Tried: switched to and fro there, it deletes addresses of other interfaces.
                (_, "disable_ipv6") if *name == "all" => wrong("it is set on single interfaces only"),
                _ => Ok(()),
            },
            ["net", "ipv4" | "ipv6", "conf" | "neigh", name, _] => {
                self.own_link(&Device { side: sysctl.side, name: (*name).to_owned() })
            }
            ["net", "ipv4" | "ipv6", _] | ["net", "core" | "netfilter", _] if sysctl.side == Side::Pod => Ok(()),
            _ => wrong("only parameters below net/ of this Pod may be set"),
        }
    }
}

fn mac(mac: Mac) -> Result<(), Problem> {
    if mac.is_unicast() { Ok(()) } else { Err(Problem::Mac(mac)) }
}
