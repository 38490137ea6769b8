//! The definitions' rules in an API server: it takes and refuses what the plugin does, in the same words.
//!
//! The rows are those that `objects/` holds against the plugin and the renderer themselves.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout,
    reason = "a test fails by a panic"
)]

mod lab;
#[path = "../../objects/tests/table/mod.rs"]
mod table;

use coordinator_agent::api::objects;
use coordinator_apiserver::{Refused, Rules};
use coordinator_objects::{
    Kind,
    crd::{self, Schema},
};
use kube::{api::PostParams, core::DynamicObject};
use lab::World;
use serde_json::{Value, json};

/// What the server says of a new object with this spec.
async fn asked(world: &World, kind: Kind, spec: &Value) -> Result<(), String> {
    let namespace = (kind == Kind::NETWORK).then_some(world.namespace.as_str());
    let object =
        json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {"name": "row"}, "spec": spec});
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    match objects(&world.client, kind, namespace).create(&dry, &object).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 422 => Err(status.message),
        Err(error) => panic!("{spec}: {error}"),
    }
}

/// What types and rules say by themselves, as far as the server can have them.
fn expected(world: &World, rules: &Rules, schema: &Schema, spec: &Value) -> Vec<(String, Refused)> {
    rules.refusals(&schema.to_json(lab::has_addresses(world.minor)), spec, "spec")
}

fn agree(expected: &[(String, Refused)], answer: &Result<(), String>) -> bool {
    match answer {
        Ok(()) => expected.is_empty(),
        Err(told) => {
            !expected.is_empty()
                && expected.iter().all(|(path, refused)| match refused {
                    // The schema's own words are the server's affair.
                    Refused::Schema(_) => told.contains(path.as_str()),
                    Refused::Rule(text) => told.contains(&format!(": {text}")) && told.contains(path.as_str()),
                })
        }
    }
}

#[tokio::test]
async fn a_server_refuses_what_the_plugin_refuses_in_the_same_words() {
    let world = World::start().await;
    let rules = Rules::default();
    let rows = table::settings().into_iter().flat_map(|(name, values)| {
        values.into_iter().map(move |value| (Kind::COORDINATOR, crd::coordinator_spec(), json!({name: value})))
    });
    let kinds = ["", "auto", "none", "flannel"].map(|kind| json!({"podCIDRType": kind}));
    let kinds = kinds.into_iter().map(|spec| (Kind::COORDINATOR, crd::coordinator_spec(), spec));
    let networks = table::networks().into_iter().map(|spec| (Kind::NETWORK, crd::network_spec(), spec));
    assert!(lab::has_rules(world.minor), "a server before Kubernetes 1.25 has no rules that it could be asked for");
    // A definition that has just been changed is in force a moment later.
    let in_force = async || asked(&world, Kind::COORDINATOR, &json!({"mode": "sideways"})).await.err();
    lab::eventually("the rules are in force", in_force).await;
    let (mut taken, mut refused, mut wrong) = (0, 0, Vec::new());
    for (kind, schema, spec) in rows.chain(kinds).chain(networks) {
        let answer = asked(&world, kind, &spec).await;
        let expected = expected(&world, &rules, &schema, &spec);
        if !agree(&expected, &answer) {
            wrong.push(format!("{spec}: the server says {answer:?}, the rules {expected:?}"));
        }
        let count = if answer.is_ok() { &mut taken } else { &mut refused };
        *count += 1;
    }
    println!("{taken} taken, {refused} refused");
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
    assert!(taken > 100 && refused > 100, "{taken} taken, {refused} refused");
}
