//! The definitions' rules and the plugin agree: over one table, each refuses what the other refuses, in the same words.
//!
//! The rules are evaluated as the stand-in of an API server does it; the agent's tests give the same table to a server.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout,
    reason = "a test fails by a panic"
)]

mod table;

use std::collections::BTreeMap;

use coordinator_apiserver::{Refused, Rules};
use coordinator_core::settings::{Layers, resolve};
use coordinator_objects::{
    crd::{self, Schema},
    network::{NetworkSpec, render},
};
use serde_json::{Value, json};

/// What the rules say; a wrong type is told by its name.
fn refusals(rules: &Rules, schema: &Schema, value: &Value) -> Vec<String> {
    let found = rules.refusals(&schema.to_json(true), value, "");
    let told = found.into_iter().map(|(_, refused)| match refused {
        Refused::Schema(text) => format!("schema: {text}"),
        Refused::Rule(text) => text,
    });
    told.collect()
}

#[test]
fn every_setting_of_the_plugin_has_its_schema_and_its_rows() {
    let canonical = |name: &str| coordinator_core::settings::canonical(name).unwrap();
    let schemas: Vec<&str> = crd::settings().into_iter().map(|(name, _)| canonical(name)).collect();
    let rows: Vec<&str> = table::settings().into_iter().map(|(name, _)| canonical(name)).collect();
    assert_eq!(schemas, coordinator_sdk::Settings::NAMES);
    assert_eq!(rows, coordinator_sdk::Settings::NAMES);
}

#[test]
fn rules_and_plugin_refuse_the_same_in_the_same_words() {
    let evaluator = Rules::default();
    let schemas: BTreeMap<&str, Schema> = crd::settings().into_iter().collect();
    let (mut accepted, mut refused) = (0, 0);
    for (name, values) in table::settings() {
        for value in values {
            let rules = refusals(&evaluator, &schemas[name], &value);
            let layer = json!({name: value});
            let plugin = resolve(&Layers { configuration: layer.as_object(), ..Layers::default() });
            let Err(problems) = plugin else {
                assert!(rules.is_empty(), "{name} = {value}: the plugin takes it, and the rules say {rules:?}");
                accepted += 1;
                continue;
            };
            refused += 1;
            assert!(!rules.is_empty(), "{name} = {value}: the rules take it, and the plugin says {}", problems[0]);
            // The wrong type is told by the API server itself, in its own words.
            if !rules[0].starts_with("schema: ") {
                let told = &problems[0].reason;
                // The plugin shows what cannot be seen; a rule has no function for that.
                let invisible = |rule: &str| rule.replace('\u{a0}', "\\u{a0}").replace('\u{2003}', "\\u{2003}");
                assert!(
                    told.ends_with(&invisible(&rules[0])),
                    "{name} = {value}: the plugin says {told:?}, the rules {rules:?}"
                );
            }
        }
    }
    assert!(accepted > 80 && refused > 100, "{accepted} accepted, {refused} refused");
}

/// Networks: what the renderer refuses is refused by a rule; what only it can see (JSON in a text) is left out.
#[test]
fn rules_and_renderer_refuse_the_same_networks() {
    let evaluator = Rules::default();
    let schema = crd::network_spec();
    for row in table::networks() {
        let rules = refusals(&evaluator, &schema, &row);
        let spec: NetworkSpec = serde_json::from_value(row.clone()).unwrap();
        match render("net", &BTreeMap::new(), &spec) {
            Ok(_) => assert!(rules.is_empty(), "{row}: it is rendered, and the rules say {rules:?}"),
            Err(problems) => {
                assert!(!rules.is_empty(), "{row}: the rules take it, and the renderer says {problems}");
                let said = |rule: &String| problems.0.iter().any(|problem| problem.contains(rule.as_str()));
                assert!(rules.iter().any(said), "{row}: the renderer says {problems}, the rules {rules:?}");
            }
        }
    }
}

#[test]
fn the_coordinators_type_of_prefixes_is_one_of_five() {
    let evaluator = Rules::default();
    let schema = crd::coordinator_spec();
    for (value, expected) in [("", true), ("auto", true), ("none", true), ("flannel", false)] {
        let rules = refusals(&evaluator, &schema, &json!({"podCIDRType": value}));
        assert_eq!(rules.is_empty(), expected, "{value}: {rules:?}");
    }
}

/// A server estimates what a message costs by how long its parts may be, and takes `string(number)` for endless: it would
/// refuse the whole definition.
#[test]
fn messages_are_made_of_texts_whose_length_is_known() {
    let mut count = 0;
    for has_addresses in [true, false] {
        for definition in crd::definitions(has_addresses) {
            each_message(&definition, &mut |expression| {
                count += 1;
                assert!(!expression.contains("string("), "{expression}");
            });
        }
    }
    assert!(count > 10, "{count} messages");
}

fn each_message(value: &Value, look: &mut dyn FnMut(&str)) {
    match value {
        Value::Object(fields) => {
            fields.get("messageExpression").and_then(Value::as_str).into_iter().for_each(&mut *look);
            fields.values().for_each(|value| each_message(value, look));
        }
        Value::Array(entries) => entries.iter().for_each(|value| each_message(value, look)),
        _ => {}
    }
}
