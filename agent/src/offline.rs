//! Objects without a cluster: what the leader would make of them, and what is wrong with them.
//!
//! For a repository's checks and for a curious person: the same code that runs in the cluster, on text.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    api::Kind,
    coordinator::Coordinator,
    network::{NetworkSpec, render},
};

/// What becomes of some objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outlook {
    /// The NetworkAttachmentDefinitions, YAML documents.
    pub definitions: String,
    /// What is wrong, each line with the object's kind and name.
    pub problems: Vec<String>,
}

/// Renders every SpiderMultusConfig of a text with YAML documents, and checks every SpiderCoordinator; other kinds are
/// passed over.
///
/// # Errors
/// The text is not YAML, or an object cannot be written as such.
pub fn look(text: &str) -> Result<Outlook, String> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| error.to_string())?;
    let mut outlook = Outlook::default();
    for document in documents {
        let name = document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("?").to_owned();
        let is_of = |kind: Kind| document.get("kind").and_then(Value::as_str) == Some(kind.kind);
        if is_of(Kind::COORDINATOR) {
            let problems = Coordinator::parse("", "", 0, &document).problems();
            outlook.problems.extend(problems.into_iter().map(|problem| format!("SpiderCoordinator {name}: {problem}")));
        }
        if is_of(Kind::NETWORK) {
            match definition(&name, &document) {
                Ok(definition) => {
                    outlook.definitions.push_str("---\n");
                    let yaml = serde_saphyr::to_string(&definition).map_err(|error| error.to_string())?;
                    outlook.definitions.push_str(&yaml);
                }
                Err(problems) => {
                    let told = problems.into_iter().map(|problem| format!("SpiderMultusConfig {name}: {problem}"));
                    outlook.problems.extend(told);
                }
            }
        }
    }
    Ok(outlook)
}

fn definition(name: &str, document: &Value) -> Result<Value, Vec<String>> {
    let spec = document.get("spec").cloned().unwrap_or_default();
    let spec: NetworkSpec = serde_json::from_value(spec).map_err(|error| vec![error.to_string()])?;
    let annotations = document.pointer("/metadata/annotations").and_then(Value::as_object);
    let annotations: BTreeMap<String, String> = annotations
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    let attachment = render(name, &annotations, &spec).map_err(|error| error.0)?;
    let mut metadata = json!({"name": attachment.name, "annotations": attachment.annotations});
    if let (Some(namespace), Some(fields)) = (document.pointer("/metadata/namespace"), metadata.as_object_mut()) {
        fields.insert("namespace".to_owned(), namespace.clone());
    }
    let spec = attachment.config.map_or_else(|| json!({}), |config| json!({"config": config}));
    let kind = Kind::DEFINITION;
    Ok(json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": metadata, "spec": spec}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_rendered_and_checked_without_a_cluster() {
        let text = "apiVersion: v1\nkind: ConfigMap\n---\nkind: SpiderCoordinator\nmetadata: {name: default}\nspec: {vethMTU: 1}\n---\n\
                    kind: SpiderMultusConfig\nmetadata: {name: storage, namespace: prod}\nspec:\n  cniType: macvlan\n  macvlan: {master: [ens1]}\n---\n\
                    kind: SpiderMultusConfig\nmetadata: {name: wrong}\nspec: {cniType: sriov}\n";
        let outlook = look(text).unwrap();
        let made: Value = serde_saphyr::from_multiple::<Value>(&outlook.definitions).unwrap().remove(0);
        assert_eq!(
            (&made["metadata"]["namespace"], &made["kind"]),
            (&json!("prod"), &json!("NetworkAttachmentDefinition"))
        );
        assert!(made["spec"]["config"].as_str().unwrap().contains(r#""type":"coordinator""#), "{made}");
        let [coordinator, network] = outlook.problems.as_slice() else { panic!("{outlook:?}") };
        assert!(coordinator.starts_with("SpiderCoordinator default: vethMTU = 1: expected"), "{coordinator}");
        assert!(network.starts_with("SpiderMultusConfig wrong: sriov is missing"), "{network}");
        assert!(look("a: [").is_err());
    }
}
