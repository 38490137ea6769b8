//! Built-in stages as guests: the very source of `stages/src/decide`, compiled for another target.
//!
//! A deciding stage is a pure function, so it does not matter which side of the sandbox it runs on; a property test
//! asks both and compares. A component is one stage: a feature says which.

#![forbid(unsafe_code)]

#[path = "../../src/decide/mod.rs"]
#[allow(dead_code, unused_imports, unreachable_pub, reason = "one stage of many is exported")]
mod decide;

#[cfg(feature = "mac-prefix")]
coordinator_sdk::export_stage!(decide::MacPrefixStage, name: "mac-prefix", needs: ["pod.link"]);

#[cfg(feature = "pod-routes")]
coordinator_sdk::export_stage!(decide::PodRoutesStage, name: "pod-routes", needs: ["pod.route"]);

#[cfg(feature = "policy-routes")]
coordinator_sdk::export_stage!(decide::PolicyRoutesStage, name: "policy-routes", needs: ["pod.route"]);
