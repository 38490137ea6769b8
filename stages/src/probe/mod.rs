//! The probe phase: asks the wire what earlier stages proposed to ask, everything at the same time.
//!
//! One loop serves all questions of an attachment, of both families and kinds. It is the only waiting of a call, and
//! its length is configured: signals and foreign frames neither end it early nor prolong it. Policy is not here: what
//! a finding leads to is decided by the stages behind.

pub mod conversation;
pub mod frame;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

use conversation::{Asker, Conversation};
use coordinator_sdk::{Address, Device, Mac, Model, Probe, ProbeKind, Side};
use frame::Frame;

use crate::kernel::packet::{self, Interest, PacketError, PacketSocket};

/// Frames that are heard before what is due is done: more do not come within a turn unless somebody wants to harm.
const FRAMES_A_TURN: usize = 4096;
/// Longer than any frame of which something is understood.
const FRAME_BYTES: usize = 512;

/// Who asks on an interface, as it was observed: what it will be after the commit answers nobody yet.
pub fn asker(observed: &Model, interface: &Device) -> Asker {
    let links = observed.links.iter().filter(|link| link.device.side == Side::Pod);
    let addresses: Vec<&Address> = observed.addresses_of(interface).collect();
    Asker {
        mac: observed.link(interface).and_then(|link| link.mac),
        own: links.flat_map(|link| [link.mac, link.permanent_mac]).flatten().collect(),
        addresses: addresses.iter().map(|address| address.prefix).collect(),
        failed: addresses.iter().filter(|address| address.flags.dad_failed).map(|address| address.ip()).collect(),
    }
}

/// Which frames can answer these probes.
pub fn interest(probes: &[Probe]) -> Interest {
    let mut interest = Interest::default();
    for probe in probes {
        match probe.target {
            IpAddr::V4(ip) => {
                interest.senders.push(ip);
                interest.probed.extend((probe.kind == ProbeKind::Address).then_some(ip));
            }
            IpAddr::V6(ip) => interest.neighbours.push(ip),
        }
    }
    interest
}

/// The multicast groups in which these probes are answered, or contested.
pub fn groups(probes: &[Probe]) -> Vec<Mac> {
    let targets = probes.iter().filter_map(|probe| match (probe.kind, probe.target) {
        (ProbeKind::Address, IpAddr::V6(ip)) => Some(frame::solicited_node(ip)),
        _ => None,
    });
    let is_v6 = probes.iter().any(|probe| probe.target.is_ipv6());
    let groups: BTreeSet<Ipv6Addr> = targets.chain(is_v6.then_some(frame::all_nodes())).collect();
    groups.into_iter().map(frame::group_mac).collect()
}

/// Goes through a conversation to its end. Questions go out by the first socket; all are listened to.
///
/// # Errors
/// A link is down or gone.
pub fn converse(sockets: &[PacketSocket], conversation: &mut Conversation) -> Result<(), PacketError> {
    let begun = Instant::now();
    let mut buffer = [0; FRAME_BYTES];
    loop {
        // Silence is only concluded from when everything that came before this moment was heard, however late we are.
        let now = begun.elapsed();
        for socket in sockets {
            for _ in 0..FRAMES_A_TURN {
                let Some(bytes) = socket.receive(&mut buffer)? else { break };
                if let Some(frame) = Frame::decode(bytes) {
                    conversation.hear(&frame);
                }
            }
        }
        for frame in conversation.advance(now) {
            if let Some(socket) = sockets.first() {
                socket.send(&frame)?;
            }
        }
        if conversation.is_over() {
            return Ok(());
        }
        let next = conversation.next().unwrap_or(Duration::ZERO);
        packet::wait(sockets, next.saturating_sub(begun.elapsed()))?;
    }
}
