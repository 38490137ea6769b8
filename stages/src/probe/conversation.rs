//! What is asked, when, and what answers mean: a state machine without a clock and without a socket.
//!
//! Whoever runs it says what time it is and what was heard, and sends what it says. All questions go on at the same
//! time, each by its own times, so the whole takes as long as the longest.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use coordinator_sdk::{Family, Finding, Mac, Outcome, Probe, ProbeKind};
use ipnet::IpNet;

use super::frame::{self, Frame, Message, Operation};

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asker {
    /// The interface's own address on the link.
    pub mac: Option<Mac>,
    /// All addresses on links that are the Pod's: they never count as another host's.
    pub own: BTreeSet<Mac>,
    /// The interface's addresses, to ask from once they are known to be free.
    pub addresses: Vec<IpNet>,
    /// Addresses that the kernel found to be another host's.
    pub failed: Vec<IpAddr>,
}

/// Where a question stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It was asked so often, and something is to be done at that time.
    Asking { asked: u32, next: Duration },
    /// Nobody answered an asker without an address; whether there is one to ask from is not known yet.
    AwaitingAddress,
    /// It is answered.
    Over(Outcome, Option<Mac>),
}

#[derive(Debug, Clone)]
struct Question {
    probe: Probe,
    /// The address it is asked from; none in the first round.
    from: Option<IpAddr>,
    state: State,
}

/// All questions of one attachment.
#[derive(Debug, Clone)]
pub struct Conversation {
    asker: Asker,
    questions: Vec<Question>,
}

impl Conversation {
    /// Begins at time 0.
    pub fn new(asker: Asker, probes: &[Probe]) -> Self {
        let question = |probe: &Probe| {
            let is_lost = probe.kind == ProbeKind::Address && asker.failed.contains(&probe.target);
            let state = match is_lost {
                true => State::Over(Outcome::Conflict, None),
                false => State::Asking { asked: 0, next: Duration::ZERO },
            };
            Question { probe: probe.clone(), from: None, state }
        };
        let questions = probes.iter().map(question).collect();
        Self { asker, questions }
    }

    /// True when nothing is to be asked or awaited any more.
    pub fn is_over(&self) -> bool {
        self.questions.iter().all(|question| matches!(question.state, State::Over(..)))
    }

    /// When there is something to do next.
    pub fn next(&self) -> Option<Duration> {
        let times = self.questions.iter().filter_map(|question| match question.state {
            State::Asking { next, .. } => Some(next),
            _ => None,
        });
        times.min()
    }

    /// Does what is due, after everything that came before `now` was heard; the frames to send.
    pub fn advance(&mut self, now: Duration) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        for question in &mut self.questions {
            frames.extend(question.advance(now, self.asker.mac));
        }
        self.ask_from_own_addresses(now);
        for question in &mut self.questions {
            frames.extend(question.advance(now, self.asker.mac));
        }
        frames
    }

    /// Whoever stayed silent to an asker without an address is asked again by one with an address: some only answer
    /// that. Not before the address is known to be free, or the answer would go to, and be remembered for, its owner.
    fn ask_from_own_addresses(&mut self, now: Duration) {
        let checks: Vec<(IpAddr, State)> = self
            .questions
            .iter()
            .filter(|question| question.probe.kind == ProbeKind::Address)
            .map(|question| (question.probe.target, question.state))
            .collect();
        for question in self.questions.iter_mut().filter(|question| question.state == State::AwaitingAddress) {
            let gateway = question.probe.target;
            let of_family = checks.iter().filter(|(ip, _)| Family::of(*ip) == Family::of(gateway));
            if of_family.clone().any(|(_, state)| matches!(state, State::Asking { .. })) {
                continue;
            }
            let free = of_family.filter(|(_, state)| matches!(state, State::Over(Outcome::Free, _)));
            let free: Vec<IpAddr> = free.map(|(ip, _)| *ip).collect();
            let is_near = |ip: &&IpAddr| {
                let mut own = self.asker.addresses.iter();
                own.any(|prefix| prefix.addr() == **ip && prefix.contains(&gateway))
            };
            question.from = free.iter().find(is_near).or(free.first()).copied();
            question.state = match question.from {
                Some(_) => State::Asking { asked: 0, next: now },
                None => State::Over(Outcome::Silent, None),
            };
        }
    }

    /// Takes in a frame.
    pub fn hear(&mut self, frame: &Frame) {
        let said_by = match frame.message {
            Message::Arp { sender: (mac, _), .. } => mac,
            _ => frame.source,
        };
        if self.asker.own.contains(&said_by) || self.asker.own.contains(&frame.source) {
            return;
        }
        for question in &mut self.questions {
            let Probe { kind, target, .. } = question.probe;
            if matches!(question.state, State::Over(..)) {
                continue;
            }
            let outcome = match kind {
                ProbeKind::Address if is_claimed(frame, target) => Outcome::Conflict,
                ProbeKind::Gateway if is_answered(frame, target, &self.asker.own) => Outcome::Answered,
                _ => continue,
            };
            question.state = State::Over(outcome, Some(said_by));
        }
    }

    /// What was learned; a question that is not over yet counts as one that nobody answered.
    pub fn findings(&self) -> Vec<Finding> {
        let finding = |question: &Question| {
            let (outcome, mac) = match question.state {
                State::Over(outcome, mac) => (outcome, mac),
                _ => (question.unanswered(), None),
            };
            Finding { probe: question.probe.clone(), outcome, mac }
        };
        self.questions.iter().map(finding).collect()
    }
}

impl Question {
    fn unanswered(&self) -> Outcome {
        match self.probe.kind {
            ProbeKind::Address => Outcome::Free,
            ProbeKind::Gateway => Outcome::Silent,
        }
    }

    fn advance(&mut self, now: Duration, mac: Option<Mac>) -> Option<Vec<u8>> {
        let State::Asking { asked, next } = self.state else { return None };
        if next > now {
            return None;
        }
        if asked < self.probe.retries {
            let asked = asked + 1;
            let wait = if asked < self.probe.retries { self.probe.interval_ms } else { self.probe.timeout_ms };
            self.state = State::Asking { asked, next: now + Duration::from_millis(wait.into()) };
            return self.frame(mac?);
        }
        self.state = match (self.probe.kind, self.from) {
            (ProbeKind::Gateway, None) => State::AwaitingAddress,
            _ => State::Over(self.unanswered(), None),
        };
        None
    }

    fn frame(&self, mac: Mac) -> Option<Vec<u8>> {
        match (self.probe.target, self.from) {
            (IpAddr::V4(target), Some(IpAddr::V4(from))) => frame::arp_request((mac, from), target),
            (IpAddr::V4(target), _) => frame::arp_request((mac, Ipv4Addr::UNSPECIFIED), target),
            (IpAddr::V6(target), Some(IpAddr::V6(from))) => frame::solicitation((mac, from), target),
            (IpAddr::V6(target), _) => frame::solicitation((mac, Ipv6Addr::UNSPECIFIED), target),
        }
    }
}

/// Whether another host says that it has the address, or checks whether it may have it.
///
/// A probe to one host only is no check: switches ask so whether a host that they know is still there.
fn is_claimed(frame: &Frame, ip: IpAddr) -> bool {
    match (frame.message, ip) {
        (Message::Arp { operation, sender, target }, IpAddr::V4(ip)) => {
            let is_probe = operation == Operation::Request && sender.1.is_unspecified() && target.1 == ip;
            sender.1 == ip || is_probe && frame.is_to_many
        }
        (Message::Solicitation { source, target }, IpAddr::V6(ip)) => {
            source == ip || source.is_unspecified() && target == ip && frame.is_to_many
        }
        (Message::Advertisement { source, target }, IpAddr::V6(ip)) => source == ip || target == ip,
        _ => false,
    }
}

/// Whether it is an answer from the gateway: one to us where that can be told.
fn is_answered(frame: &Frame, gateway: IpAddr, own: &BTreeSet<Mac>) -> bool {
    match (frame.message, gateway) {
        (Message::Arp { operation, sender, target }, IpAddr::V4(gateway)) => {
            operation == Operation::Reply && sender.1 == gateway && own.contains(&target.0)
        }
        (Message::Advertisement { target, .. }, IpAddr::V6(gateway)) => target == gateway,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
