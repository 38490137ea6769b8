//! A lab: a Kubernetes node, its networks, an outside host and Pods, all in network namespaces.
//!
//! [`run`] builds it around the calling story. The story's thread is the node: it has a network and a
//! mount namespace of its own, so every program that it starts sees the lab and nothing of the machine,
//! and everything is gone when it ends, whatever it ended with. Pods get their interfaces from the real
//! macvlan plugin, and traffic is real TCP.
//!
//! ```no_run
//! coordinator_lab::run(|lab| {
//!     let pod = lab.pod("p1")?;
//!     pod.attach("eth0", &lab.underlay(7, coordinator_lab::Families::Dual), &serde_json::json!({}))?;
//!     for check in lab.checks(&pod) {
//!         assert!(check.run()?.is_well(), "{check}");
//!     }
//!     Ok(())
//! });
//! ```
//!
//! It needs root, or `unshare -Urn`; iproute2, nftables and the reference CNI plugins.

mod advertise;
mod ask;
mod capture;
mod chain;
mod command;
mod host;
mod lan;
mod monitor;
mod node;
mod overlay;
mod planned;
mod pod;
mod runtime;
mod service;
mod snapshot;
mod traffic;
mod trials;
mod verdict;

pub use ask::{Said, ask, ask_json};
pub use capture::{Capture, Seen, most_in_a_second};
pub use chain::{Chain, Plugins};
pub use command::{command, plugin, tool};
pub use host::Host;
pub use monitor::Monitor;
pub use node::{Families, Lab, run, tell};
pub use overlay::Overlay;
pub use planned::EVERY_ADD;
pub use pod::{Call, Network, PluginError, Pod};
pub use snapshot::{Snapshot, difference};
pub use traffic::{Check, Outcome, table};
pub use trials::{LossyWire, Trial, range};
pub use verdict::{Both, all_are_well, refused};
