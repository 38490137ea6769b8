//! The deciding stages: pure functions from facts to proposals, one file each.
//!
//! Architecture invariant: nothing here touches the kernel, reads a file or a clock, so a stage can
//! be replayed on recorded facts and the same source can be compiled as a guest.

mod detect;
mod first_interface;
mod interface_routes;
mod mac_prefix;
mod mode;
mod neighbours;
mod node_routes;
mod pod_routes;
mod policy_routes;
mod reach;
mod reply_mark;
mod sysctls;
mod transmit_queue;
mod veth;

use coordinator_sdk::{Bound, DynStage, Stage};

pub use detect::DetectStage;
pub use interface_routes::InterfaceRoutesStage;
pub use mac_prefix::MacPrefixStage;
pub use mode::ModeStage;
pub use neighbours::NeighboursStage;
pub use node_routes::NodeRoutesStage;
pub use pod_routes::PodRoutesStage;
pub use policy_routes::PolicyRoutesStage;
pub use reply_mark::ReplyMarkStage;
pub use sysctls::SysctlsStage;
pub use transmit_queue::TransmitQueueStage;
pub use veth::{VethStage, node_veth_name};

/// The deciding stages by the name after `native:`, in the order of the built-in pipeline.
pub const NAMES: [&str; 12] = [
    "mode",
    "mac-prefix",
    "transmit-queue",
    "veth",
    "neighbours",
    "node-routes",
    "pod-routes",
    "interface-routes",
    "policy-routes",
    "reply-mark",
    "sysctls",
    "detect",
];

/// The stage with this name, when there is one. None of them takes options yet.
pub fn by_name(name: &str) -> Option<Box<dyn DynStage>> {
    fn bound<S>() -> Box<dyn DynStage>
    where
        S: Stage<Options = ()> + Send + Sync + 'static,
    {
        Box::new(Bound::<S> { options: () })
    }
    Some(match name {
        "mode" => bound::<ModeStage>(),
        "mac-prefix" => bound::<MacPrefixStage>(),
        "transmit-queue" => bound::<TransmitQueueStage>(),
        "veth" => bound::<VethStage>(),
        "neighbours" => bound::<NeighboursStage>(),
        "node-routes" => bound::<NodeRoutesStage>(),
        "pod-routes" => bound::<PodRoutesStage>(),
        "interface-routes" => bound::<InterfaceRoutesStage>(),
        "policy-routes" => bound::<PolicyRoutesStage>(),
        "reply-mark" => bound::<ReplyMarkStage>(),
        "sysctls" => bound::<SysctlsStage>(),
        "detect" => bound::<DetectStage>(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_stage() {
        for name in NAMES {
            assert!(by_name(name).is_some(), "{name}");
        }
        assert!(by_name("observe").is_none());
    }
}
