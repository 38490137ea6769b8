//! Files with objects: what is wrong with them, each problem at its line, and the definitions that follow from them.
//!
//! The same code that runs in the cluster, on text: SpiderCoordinator and SpiderMultusConfig as they are applied, and the
//! configurations in NetworkAttachmentDefinitions that people write themselves. Objects of other kinds are passed over; a
//! `List`, as `kubectl get` writes it, is its items.

mod object;
mod structure;
mod text;

use std::{collections::BTreeMap, ops::Range};

use coordinator_core::pipeline::{Problem, Severity};
use serde_json::Value;

use object::Flaw;
use text::Document;

/// Everything that was found in some files.
///
/// ```
/// use coordinator_objects::manifest::Manifest;
///
/// let mut manifest = Manifest::default();
/// manifest.read("net.yaml", "kind: SpiderMultusConfig\napiVersion: spiderpool.spidernet.io/v2beta1\n\
///                            metadata: {name: storage}\nspec: {cniType: macvlan, macvlan: {master: [ens1], vlanId: 7}}\n");
/// let problems: Vec<String> = manifest.problems.iter().map(ToString::to_string).collect();
/// assert_eq!(problems[0], "net.yaml:4:52: SpiderMultusConfig storage: macvlan.vlanId is no field here; did you mean vlanID?");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Manifest {
    /// The NetworkAttachmentDefinitions of the SpiderMultusConfigs that are right, in their order.
    pub definitions: Vec<Value>,
    /// What is wrong, in the order of files and lines.
    pub problems: Vec<Problem>,
    /// How many objects were looked at.
    pub objects: usize,
    /// Definitions by namespace and name, each with the object that it follows from.
    names: BTreeMap<(String, String), String>,
}

impl Manifest {
    /// Reads a file's text; `path` is what messages call it.
    pub fn read(&mut self, path: &str, text: &str) {
        let documents = match Document::read_all(text) {
            Ok(documents) => documents,
            Err((place, told)) => return self.problems.push(problem(path, text, place, Severity::Error, told)),
        };
        let mut found = Vec::new();
        for document in documents {
            let is_list = document.value.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
            match document.value.get("items").and_then(Value::as_array) {
                Some(items) if is_list => {
                    for (at, item) in items.iter().enumerate() {
                        self.object(&document.part(&format!("items[{at}]"), item), &mut found);
                    }
                }
                _ => self.object(&document, &mut found),
            }
        }
        found.sort_by_key(|(place, ..)| place.start);
        let told = found.into_iter().map(|(place, severity, told)| problem(path, text, place, severity, told));
        self.problems.extend(told);
    }

    /// True when something cannot stay as it is.
    pub fn is_wrong(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }

    fn object(&mut self, document: &Document, found: &mut Vec<(Range<usize>, Severity, String)>) {
        let Some(mut outcome) = object::look(&document.value) else { return };
        self.objects = self.objects.saturating_add(1);
        if let Some(definition) = outcome.definition {
            let text = |pointer: &str| definition.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let name = (text("/metadata/namespace").to_owned(), text("/metadata/name").to_owned());
            match self.names.get(&name) {
                Some(other) => outcome.flaws.push(Flaw::error(
                    "metadata",
                    format!(
                        "its definition {} is {other}'s already; annotation {} gives it another name",
                        name.1,
                        crate::network::CR_NAME
                    ),
                )),
                None => {
                    self.names.insert(name, outcome.title.clone());
                    self.definitions.push(definition);
                }
            }
        }
        for flaw in outcome.flaws {
            found.push((document.place(&flaw.path), flaw.severity, format!("{}: {}", outcome.title, flaw.told)));
        }
    }
}

fn problem(path: &str, text: &str, place: Range<usize>, severity: Severity, message: String) -> Problem {
    let before = text.get(..place.start).unwrap_or(text);
    let line = before.matches('\n').count().saturating_add(1);
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count().saturating_add(1);
    Problem { path: path.to_owned(), line, column, span: place, severity, message }
}

#[cfg(test)]
mod tests;
