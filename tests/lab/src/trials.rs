//! Many questions to a wire that loses frames: how often the answer is wrong.
//!
//! A trial is one probe with the product's own conversation, codec, filter and socket, over a real bridge that drops
//! frames at random; some hundred of them share a loop, as the questions of one attachment do.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};
use coordinator_sdk::{Device, Mac, OnFinding, Outcome, Probe, ProbeKind};
use coordinator_stages::{
    kernel::packet::PacketSocket,
    probe::{
        self,
        conversation::{Asker, Conversation},
    },
};

use crate::{host::Host, node::Lab};

/// Trials in one loop.
const AT_ONCE: u8 = 100;

/// A wire between an asker and a host that answers to a hundred addresses of each family.
#[derive(Debug)]
pub struct LossyWire {
    asker: Host,
    index: u32,
    mac: Mac,
}

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    /// Whether a conflict may be missed, or a gateway be taken for silent.
    pub kind: ProbeKind,
    /// Whether it is asked by neighbour discovery.
    pub is_v6: bool,
    /// How often it is asked.
    pub retries: u32,
}

impl LossyWire {
    /// Lays it; one frame in five is lost.
    ///
    /// # Errors
    /// The lab's LAN cannot be altered.
    pub fn lay(lab: &Lab) -> Result<Self> {
        let addresses = (1..=AT_ONCE).flat_map(|at| [format!("{}/16", v4(at)), format!("{}/64", v6(at))]);
        let addresses: Vec<String> = addresses.collect();
        lab.neighbour("answers", 1, &addresses.iter().map(String::as_str).collect::<Vec<_>>())?;
        let asker = lab.neighbour("asks", 1, &[])?;
        let mac = asker.mac("eth0")?.parse()?;
        let index = asker.index("eth0")?;
        lab.wire_rules(&[
            "ether type arp numgen random mod 5 == 0 drop",
            "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } numgen random mod 5 == 0 drop",
        ])?;
        Ok(Self { asker, index, mac })
    }

    /// The probability that a trial's answer is wrong: every exchange loses its question or its answer.
    pub fn expected(trial: Trial) -> f64 {
        let exchange_fails = 1.0 - (1.0 - 0.2_f64).powi(2);
        exchange_fails.powf(f64::from(trial.retries))
    }

    /// Tries at least so often; how often it was, and how often the answer was wrong.
    ///
    /// # Errors
    /// The wire cannot be asked.
    pub fn tries(&self, trial: Trial, at_least: usize) -> Result<(usize, usize)> {
        let probe = |at| Probe {
            kind: trial.kind,
            device: Device::pod("eth0"),
            target: if trial.is_v6 { IpAddr::V6(v6(at)) } else { IpAddr::V4(v4(at)) },
            retries: trial.retries,
            interval_ms: 20,
            // Long enough for a machine that does other things: what is late is not lost.
            timeout_ms: 200,
            on_finding: OnFinding::Report,
        };
        let probes: Vec<Probe> = (1..=AT_ONCE).map(probe).collect();
        let asker = Asker { mac: Some(self.mac), own: [self.mac].into(), ..Asker::default() };
        let (mut tried, mut wrong) = (0, 0);
        while tried < at_least {
            let mut conversation = Conversation::new(asker.clone(), &probes);
            let outcome = self.asker.namespace().enter(|_| {
                let (interest, groups) = (probe::interest(&probes), probe::groups(&probes));
                let socket = PacketSocket::listener(self.index, &interest, &groups)?;
                probe::converse(&[socket], &mut conversation)
            });
            outcome?.context("the conversation ended early")?;
            let is_wrong = |outcome| matches!(outcome, Outcome::Free | Outcome::Silent);
            let findings = conversation.findings();
            wrong += findings.iter().filter(|finding| is_wrong(finding.outcome)).count();
            tried += findings.len();
        }
        Ok((tried, wrong))
    }
}

fn v4(at: u8) -> Ipv4Addr {
    [10, 6, 3, at].into()
}

fn v6(at: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x10, 6, 0, 0, 0, 3, at.into())
}

/// The range in which the number of wrong answers lies, but for a share of `outside` of all such measurements.
pub fn range(tried: usize, probability: f64, outside: f64) -> (usize, usize) {
    // The binomial distribution, from one term to the next.
    let odds = probability / (1.0 - probability);
    let count = |at: usize| at as f64;
    let mut term = (count(tried) * (1.0 - probability).ln()).exp();
    let mut below = 0.0;
    let (mut low, mut high) = (None, tried);
    for at in 0..=tried {
        let up_to_here = below + term;
        if low.is_none() && up_to_here > outside / 2.0 {
            low = Some(at);
        }
        if up_to_here >= 1.0 - outside / 2.0 {
            high = at;
            break;
        }
        below = up_to_here;
        term *= count(tried - at) / count(at + 1) * odds;
    }
    (low.unwrap_or(0), high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_is_the_binomial_distributions() {
        // Of ten throws of a coin, all but a hundredth have 1 to 9 heads; of tables of the distribution.
        assert_eq!(range(10, 0.5, 0.01), (1, 9));
        assert_eq!(range(100, 0.5, 0.05), (40, 60));
        assert_eq!(range(10_000, 0.36_f64.powi(8), 0.01), (0, 8));
    }
}
