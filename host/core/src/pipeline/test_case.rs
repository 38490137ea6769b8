//! One `[[test]]`: recorded facts, and what the pipeline must make of them.

use serde_json::{Map, Value};

use super::{
    source::{At, Flaw, Place},
    table::Table,
};

pub(super) const KEYS: [&str; 7] = ["name", "facts", "settings", "plan", "contains", "lacks", "refuses"];
const EXPECTATIONS: [&str; 4] = ["plan", "contains", "lacks", "refuses"];

/// A test as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestCase {
    /// The whole entry's place.
    pub place: Place,
    /// What it is called.
    pub name: At<String>,
    /// The file with the facts, relative to the pipeline's.
    pub facts: At<String>,
    /// Settings that are changed in the facts, as if the CNI configuration set them.
    pub settings: Map<String, Value>,
    /// The file with the whole plan, relative to the pipeline's.
    pub plan: Option<At<String>>,
    /// Texts of which each must stand in a line of the plan.
    pub contains: Vec<At<String>>,
    /// Texts that no line of the plan may have.
    pub lacks: Vec<At<String>>,
    /// A text that must stand in the refusal; without it, a refusal is a failure.
    pub refuses: Option<At<String>>,
}

impl TestCase {
    pub(super) fn read(table: &Table<'_>, flaws: &mut Vec<Flaw>) -> Option<Self> {
        table.refuse_unknown(&KEYS, flaws);
        for (key, needed) in [("name", "a name"), ("facts", "facts")] {
            if !table.has(key) {
                flaws.push(Flaw::error(&table.place, format!("a test must have {needed}")));
            }
        }
        let (name, facts) = (table.text("name", flaws), table.text("facts", flaws));
        if !EXPECTATIONS.iter().any(|key| table.has(key)) {
            let message = "a test must expect something: plan, contains, lacks or refuses";
            flaws.push(Flaw::error(&table.place, message));
        }
        if let Some(place) = table.key_place("refuses")
            && EXPECTATIONS.iter().any(|key| *key != "refuses" && table.has(key))
        {
            flaws.push(Flaw::error(&place, "a pipeline that refuses makes no plan: refuses stands alone"));
        }
        let settings = table.table("settings", flaws).map(|table| super::document::settings(&table, flaws));
        let settings = settings.unwrap_or_default().into_iter().map(|(key, value)| (key.value, value.value));
        Some(Self {
            place: table.place.clone(),
            settings: settings.collect(),
            plan: table.text("plan", flaws),
            contains: table.texts("contains", flaws),
            lacks: table.texts("lacks", flaws),
            refuses: table.text("refuses", flaws),
            name: name?,
            facts: facts?,
        })
    }
}
