//! The vocabulary of `coordinator`: what a stage sees, what it may propose, and how the host turns
//! proposals into one difference between the kernel's state and the wanted one.
//!
//! Nothing here does I/O, reads a clock or depends on a kernel crate, so the same source compiles
//! natively and for `wasm32-unknown-unknown`. Types mirror `wit/` one to one.
//!
//! ```
//! use coordinator_sdk::{Change, Decision, Facts, Refusal, Stage, Sysctl, Side};
//!
//! /// Lets every Pod bind ports below 1024 without a capability.
//! struct LowPorts;
//!
//! impl Stage for LowPorts {
//!     type Options = ();
//!     fn decide(_facts: &Facts, _options: &()) -> Result<Decision, Refusal> {
//!         let key = "net/ipv4/ip_unprivileged_port_start".to_owned();
//!         let sysctl = Sysctl { side: Side::Pod, key, value: "0".to_owned() };
//!         Ok(Decision::default().propose(Change::SetSysctl(sysctl), "low ports are open in Pods"))
//!     }
//! }
//! assert_eq!(LowPorts::decide(&Facts::default(), &()).unwrap().proposals.len(), 1);
//! ```

// A component's exports are unsafe by nature; they are generated, and only for wasm32.
#![cfg_attr(not(target_arch = "wasm32"), forbid(unsafe_code))]
#![cfg_attr(target_arch = "wasm32", deny(unsafe_code))]

// The bindings name this crate as their users do.
#[cfg(target_arch = "wasm32")]
extern crate self as coordinator_sdk;

mod change;
mod diff;
mod drift;
mod export;
mod facts;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;
mod json;
mod key;
mod log;
mod mac;
mod model;
mod name;
mod object;
pub mod options;
mod probe;
mod project;
mod route;
mod settings;
mod stage;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use change::{AddressEdit, Change, Decision, LinkEdit, Proposal, Refusal, RouteMove, VethPair};
pub use diff::{Edit, Plan, PlannedEdit, diff};
pub use drift::{Drift, drifts};
pub use facts::{Claim, Facts, Mode, OtherAttachment, Request};
pub use json::Json;
pub use key::Key;
/// A map of few entries, which is a sorted list: a tree has ten kilobytes of code, and would have them in each guest.
pub use litemap::LiteMap;
pub use log::log;
pub use mac::{Mac, MacPrefix, ParseMacError};
pub use model::Model;
pub use name::{ContainerId, InterfaceName, NameError};
pub use object::{
    Address, AddressFlags, Device, Family, Link, LinkFlags, Neighbour, ReplyMark, Side, Sysctl, is_global,
};
pub use probe::{Finding, OnFinding, Outcome, Probe, ProbeKind};
pub use project::{ProjectError, Projection, Skipped};
pub use route::{KnownRoute, KnownRule, Mark, NextHop, Route, RouteFlags, RouteKind, Rule, TABLE_LOCAL, TABLE_MAIN};
pub use settings::{
    DetectOptions, LogLevel, LogOptions, PolicyRoute, RpFilter, Setting, SettingProblem, Settings, Source,
};
pub use stage::{Bound, DynStage, Stage};

/// What says nothing is not written out: records and recorded facts stay small.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A map as a JSON object, when it is empty too. (`LiteMap` does not know then whether its keys are texts, and writes a list.)
fn as_object<V: serde::Serialize, S: serde::Serializer>(
    map: &LiteMap<String, V>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(map)
}

/// The routing protocol number that marks every route and rule of ours (`rtm_protocol`, `FRA_PROTOCOL`).
///
/// It is not assigned in iproute2's `rt_protos` nor used by a known routing daemon or CNI plugin.
pub const PROTOCOL: u8 = 66;

/// The Pod's table that leads back over `veth0`, or over the first interface of an overlay Pod.
pub const REPLY_TABLE: u32 = 100;

/// The priority of the node's rule that leads to `hostRuleTable`, shared by all Pods.
pub const NODE_RULE_PRIORITY: u32 = 1000;

/// The Pod's priority of the rule for marked replies: before every source rule.
pub const MARK_RULE_PRIORITY: u32 = 1000;

/// The priority of the Pod's rules that send what comes from an interface's address to the interface's table.
pub const SOURCE_RULE_PRIORITY: u32 = 1001;

/// The first table that a further interface of the Pod may get.
pub const FIRST_INTERFACE_TABLE: u32 = 101;

/// The name of the Pod's end of the veth pair.
pub const POD_VETH: &str = "veth0";
