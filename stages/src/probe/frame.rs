//! Frames as values, both ways: ARP (RFC 826, RFC 5227) and neighbour discovery (RFC 4861).
//!
//! What comes from the wire is anything: decoding never fails in another way than by "none", and a frame that a
//! host of today would not believe (a wrong checksum, one that a router passed on) is none. Nothing here asks or
//! concludes anything.

use std::net::{Ipv4Addr, Ipv6Addr};

use coordinator_sdk::Mac;
use pnet_packet::{
    Packet as _,
    arp::{ArpHardwareTypes, ArpOperation, ArpOperations, ArpPacket, MutableArpPacket},
    ethernet::{EtherType, EtherTypes, EthernetPacket, MutableEthernetPacket},
    icmpv6::{
        self, Icmpv6Code, Icmpv6Packet, Icmpv6Types,
        ndp::{
            MutableNeighborAdvertPacket, MutableNeighborSolicitPacket, NeighborAdvertFlags, NeighborAdvertPacket,
            NeighborSolicitPacket,
        },
    },
    ip::IpNextHeaderProtocols,
    ipv6::{Ipv6Packet, MutableIpv6Packet},
};

const BROADCAST: Mac = Mac([0xff; 6]);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// What no router passes on arrives with it (RFC 4861, section 7.1).
const HOP_LIMIT: u8 = 255;
const ETHERNET: usize = EthernetPacket::minimum_packet_size();
const IPV6: usize = Ipv6Packet::minimum_packet_size();
/// A link-layer address option: type, length in eights, address.
const OPTION: usize = 8;
const SOURCE_OPTION: u8 = 1;
const TARGET_OPTION: u8 = 2;

/// What kind of ARP packet it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Who has it?
    Request,
    /// I have it.
    Reply,
}

/// What a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// ARP.
    Arp {
        /// Question or answer.
        operation: Operation,
        /// Who says it.
        sender: (Mac, Ipv4Addr),
        /// To whom, or about whom.
        target: (Mac, Ipv4Addr),
    },
    /// Who has this address?
    Solicitation {
        /// Who asks; nobody while an address is being checked.
        source: Ipv6Addr,
        /// The address in question.
        target: Ipv6Addr,
    },
    /// I have this address.
    Advertisement {
        /// Who says it.
        source: Ipv6Addr,
        /// The address.
        target: Ipv6Addr,
    },
}

/// A frame that was understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// The sender's address on the link.
    pub source: Mac,
    /// Whether it goes to more than one host.
    pub is_to_many: bool,
    /// What it says.
    pub message: Message,
}

impl Frame {
    /// Reads a frame from its Ethernet header on.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let ethernet = EthernetPacket::new(bytes)?;
        let message = match ethernet.get_ethertype() {
            EtherTypes::Arp => arp(ethernet.payload()),
            EtherTypes::Ipv6 => discovery(ethernet.payload()),
            _ => None,
        }?;
        let [first, ..] = mac(ethernet.get_destination()).0;
        Some(Self { source: mac(ethernet.get_source()), is_to_many: first & 1 == 1, message })
    }
}

fn arp(bytes: &[u8]) -> Option<Message> {
    let arp = ArpPacket::new(bytes)?;
    let form = (arp.get_hardware_type(), arp.get_protocol_type(), arp.get_hw_addr_len(), arp.get_proto_addr_len());
    let operation = match arp.get_operation() {
        ArpOperations::Request => Operation::Request,
        ArpOperations::Reply => Operation::Reply,
        _ => return None,
    };
    let message = Message::Arp {
        operation,
        sender: (mac(arp.get_sender_hw_addr()), arp.get_sender_proto_addr()),
        target: (mac(arp.get_target_hw_addr()), arp.get_target_proto_addr()),
    };
    (form == (ArpHardwareTypes::Ethernet, EtherTypes::Ipv4, 6, 4)).then_some(message)
}

fn discovery(bytes: &[u8]) -> Option<Message> {
    let ip = Ipv6Packet::new(bytes)?;
    let is_whole = bytes.len() >= IPV6 + usize::from(ip.get_payload_length());
    if ip.get_version() != 6
        || ip.get_next_header() != IpNextHeaderProtocols::Icmpv6
        || ip.get_hop_limit() != HOP_LIMIT
        || !is_whole
    {
        return None;
    }
    let icmp = Icmpv6Packet::new(ip.payload())?;
    let (source, destination) = (ip.get_source(), ip.get_destination());
    if icmp.get_icmpv6_code() != Icmpv6Code(0) || icmpv6::checksum(&icmp, &source, &destination) != icmp.get_checksum()
    {
        return None;
    }
    let message = match icmp.get_icmpv6_type() {
        Icmpv6Types::NeighborSolicit => {
            let target = NeighborSolicitPacket::new(ip.payload())?.get_target_addr();
            Message::Solicitation { source, target }
        }
        Icmpv6Types::NeighborAdvert => {
            let target = NeighborAdvertPacket::new(ip.payload())?.get_target_addr();
            Message::Advertisement { source, target }
        }
        _ => return None,
    };
    Some(message)
}

/// Asks who has an IPv4 address; from nobody, this is a probe (RFC 5227, section 2.1.1) that alters no neighbour's
/// table.
pub fn arp_request(from: (Mac, Ipv4Addr), target: Ipv4Addr) -> Option<Vec<u8>> {
    arp_frame(ArpOperations::Request, from, (Mac([0; 6]), target))
}

/// Tells everybody who has an IPv4 address (RFC 5227, section 2.3).
pub fn arp_announcement(mac: Mac, ip: Ipv4Addr) -> Option<Vec<u8>> {
    arp_frame(ArpOperations::Request, (mac, ip), (Mac([0; 6]), ip))
}

fn arp_frame(operation: ArpOperation, from: (Mac, Ipv4Addr), to: (Mac, Ipv4Addr)) -> Option<Vec<u8>> {
    let mut frame = ethernet(from.0, BROADCAST, EtherTypes::Arp, ArpPacket::minimum_packet_size())?;
    let mut arp = MutableArpPacket::new(frame.get_mut(ETHERNET..)?)?;
    arp.set_hardware_type(ArpHardwareTypes::Ethernet);
    arp.set_protocol_type(EtherTypes::Ipv4);
    arp.set_hw_addr_len(6);
    arp.set_proto_addr_len(4);
    arp.set_operation(operation);
    arp.set_sender_hw_addr(from.0.0.into());
    arp.set_sender_proto_addr(from.1);
    arp.set_target_hw_addr(to.0.0.into());
    arp.set_target_proto_addr(to.1);
    Some(frame)
}

/// Asks who has an IPv6 address; from nobody, as duplicate address detection does (RFC 4862, section 5.4.2).
pub fn solicitation(from: (Mac, Ipv6Addr), target: Ipv6Addr) -> Option<Vec<u8>> {
    let group = solicited_node(target);
    // Nobody has no address on the link that could be answered to.
    let option = (!from.1.is_unspecified()).then_some((SOURCE_OPTION, from.0));
    discovery_frame(from, group, option, |bytes| {
        let mut solicit = MutableNeighborSolicitPacket::new(bytes)?;
        solicit.set_icmpv6_type(Icmpv6Types::NeighborSolicit);
        solicit.set_target_addr(target);
        Some(())
    })
}

/// Tells everybody who has an IPv6 address now, whoever they thought it was (RFC 4861, section 7.2.6).
pub fn advertisement(mac: Mac, ip: Ipv6Addr) -> Option<Vec<u8>> {
    discovery_frame((mac, ip), ALL_NODES, Some((TARGET_OPTION, mac)), |bytes| {
        let mut advert = MutableNeighborAdvertPacket::new(bytes)?;
        advert.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
        advert.set_flags(NeighborAdvertFlags::Override);
        advert.set_target_addr(ip);
        Some(())
    })
}

fn discovery_frame(
    from: (Mac, Ipv6Addr),
    to: Ipv6Addr,
    option: Option<(u8, Mac)>,
    fill: impl FnOnce(&mut [u8]) -> Option<()>,
) -> Option<Vec<u8>> {
    let message = NeighborSolicitPacket::minimum_packet_size();
    let length = if option.is_some() { message + OPTION } else { message };
    let mut frame = ethernet(from.0, group_mac(to), EtherTypes::Ipv6, IPV6 + length)?;
    let mut ip = MutableIpv6Packet::new(frame.get_mut(ETHERNET..)?)?;
    ip.set_version(6);
    ip.set_payload_length(u16::try_from(length).ok()?);
    ip.set_next_header(IpNextHeaderProtocols::Icmpv6);
    ip.set_hop_limit(HOP_LIMIT);
    ip.set_source(from.1);
    ip.set_destination(to);
    let body = frame.get_mut(ETHERNET + IPV6..)?;
    fill(body)?;
    if let Some((kind, address)) = option {
        let [a, b, c, d, e, f] = address.0;
        body.get_mut(message..)?.copy_from_slice(&[kind, 1, a, b, c, d, e, f]);
    }
    let checksum = icmpv6::checksum(&Icmpv6Packet::new(body)?, &from.1, &to);
    MutableNeighborSolicitPacket::new(body)?.set_checksum(checksum);
    Some(frame)
}

fn ethernet(source: Mac, destination: Mac, kind: EtherType, payload: usize) -> Option<Vec<u8>> {
    let mut frame = vec![0; ETHERNET + payload];
    let mut ethernet = MutableEthernetPacket::new(&mut frame)?;
    ethernet.set_source(source.0.into());
    ethernet.set_destination(destination.0.into());
    ethernet.set_ethertype(kind);
    Some(frame)
}

/// Where frames to an IPv6 multicast address go (RFC 2464, section 7).
pub fn group_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac([0x33, 0x33, a, b, c, d])
}

/// The group in which whoever has an address listens (RFC 4291, section 2.7.1).
pub fn solicited_node(ip: Ipv6Addr) -> Ipv6Addr {
    let base = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0);
    Ipv6Addr::from_bits(base.to_bits() | (ip.to_bits() & 0xff_ffff))
}

/// Where answers to questions from nobody go.
pub fn all_nodes() -> Ipv6Addr {
    ALL_NODES
}

fn mac(address: impl Into<[u8; 6]>) -> Mac {
    Mac(address.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const US: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn v4(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    fn v6(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    /// Frames that a kernel (Linux 6.18) sent, each with what it says.
    fn captured() -> Vec<(Vec<u8>, Frame)> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/probe/corpus");
        let read = |name: &str| std::fs::read(format!("{folder}/{name}")).unwrap();
        let host = Mac([0xd2, 0x29, 0x3b, 0x10, 0xc3, 0x78]);
        let frame = |is_to_many, message| Frame { source: host, is_to_many, message };
        let reply =
            Message::Arp { operation: Operation::Reply, sender: (host, v4("10.6.2.20")), target: (US, v4("0.0.0.0")) };
        let advert = Message::Advertisement { source: v6("fd00::2"), target: v6("fd00::2") };
        let solicit = Message::Solicitation { source: v6("::"), target: v6("fd00::2") };
        vec![
            (read("arp-reply.bin"), frame(false, reply)),
            (read("neighbour-advertisement.bin"), frame(true, advert)),
            (read("dad-solicitation.bin"), frame(true, solicit)),
        ]
    }

    #[test]
    fn what_a_kernel_sends_is_understood() {
        for (bytes, frame) in captured() {
            assert_eq!(Frame::decode(&bytes), Some(frame));
        }
    }

    #[test]
    fn what_we_say_is_understood() {
        let (ip, gateway) = (v4("10.6.2.20"), v4("10.6.0.1"));
        let decoded = |frame: Option<Vec<u8>>| Frame::decode(&frame.unwrap()).unwrap();
        let arp = |sender, target| Message::Arp {
            operation: Operation::Request,
            sender: (US, sender),
            target: (Mac([0; 6]), target),
        };
        for (bytes, message) in [
            (arp_request((US, Ipv4Addr::UNSPECIFIED), ip), arp(v4("0.0.0.0"), ip)),
            (arp_request((US, ip), gateway), arp(ip, gateway)),
            (arp_announcement(US, ip), arp(ip, ip)),
            (
                solicitation((US, Ipv6Addr::UNSPECIFIED), v6("fd00::2")),
                Message::Solicitation { source: v6("::"), target: v6("fd00::2") },
            ),
            (
                solicitation((US, v6("fd00::2")), v6("fe80::1")),
                Message::Solicitation { source: v6("fd00::2"), target: v6("fe80::1") },
            ),
            (advertisement(US, v6("fd00::2")), Message::Advertisement { source: v6("fd00::2"), target: v6("fd00::2") }),
        ] {
            assert_eq!(decoded(bytes), Frame { source: US, is_to_many: true, message });
        }
    }

    #[test]
    fn groups_have_their_addresses_on_the_link() {
        assert_eq!(solicited_node(v6("fd00::12:3456")).to_string(), "ff02::1:ff12:3456");
        assert_eq!(group_mac(solicited_node(v6("fd00::12:3456"))).to_string(), "33:33:ff:12:34:56");
        assert_eq!(group_mac(all_nodes()).to_string(), "33:33:00:00:00:01");
    }

    #[test]
    fn a_frame_that_no_host_would_believe_is_none() {
        for (bytes, _) in captured() {
            for length in 0..bytes.len() {
                // An ARP packet may be followed by padding, and only then be cut.
                assert_eq!(Frame::decode(&bytes[..length]).is_some(), bytes[12] == 8 && length >= 42, "{length}");
            }
        }
        let advert = advertisement(US, v6("fd00::2")).unwrap();
        for (at, value) in [(18, 0xff), (20, 6), (21, 64), (54, 137), (55, 1), (56, 0), (70, 0x55), (81, 0x55)] {
            let mut wrong = advert.clone();
            assert_ne!(wrong[at], value, "{at}");
            wrong[at] = value;
            assert_eq!(Frame::decode(&wrong), None, "{at}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_decoded_or_is_none(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Frame::decode(&bytes);
        }

        /// Frames that are nearly right reach deeper than noise does.
        #[test]
        fn damage_does_no_harm(
            which in 0_usize..5,
            changes in proptest::collection::vec((0_usize..90, any::<u8>()), 0..6),
            length in 0_usize..120,
        ) {
            let mut frames: Vec<Vec<u8>> = captured().into_iter().map(|(bytes, _)| bytes).collect();
            frames.push(advertisement(US, Ipv6Addr::LOCALHOST).unwrap());
            frames.push(arp_announcement(US, Ipv4Addr::LOCALHOST).unwrap());
            let mut frame = frames.swap_remove(which);
            for (at, value) in changes {
                if let Some(slot) = frame.get_mut(at) {
                    *slot = value;
                }
            }
            frame.truncate(length);
            let _ = Frame::decode(&frame);
        }
    }
}
