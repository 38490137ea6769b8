use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::{
    kernel::{isolated, link, netlink::Netlink},
    probe::frame,
};

const ME: Mac = Mac([2, 0, 0, 0, 0, 1]);
const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);

/// Two ends of a wire, up, in a namespace of their own: the listener's and the sender's link.
fn on_a_wire(work: impl FnOnce(u32, u32) + Send + 'static) {
    isolated(|| {
        let run = |line: &str| {
            let status = std::process::Command::new("ip").args(line.split(' ')).status().unwrap();
            assert!(status.success(), "ip {line}");
        };
        run(&format!("link add me address {ME} type veth peer name other address {OTHER}"));
        for name in ["me", "other"] {
            run(&format!("link set {name} up"));
        }
        let mut netlink = Netlink::open().unwrap();
        let mut index = |name: &str| link::by_name(&mut netlink, name).unwrap().unwrap().index;
        work(index("me"), index("other"));
    });
}

/// With an 802.1Q tag of this VLAN.
fn tagged(frame: &[u8], vlan: u8) -> Vec<u8> {
    [&frame[..12], &[0x81, 0, 0, vlan], &frame[12..]].concat()
}

/// To one host.
fn to(mac: Mac, frame: &[u8]) -> Vec<u8> {
    [&mac.0, &frame[6..]].concat()
}

#[test]
fn only_what_was_asked_about_comes_through() {
    on_a_wire(|me, other| {
        let (mine, gateway): (Ipv4Addr, Ipv4Addr) = ([10, 6, 2, 20].into(), [10, 6, 0, 1].into());
        let (mine6, foreign6): (Ipv6Addr, Ipv6Addr) = ("fd00::2".parse().unwrap(), "fd00::3".parse().unwrap());
        let interest = Interest { senders: vec![mine, gateway], probed: vec![mine], neighbours: vec![mine6] };
        let listener = PacketSocket::listener(me, &interest, &[Mac([0x33, 0x33, 0xff, 0, 0, 2])]).unwrap();
        let sender = PacketSocket::sender(other).unwrap();
        let nobody = Ipv4Addr::UNSPECIFIED;
        let arp = |from, target| frame::arp_request((OTHER, from), target).unwrap();
        let discovery = |from, target| frame::solicitation((OTHER, from), target).unwrap();
        let wanted = [
            arp(mine, gateway),
            arp(gateway, [10, 6, 0, 9].into()),
            arp(nobody, mine),
            to(ME, &arp(gateway, mine)),
            tagged(&arp(nobody, mine), 0),
            discovery(Ipv6Addr::UNSPECIFIED, mine6),
            discovery(mine6, foreign6),
            frame::advertisement(OTHER, mine6).unwrap(),
        ];
        let mut too_far = frame::advertisement(OTHER, mine6).unwrap();
        too_far[21] = 64;
        let unwanted = [
            arp([10, 6, 0, 9].into(), mine),
            arp(nobody, gateway),
            tagged(&arp(nobody, mine), 5),
            to(Mac([2, 0, 0, 0, 0, 7]), &arp(mine, gateway)),
            discovery(Ipv6Addr::UNSPECIFIED, foreign6),
            frame::advertisement(OTHER, foreign6).unwrap(),
            too_far,
            arp(mine, gateway)[..30].to_vec(),
            vec![0xff; 60],
        ];
        for frame in unwanted.iter().chain(&wanted) {
            sender.send(frame).unwrap();
        }
        // What this host sends itself is not heard either.
        PacketSocket::sender(me).unwrap().send(&arp(nobody, mine)).unwrap();
        let mut heard = Vec::new();
        let mut buffer = [0; 512];
        // A wire of veth has delivered when the sending call returns, or very soon after.
        for _ in 0..100 {
            while let Some(bytes) = listener.receive(&mut buffer).unwrap() {
                heard.push(bytes.to_vec());
            }
            wait(std::slice::from_ref(&listener), Duration::from_millis(2)).unwrap();
        }
        // The kernel takes the tag off.
        let expected: Vec<Vec<u8>> =
            wanted.iter().map(|frame| if frame[12] == 0x81 { arp(nobody, mine) } else { frame.clone() }).collect();
        assert_eq!(heard, expected);
    });
}

#[test]
fn more_addresses_than_a_program_holds_are_all_heard() {
    on_a_wire(|me, other| {
        let ips: Vec<Ipv4Addr> = (1..=1000_u32).map(|at| Ipv4Addr::from_bits(0x0a06_0000 + at)).collect();
        let last = *ips.last().unwrap();
        for count in [64, 1000] {
            let senders = ips[1000 - count..].to_vec();
            let neighbours = senders.iter().map(Ipv4Addr::to_ipv6_mapped).collect();
            let interest = Interest { probed: senders.clone(), senders, neighbours };
            let listener = PacketSocket::listener(me, &interest, &[]).unwrap();
            let sender = PacketSocket::sender(other).unwrap();
            let told = [
                frame::arp_announcement(OTHER, last).unwrap(),
                frame::advertisement(OTHER, last.to_ipv6_mapped()).unwrap(),
            ];
            for frame in &told {
                sender.send(frame).unwrap();
            }
            let mut buffer = [0; 512];
            let mut heard = Vec::new();
            for _ in 0..100 {
                while let Some(bytes) = listener.receive(&mut buffer).unwrap() {
                    heard.push(bytes.to_vec());
                }
                wait(std::slice::from_ref(&listener), Duration::from_millis(2)).unwrap();
            }
            // Without a bound, what the kernel of the other end says is heard too.
            assert!(told.iter().all(|frame| heard.contains(frame)), "{count} addresses");
        }
    });
}

#[test]
fn a_link_that_is_down_is_an_error() {
    on_a_wire(|me, _| {
        let status = std::process::Command::new("ip").args(["link", "set", "me", "down"]).status().unwrap();
        assert!(status.success());
        let error = PacketSocket::sender(me).unwrap().send(&[0xff; 60]).unwrap_err();
        assert!(error.to_string().starts_with("cannot send frames: Network is down"), "{error}");
    });
}

/// The kernel's collector is not waited for, so this sees only that sockets do go away.
#[test]
fn a_socket_that_is_dropped_is_closed_in_the_end() {
    on_a_wire(|me, _| {
        let open = || std::fs::read_to_string("/proc/thread-self/net/packet").unwrap().lines().count() - 1;
        let sockets: Vec<_> = (0..5).map(|_| PacketSocket::sender(me).unwrap()).collect();
        assert_eq!(open(), 5);
        drop(sockets);
        for _ in 0..500 {
            if open() == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{} sockets are open still", open());
    });
}
