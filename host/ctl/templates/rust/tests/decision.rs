//! The decision itself, natively: `cargo test` needs no cluster, no root and no WebAssembly.

use coordinator_sdk::testing::{Scenario, plan, refusal};
use {{module}}::MyStage;

const WITH: &str = r#"{"namespace": "tenant-a"}"#;

#[test]
fn an_ordinary_pod_answers_for_its_own_addresses_only() {
    let facts = Scenario::underlay("eth0", &["10.6.0.7/16"]).of_pod("shop", "web-0").facts();
    plan::<MyStage>(&facts, WITH).unwrap().has("net/ipv4/conf/eth0/arp_ignore = 1");
}

#[test]
fn a_pod_of_the_namespace_is_refused() {
    let facts = Scenario::underlay("eth0", &["10.6.0.7/16"]).of_pod("tenant-a", "web-0").facts();
    assert!(refusal::<MyStage>(&facts, WITH).reason.contains("tenant-a"));
}
