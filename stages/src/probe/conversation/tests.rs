use coordinator_sdk::{Device, OnFinding};

use super::*;

const US: Mac = Mac([2, 0, 0, 0, 0, 1]);
const OURS_TOO: Mac = Mac([2, 0, 0, 0, 0, 2]);
const OTHER: Mac = Mac([2, 0, 0, 0, 0, 9]);
const NOBODY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn probe(kind: ProbeKind, target: &str) -> Probe {
    Probe {
        kind,
        device: Device::pod("eth0"),
        target: ip(target),
        retries: 3,
        interval_ms: 10,
        timeout_ms: 100,
        on_finding: OnFinding::Refuse,
    }
}

fn about(probes: &[Probe]) -> Conversation {
    let addresses = ["10.9.0.2/24", "10.6.2.20/16", "fd00::2/64"].map(|text| text.parse().unwrap()).to_vec();
    let asker = Asker { mac: Some(US), own: [US, OURS_TOO].into(), addresses, failed: vec![ip("fd00::dead")] };
    Conversation::new(asker, probes)
}

fn arp(operation: Operation, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Frame {
    let is_to_many = operation == Operation::Request;
    Frame { source: sender.0, is_to_many, message: Message::Arp { operation, sender, target } }
}

fn advert(source: Mac, target: &str) -> Frame {
    let IpAddr::V6(target) = ip(target) else { panic!("{target}") };
    Frame { source, is_to_many: true, message: Message::Advertisement { source: target, target } }
}

/// Runs to the end without an answer; when each frame was sent, and by whom it was asked.
fn unanswered(conversation: &mut Conversation) -> Vec<(Duration, Frame)> {
    let mut sent = Vec::new();
    let mut now = Duration::ZERO;
    for _ in 0..100 {
        sent.extend(conversation.advance(now).iter().map(|bytes| (now, Frame::decode(bytes).unwrap())));
        if conversation.is_over() {
            return sent;
        }
        now = conversation.next().unwrap();
    }
    panic!("it does not end");
}

fn outcomes(conversation: &Conversation) -> Vec<(Outcome, Option<Mac>)> {
    conversation.findings().into_iter().map(|finding| (finding.outcome, finding.mac)).collect()
}

#[test]
fn questions_are_asked_in_their_intervals_and_all_at_the_same_time() {
    let probes = [
        probe(ProbeKind::Address, "10.6.2.20"),
        probe(ProbeKind::Address, "fd00::2"),
        Probe { retries: 1, timeout_ms: 30, ..probe(ProbeKind::Gateway, "10.6.0.1") },
    ];
    let mut conversation = about(&probes);
    let sent = unanswered(&mut conversation);
    let times: Vec<u64> = sent.iter().map(|(at, _)| u64::try_from(at.as_millis()).unwrap()).collect();
    // The gateway is asked again when its own address is known to be free, after 20 + 100 ms.
    assert_eq!(times, [0, 0, 0, 10, 10, 20, 20, 120]);
    assert_eq!(outcomes(&conversation), [(Outcome::Free, None), (Outcome::Free, None), (Outcome::Silent, None)]);
}

#[test]
fn the_last_question_gets_its_whole_time_however_late_it_was() {
    let mut conversation = about(&[probe(ProbeKind::Address, "10.6.2.20")]);
    conversation.advance(ms(0));
    conversation.advance(ms(50));
    conversation.advance(ms(300));
    assert_eq!(conversation.next(), Some(ms(400)));
    conversation.advance(ms(399));
    assert!(!conversation.is_over());
    conversation.hear(&arp(Operation::Reply, (OTHER, v4("10.6.2.20")), (US, NOBODY)));
    assert_eq!(outcomes(&conversation), [(Outcome::Conflict, Some(OTHER))]);
}

#[test]
fn whoever_says_or_checks_that_it_has_our_address_is_a_conflict() {
    let address = v4("10.6.2.20");
    let claims = [
        arp(Operation::Reply, (OTHER, address), (US, NOBODY)),
        arp(Operation::Request, (OTHER, address), (Mac([0; 6]), address)),
        arp(Operation::Request, (OTHER, address), (Mac([0; 6]), v4("10.6.0.1"))),
        arp(Operation::Request, (OTHER, NOBODY), (Mac([0; 6]), address)),
    ];
    for claim in claims {
        let mut conversation = about(&[probe(ProbeKind::Address, "10.6.2.20")]);
        conversation.hear(&claim);
        assert_eq!(outcomes(&conversation), [(Outcome::Conflict, Some(OTHER))], "{claim:?}");
        assert!(conversation.is_over());
    }
    let solicit = |source: &str, target: &str| {
        let (IpAddr::V6(source), IpAddr::V6(target)) = (ip(source), ip(target)) else { panic!("{source}") };
        Frame { source: OTHER, is_to_many: true, message: Message::Solicitation { source, target } }
    };
    for claim in [advert(OTHER, "fd00::2"), solicit("::", "fd00::2"), solicit("fd00::2", "fd00::1")] {
        let mut conversation = about(&[probe(ProbeKind::Address, "fd00::2")]);
        conversation.hear(&claim);
        assert_eq!(outcomes(&conversation), [(Outcome::Conflict, Some(OTHER))], "{claim:?}");
    }
}

#[test]
fn what_is_no_claim_changes_nothing() {
    let address = v4("10.6.2.20");
    let mut innocent = vec![
        // Our own, by any interface.
        arp(Operation::Reply, (OURS_TOO, address), (US, NOBODY)),
        arp(Operation::Request, (US, NOBODY), (Mac([0; 6]), address)),
        // Somebody asks for us, announces himself, or is told something.
        arp(Operation::Request, (OTHER, v4("10.6.0.9")), (Mac([0; 6]), address)),
        arp(Operation::Reply, (OTHER, v4("10.6.0.9")), (US, address)),
        arp(Operation::Request, (OTHER, v4("10.6.0.9")), (Mac([0; 6]), v4("10.6.0.9"))),
        advert(OTHER, "fd00::9"),
        advert(OURS_TOO, "fd00::2"),
    ];
    // A bond's frame of our own, by a slave's address.
    let looped = arp(Operation::Request, (OTHER, NOBODY), (Mac([0; 6]), address));
    innocent.push(Frame { source: OURS_TOO, ..looped });
    // A switch asks one host only whether it is still there.
    innocent.push(Frame { is_to_many: false, ..looped });
    let probes = [probe(ProbeKind::Address, "10.6.2.20"), probe(ProbeKind::Address, "fd00::2")];
    for frame in innocent {
        let mut conversation = about(&probes);
        let next = conversation.next();
        conversation.hear(&frame);
        assert_eq!(conversation.next(), next, "{frame:?}");
        unanswered(&mut conversation);
        assert_eq!(outcomes(&conversation), [(Outcome::Free, None); 2], "{frame:?}");
    }
}

#[test]
fn a_gateway_that_answers_ends_its_wait_at_once_and_one_that_talks_to_others_does_not() {
    let gateway = v4("10.6.0.1");
    let probes = [probe(ProbeKind::Gateway, "10.6.0.1"), probe(ProbeKind::Gateway, "fd00::1")];
    let mut conversation = about(&probes);
    conversation.advance(ms(0));
    conversation.hear(&arp(Operation::Request, (OTHER, gateway), (Mac([0; 6]), gateway)));
    conversation.hear(&arp(Operation::Reply, (OTHER, gateway), (OTHER, gateway)));
    conversation.hear(&advert(OTHER, "fd00::9"));
    assert_eq!(outcomes(&conversation), [(Outcome::Silent, None); 2]);
    conversation.hear(&arp(Operation::Reply, (OTHER, gateway), (US, NOBODY)));
    conversation.hear(&advert(OTHER, "fd00::1"));
    assert!(conversation.is_over());
    assert_eq!(outcomes(&conversation), [(Outcome::Answered, Some(OTHER)); 2]);
}

#[test]
fn a_silent_gateway_is_asked_with_our_address_only_when_that_is_free() {
    let probes = [
        probe(ProbeKind::Address, "10.9.0.2"),
        probe(ProbeKind::Address, "10.6.2.20"),
        probe(ProbeKind::Gateway, "10.6.0.1"),
    ];
    let senders = |sent: &[(Duration, Frame)]| -> Vec<String> {
        let gateway = sent.iter().filter_map(|(_, frame)| match frame.message {
            Message::Arp { sender, target, .. } if target.1 == v4("10.6.0.1") => Some(sender.1.to_string()),
            _ => None,
        });
        gateway.collect()
    };
    let sent = unanswered(&mut about(&probes));
    // The address in the gateway's subnet, though another one comes first.
    assert_eq!(senders(&sent), ["0.0.0.0", "0.0.0.0", "0.0.0.0", "10.6.2.20", "10.6.2.20", "10.6.2.20"]);
    // Both are another host's: nobody hears of them.
    let mut conversation = about(&probes);
    for address in ["10.9.0.2", "10.6.2.20"] {
        conversation.hear(&arp(Operation::Reply, (OTHER, v4(address)), (US, NOBODY)));
    }
    assert_eq!(senders(&unanswered(&mut conversation)), ["0.0.0.0"; 3]);
    assert_eq!(outcomes(&conversation)[2], (Outcome::Silent, None));
    // Not known to be free: nobody asked.
    assert_eq!(senders(&unanswered(&mut about(&probes[2..]))), ["0.0.0.0"; 3]);
}

#[test]
fn what_the_kernel_found_out_is_not_asked_again() {
    let mut conversation = about(&[probe(ProbeKind::Address, "fd00::dead")]);
    assert!(conversation.is_over());
    assert!(conversation.advance(ms(0)).is_empty());
    assert_eq!(outcomes(&conversation), [(Outcome::Conflict, None)]);
}
