//! The last phase: tells the neighbours the Pod's addresses, after the commit.
//!
//! A neighbour that remembers an address for a host that had it before, or for the interface's former hardware
//! address, would send there until its entry is stale. Each address is told once, on the attached interface only;
//! nothing is waited for, and what cannot be told is no reason to fail.

use std::net::IpAddr;

use coordinator_sdk::{Facts, Outcome, ProbeKind};

use crate::{
    kernel::{
        namespace::Inside,
        packet::{PacketError, PacketSocket},
    },
    probe::frame,
};

/// Tells everybody on the attached interface's link, whose number is `index`.
///
/// # Errors
/// The link is down or gone.
pub fn announce(_: &Inside<'_>, index: u32, facts: &Facts) -> Result<(), PacketError> {
    let frames = frames(facts);
    if frames.is_empty() {
        return Ok(());
    }
    let socket = PacketSocket::sender(index)?;
    frames.iter().try_for_each(|frame| socket.send(frame))
}

/// A frame for each address. One that may yet turn out to be another host's is not told.
fn frames(facts: &Facts) -> Vec<Vec<u8>> {
    let link = facts.attached_link().filter(|link| link.flags.up && !link.flags.noarp);
    let Some(mac) = link.and_then(|link| link.mac) else { return Vec::new() };
    let is_found_free = |ip: IpAddr| {
        let mut findings = facts.findings.iter().flatten();
        findings.any(|it| it.probe.kind == ProbeKind::Address && it.probe.target == ip && it.outcome == Outcome::Free)
    };
    let addresses = facts.attached_addresses().into_iter();
    let told = addresses.filter(|a| !a.flags.dad_failed && (!a.flags.tentative || is_found_free(a.ip())));
    let frame = |ip| match ip {
        IpAddr::V4(ip) => frame::arp_announcement(mac, ip),
        IpAddr::V6(ip) => frame::advertisement(mac, ip),
    };
    told.filter_map(|address| frame(address.ip())).collect()
}
