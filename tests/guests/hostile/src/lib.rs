//! A guest that misbehaves as its options say. It is written with the SDK, as a vendor's with a fault would be.

#![forbid(unsafe_code)]
#![allow(clippy::panic, reason = "it is its task")]

use std::{hint::black_box, mem::MaybeUninit};

use coordinator_sdk::{
    Change, Decision, Facts, Family, LinkEdit, LogLevel, Mac, Refusal, Route, Rule, Setting, Side, Source, Stage,
    Sysctl, log,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// What it does.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Deed {
    Nothing,
    Loop,
    Memory,
    Recursion,
    Panic,
    TwoMillionChanges,
    ManyChanges,
    LongReason,
    Chatter,
    Ungranted,
    OtherInterface,
    KernelTable,
    MulticastMac,
    EarlyPriority,
    NodeParameter,
    UngrantedSetting,
    Refuse,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// What it does.
    deed: Deed,
}

struct Hostile;

impl Stage for Hostile {
    type Options = Options;

    fn decide(facts: &Facts, options: &Options) -> Result<Decision, Refusal> {
        let mut decision = Decision::default();
        let attached = facts.attached();
        let route = |table, device: &str| {
            let to = Family::Ipv4.default_prefix();
            Change::AddRoute(Route::direct(Side::Pod, table, to, device))
        };
        match options.deed {
            Deed::Nothing => {}
            Deed::Loop => {
                let mut number = 0_u64;
                while black_box(true) {
                    number = black_box(number.wrapping_add(1));
                }
            }
            Deed::Memory => {
                let mut hoard = Vec::new();
                while black_box(true) {
                    // A byte of each page, so that it is soon through with what it may have.
                    let mut heap = Vec::<u8>::with_capacity(1 << 20);
                    heap.spare_capacity_mut().iter_mut().step_by(4096).for_each(|byte| *byte = MaybeUninit::new(1));
                    hoard.push(black_box(heap));
                }
            }
            Deed::Recursion => drop(black_box(deeper(black_box(1)))),
            Deed::Panic => panic!("the rails are\nnot where they were"),
            Deed::TwoMillionChanges => {
                decision.proposals = (0..2_000_000).map(remove).collect();
            }
            Deed::ManyChanges => decision.proposals = (0..1001).map(|_| remove(0)).collect(),
            Deed::LongReason => decision.push(Change::RemoveRoute(0), "x".repeat(4 << 20)),
            Deed::Chatter => {
                for number in 0..100_000 {
                    log(LogLevel::Info, &format!("line {number} {}", "y".repeat(100)));
                }
            }
            Deed::Ungranted => decision.push(Change::AddRule(Rule::all(Side::Pod, Family::Ipv4, 1500, 500)), "why not"),
            Deed::OtherInterface => decision.push(route(500, "lo"), "it is faster"),
            Deed::KernelTable => decision.push(route(255, &attached.name), "it is first"),
            Deed::MulticastMac => {
                let edit = LinkEdit { mac: Some(Mac([0x01, 0, 0x5e, 0, 0, 1])), ..LinkEdit::of(attached) };
                decision.push(Change::SetLink(edit), "everybody listens");
            }
            Deed::EarlyPriority => decision.push(Change::AddRule(Rule::all(Side::Pod, Family::Ipv4, 1, 500)), "first"),
            Deed::NodeParameter => {
                let key = "net/ipv4/ip_forward".to_owned();
                decision.push(Change::SetSysctl(Sysctl { side: Side::Node, key, value: "0".to_owned() }), "quiet");
            }
            Deed::UngrantedSetting => {
                let (name, value) = ("serviceCIDR".to_owned(), "10.96.0.0/12".into());
                decision.push(Change::SetSetting(Setting { name, value, source: Source::Builtin }), "no services");
            }
            Deed::Refuse => {
                return Err(Refusal::new(format!("{} may not run here", facts.request.pod_name)).hint("ask elsewhere"));
            }
        }
        Ok(decision)
    }
}

fn remove(id: u32) -> coordinator_sdk::Proposal {
    coordinator_sdk::Proposal { change: Change::RemoveRoute(id), why: String::new() }
}

#[allow(unconditional_recursion, reason = "it is its task")]
fn deeper(number: u64) -> u64 {
    let here = black_box([number; 64]);
    deeper(here[0].wrapping_add(1)).wrapping_add(black_box(here)[1])
}

coordinator_sdk::export_stage!(Hostile, needs: ["pod.link", "pod.route", "pod.rule", "node.sysctl"]);
