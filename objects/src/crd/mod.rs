//! The CustomResourceDefinitions, from the same source as the code that reads the objects.
//!
//! Their rules refuse, when an object is written, what the plugin would refuse when a Pod starts. `deploy/crds` holds
//! them as files; a test compares.

mod network;
mod schema;
mod settings;

use serde_json::{Value, json};

use crate::{Kind, coordinator::PodCidrType};

pub use network::spec as network_spec;
pub use schema::{Rule, Schema};
pub use settings::settings;

/// SpiderCoordinator's spec.
pub fn coordinator_spec() -> Schema {
    let names: Vec<&str> = PodCidrType::NAMES.into_iter().map(|(name, _)| name).collect();
    let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    let kind = Schema::text("Where the overlay Pods' prefixes come from; auto when absent.", 16).rule(Rule::new(
        format!("self in ['', {}]", quoted.join(", ")),
        format!("expected one of {}", names.join(", ")),
    ));
    let mut properties = settings();
    properties.push(("podCIDRType", kind));
    Schema::object("The defaults of every node.", properties)
}

fn coordinator_status() -> Schema {
    let prefixes = |description| Schema::list(description, 4096, Schema::text("", 64));
    let condition = Schema::object(
        "",
        vec![
            ("type", Schema::text("What it is about.", 316)),
            ("status", Schema::text("True or False.", 16)),
            ("reason", Schema::text("One word.", 1024)),
            ("message", Schema::text("A sentence.", 32768)),
            (
                "lastTransitionTime",
                Schema::text("When the status changed last.", 64).with("format", json!("date-time")),
            ),
            ("observedGeneration", Schema::number("The spec that it is about.")),
        ],
    )
    .with("required", json!(["type", "status"]));
    let conditions = Schema::list("Each part of the phase on its own.", 16, condition)
        .with("x-kubernetes-list-type", json!("map"))
        .with("x-kubernetes-list-map-keys", json!(["type"]));
    Schema::object(
        "What the leader found.",
        vec![
            ("phase", Schema::text("Synced or NotReady.", 16)),
            ("reason", Schema::text("Why it is not ready.", 65536)),
            (
                "overlayPodCIDR",
                prefixes("The overlay Pods' prefixes; the last known good ones while the phase is NotReady."),
            ),
            ("serviceCIDR", prefixes("The services' prefixes, likewise.")),
            ("conditions", conditions),
        ],
    )
}

/// Both definitions; without functions for addresses for servers before Kubernetes 1.31.
pub fn definitions(has_addresses: bool) -> Vec<Value> {
    let column = |name: &str, path: &str| json!({"name": name, "type": "string", "jsonPath": path});
    let coordinator = definition(
        Kind::COORDINATOR,
        ("Cluster", "spidercoordinator", "scc"),
        &[("spec", coordinator_spec()), ("status", coordinator_status())],
        json!([
            column("PHASE", ".status.phase"),
            column("OVERLAYPODCIDR", ".status.overlayPodCIDR"),
            column("SERVICECIDR", ".status.serviceCIDR"),
            column("REASON", ".status.reason"),
        ]),
        has_addresses,
    );
    let network = definition(
        Kind::NETWORK,
        ("Namespaced", "spidermultusconfig", "smc"),
        &[("spec", network_spec())],
        json!([column("CNITYPE", ".spec.cniType")]),
        has_addresses,
    );
    vec![coordinator, network]
}

fn definition(
    kind: Kind,
    (scope, singular, short): (&str, &str, &str),
    parts: &[(&str, Schema)],
    columns: Value,
    has_addresses: bool,
) -> Value {
    let mut properties =
        json!({"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}});
    for (name, schema) in parts {
        if let Some(fields) = properties.as_object_mut() {
            fields.insert((*name).to_owned(), schema.to_json(has_addresses));
        }
    }
    let mut version = json!({
        "name": kind.version, "served": true, "storage": true, "additionalPrinterColumns": columns,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}},
    });
    if let (true, Some(fields)) = (parts.iter().any(|(name, _)| *name == "status"), version.as_object_mut()) {
        fields.insert("subresources".to_owned(), json!({"status": {}}));
    }
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{}.{}", kind.plural, kind.group)},
        "spec": {
            "group": kind.group, "scope": scope,
            "names": {
                "kind": kind.kind, "listKind": format!("{}List", kind.kind), "plural": kind.plural, "singular": singular,
                "shortNames": [short], "categories": ["spiderpool"],
            },
            "versions": [version],
        },
    })
}
