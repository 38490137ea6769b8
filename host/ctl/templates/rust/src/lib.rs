//! {{name}}: refuses the Pods of one namespace; all others answer ARP for their own addresses only.

#![forbid(unsafe_code)]

use coordinator_sdk::{Change, Decision, Facts, Refusal, Side, Stage, Sysctl};
use schemars::JsonSchema;
use serde::Deserialize;

/// What a pipeline writes into `[stage.with]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The namespace whose Pods are refused.
    pub namespace: String,
}

/// The stage.
#[derive(Debug)]
pub struct MyStage;

impl Stage for MyStage {
    type Options = Options;

    fn decide(facts: &Facts, options: &Options) -> Result<Decision, Refusal> {
        let request = &facts.request;
        if request.pod_namespace == options.namespace {
            return Err(Refusal::new(format!("Pods of namespace {} may not use this network", options.namespace))
                .hint("ask the platform team for a network of your own"));
        }
        let key = format!("net/ipv4/conf/{}/arp_ignore", request.interface);
        let sysctl = Sysctl { side: Side::Pod, key, value: "1".to_owned() };
        Ok(Decision::default().propose(Change::SetSysctl(sysctl), "an interface answers for its own addresses only"))
    }
}

coordinator_sdk::export_stage!(MyStage, needs: ["pod.sysctl"]);
