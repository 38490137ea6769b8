//! default-route: each namespace's Pods go out by the network that the platform team chose for it.
//!
//! It steers a built-in stage instead of making routes: it sets `podDefaultRouteNic` to the interface that the Pod has in
//! the chosen network, and `interface-routes` does the rest. A Pod's own choice, by annotation, goes before.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use coordinator_sdk::{Change, Decision, Facts, Refusal, Setting, Source, Stage};
use schemars::JsonSchema;
use serde::Deserialize;

const SETTING: &str = "podDefaultRouteNic";

/// What a pipeline says.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The network by which a namespace's Pods go out.
    pub networks: BTreeMap<String, String>,
}

/// The stage.
#[derive(Debug, Clone, Copy)]
pub struct DefaultRoute;

impl Stage for DefaultRoute {
    type Options = Options;

    fn decide(facts: &Facts, options: &Options) -> Result<Decision, Refusal> {
        let decision = Decision::default();
        let request = &facts.request;
        let Some(network) = options.networks.get(&request.pod_namespace) else { return Ok(decision) };
        if facts.settings.source(SETTING) == Source::Annotation {
            return Ok(decision);
        }
        let other =
            || facts.others.iter().find(|other| other.network == *network).map(|other| other.interface.as_str());
        let interface = if request.network == *network { Some(request.interface.as_str()) } else { other() };
        // The network may come with a later interface of the Pod: until then the first one stays.
        let Some(interface) = interface else { return Ok(decision) };
        let setting = Setting { name: SETTING.to_owned(), value: interface.into(), source: Source::default() };
        let why = format!("Pods of namespace {} go out by network {network}", request.pod_namespace);
        Ok(decision.propose(Change::SetSetting(setting), why))
    }
}

coordinator_sdk::export_stage!(DefaultRoute, needs: ["setting.podDefaultRouteNic"]);

#[cfg(test)]
mod tests {
    use coordinator_sdk::testing::{Scenario, plan};

    use super::*;

    const WITH: &str = r#"{"networks": {"edge": "fast"}}"#;

    fn chosen(scenario: Scenario) -> Option<String> {
        let planned = plan::<DefaultRoute>(&scenario.facts(), WITH).unwrap();
        assert!(planned.plan.edits.is_empty(), "it only steers: {planned}");
        planned.facts.settings.pod_default_route_nic.map(|name| name.to_string())
    }

    fn net1(namespace: &str, network: &str) -> Scenario {
        Scenario::overlay("net1", &["10.7.0.5/24"]).in_network(network).of_pod(namespace, "web-0")
    }

    #[test]
    fn the_namespaces_network_gets_the_default_route() {
        assert_eq!(chosen(net1("edge", "fast")).as_deref(), Some("net1"));
        assert_eq!(chosen(net1("shop", "fast")), None);
    }

    #[test]
    fn an_earlier_interface_in_that_network_keeps_it() {
        let later = net1("edge", "slow").with_other("net0", "fast", Some(101));
        assert_eq!(chosen(later).as_deref(), Some("net0"));
        assert_eq!(chosen(net1("edge", "slow")), None);
    }

    #[test]
    fn a_pods_own_choice_goes_before() {
        let annotated = net1("edge", "fast").with(|facts| {
            facts.settings.set(SETTING, &"eth0".into(), Source::Annotation).unwrap();
        });
        assert_eq!(chosen(annotated).as_deref(), Some("eth0"));
    }
}
