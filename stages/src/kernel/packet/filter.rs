//! Which frames the kernel hands to a socket: a classic BPF program that knows ARP and neighbour discovery.
//!
//! Everything else costs the few instructions until it is dropped, however much of it there is. It is no judge of
//! what a frame means; a frame that passes is decoded and checked again.

use std::net::{Ipv4Addr, Ipv6Addr};

use socket2::SockFilter;

/// More addresses of one kind than a program tells apart: it lets all frames of the kind pass then.
const MOST: usize = 64;
/// As much of a frame as is handed over: neighbour discovery is shorter.
const BYTES: u32 = 512;

/// Classic BPF (`linux/bpf_common.h`): loads from the frame, comparisons with a constant, jumps, the end.
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER: u16 = 0x25;
const RETURN: u16 = 0x06;

/// What the kernel knows of a frame beside its bytes (`linux/filter.h`, `SKF_AD_*`).
const PACKET_TYPE: u32 = 0xffff_f000 + 4;
const VLAN_TAG: u32 = 0xffff_f000 + 44;
const VLAN_TAG_PRESENT: u32 = 0xffff_f000 + 48;
/// `PACKET_MULTICAST`: greater ones are for other hosts, or from this one.
const LAST_FOR_US: u32 = 2;

/// Which frames are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interest {
    /// ARP that says to come from one of these.
    pub senders: Vec<Ipv4Addr>,
    /// ARP probes (RFC 5227, from nobody) for one of these.
    pub probed: Vec<Ipv4Addr>,
    /// Neighbour solicitations and advertisements about or from one of these.
    pub neighbours: Vec<Ipv6Addr>,
}

impl Interest {
    /// The program for frames that begin with their Ethernet header.
    pub(super) fn program(&self) -> Vec<SockFilter> {
        self.instructions().into_iter().map(|(code, yes, no, k)| SockFilter::new(code, yes, no, k)).collect()
    }

    fn instructions(&self) -> Vec<(u16, u8, u8, u32)> {
        let (arp, neighbours) = (self.arp(), self.discovery());
        let mut program = vec![
            (LOAD_WORD, 0, 0, PACKET_TYPE),
            (JUMP_IF_GREATER, 0, 1, LAST_FOR_US),
            (RETURN, 0, 0, 0),
            // A tag of VLAN 0 only bears a priority.
            (LOAD_WORD, 0, 0, VLAN_TAG_PRESENT),
            (JUMP_IF_EQUAL, 4, 0, 0),
            (LOAD_WORD, 0, 0, VLAN_TAG),
            (AND, 0, 0, 0xfff),
            (JUMP_IF_EQUAL, 1, 0, 0),
            (RETURN, 0, 0, 0),
            (LOAD_HALF, 0, 0, 12),
            (JUMP_IF_EQUAL, 0, 1, 0x0806),
            (JUMP, 0, 0, 3),
            (JUMP_IF_EQUAL, 0, 1, 0x86dd),
            (JUMP, 0, 0, u32::try_from(arp.len()).unwrap_or(u32::MAX).saturating_add(1)),
            (RETURN, 0, 0, 0),
        ];
        program.extend(arp);
        program.extend(neighbours);
        program
    }

    /// Ethernet and IPv4 (RFC 826), from one of the senders, or from nobody and about one of the probed.
    fn arp(&self) -> Vec<(u16, u8, u8, u32)> {
        let mut program = [required(LOAD_WORD, 14, 0x0001_0800), required(LOAD_HALF, 18, 0x0604)].concat();
        program.push((LOAD_WORD, 0, 0, 28));
        program.extend(one_of(&self.senders));
        program.extend([(JUMP_IF_EQUAL, 1, 0, 0), (RETURN, 0, 0, 0), (LOAD_WORD, 0, 0, 38)]);
        program.extend(one_of(&self.probed));
        program.push((RETURN, 0, 0, 0));
        program
    }

    /// ICMPv6 of neighbour discovery, which no router passes on (RFC 4861).
    fn discovery(&self) -> Vec<(u16, u8, u8, u32)> {
        let mut program = [required(LOAD_BYTE, 20, 58), required(LOAD_BYTE, 21, 255)].concat();
        program.extend([
            (LOAD_BYTE, 0, 0, 54),
            (JUMP_IF_EQUAL, 2, 0, 135),
            (JUMP_IF_EQUAL, 1, 0, 136),
            (RETURN, 0, 0, 0),
        ]);
        if self.neighbours.len() > MOST {
            program.push((RETURN, 0, 0, BYTES));
        }
        for ip in self.neighbours.iter().take(MOST) {
            for at in [62, 22] {
                let [a, b, c, d] = words(*ip);
                program.extend([
                    (LOAD_WORD, 0, 0, at),
                    (JUMP_IF_EQUAL, 0, 7, a),
                    (LOAD_WORD, 0, 0, at + 4),
                    (JUMP_IF_EQUAL, 0, 5, b),
                    (LOAD_WORD, 0, 0, at + 8),
                    (JUMP_IF_EQUAL, 0, 3, c),
                    (LOAD_WORD, 0, 0, at + 12),
                    (JUMP_IF_EQUAL, 0, 1, d),
                    (RETURN, 0, 0, BYTES),
                ]);
            }
        }
        program.push((RETURN, 0, 0, 0));
        program
    }
}

/// Drops the frame unless the value at a place is this one.
fn required(load: u16, at: u32, value: u32) -> Vec<(u16, u8, u8, u32)> {
    vec![(load, 0, 0, at), (JUMP_IF_EQUAL, 1, 0, value), (RETURN, 0, 0, 0)]
}

/// Takes the frame when the loaded word is one of these.
fn one_of(ips: &[Ipv4Addr]) -> Vec<(u16, u8, u8, u32)> {
    if ips.len() > MOST {
        return vec![(RETURN, 0, 0, BYTES)];
    }
    ips.iter().flat_map(|ip| [(JUMP_IF_EQUAL, 0, 1, ip.to_bits()), (RETURN, 0, 0, BYTES)]).collect()
}

fn words(ip: Ipv6Addr) -> [u32; 4] {
    let bits = ip.to_bits();
    [96, 64, 32, 0].map(|shift| u32::try_from((bits >> shift) & 0xffff_ffff).unwrap_or_default())
}
