//! One `[[stage]]` as the user wrote it: what it uses, where it stands, when it runs.

use serde_json::{Map, Value};

use super::{
    guest::{Limits, OnFailure, wrong_grant},
    source::{At, Flaw, Place},
    table::Table,
    when::When,
};

use crate::guest::Digest;

pub(super) const KEYS: [&str; 12] =
    ["name", "use", "sha256", "before", "after", "replace", "remove", "grant", "limits", "on-failure", "when", "with"];
/// The keys that say where a stage stands among those of the pipeline that is extended.
const PLACINGS: [&str; 4] = ["before", "after", "replace", "remove"];

/// Where a stage stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placing {
    /// Behind the one written before it.
    Last,
    /// Right in front of this one.
    Before(At<String>),
    /// Right behind this one.
    After(At<String>),
    /// In the place of this one.
    Replace(At<String>),
}

/// A stage as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageEntry {
    /// The whole entry's place.
    pub place: Place,
    /// What it is called.
    pub name: At<String>,
    /// `native:NAME` or `wasm:PATH`.
    pub uses: At<String>,
    /// Where it stands.
    pub placing: Placing,
    /// For which attachments it runs.
    pub when: Option<At<When>>,
    /// What its failure leads to.
    pub on_failure: Option<At<OnFailure>>,
    /// A guest's digest.
    pub sha256: Option<At<Digest>>,
    /// What a guest may propose.
    pub grants: Vec<At<String>>,
    /// What a guest may use.
    pub limits: Option<At<Limits>>,
    /// Its options.
    pub with: Option<At<Map<String, Value>>>,
}

/// An entry of a file: a stage, or one that is taken away.
#[derive(Debug)]
pub(super) enum Entry {
    Stage(Box<StageEntry>),
    Remove(At<String>),
}

impl Entry {
    /// Reads an entry; nothing when it is too wrong to be used.
    pub(super) fn read(table: &Table<'_>, flaws: &mut Vec<Flaw>) -> Option<Self> {
        table.refuse_unknown(&KEYS, flaws);
        let given: Vec<&str> = PLACINGS.into_iter().filter(|key| table.has(key)).collect();
        if let [first, second, ..] = given.as_slice() {
            let place = table.key_place(second).unwrap_or_else(|| table.place.clone());
            flaws.push(Flaw::error(&place, format!("{second} and {first} cannot both be: a stage has one place")));
        }
        if table.has("remove") {
            let removed = table.text("remove", flaws);
            for key in KEYS.into_iter().filter(|key| !PLACINGS.contains(key)) {
                if let Some(place) = table.key_place(key) {
                    let message = format!("{key} has no meaning here: the stage is removed");
                    flaws.push(Flaw::error(&place, message));
                }
            }
            return removed.map(Self::Remove);
        }
        let mut needed = |key: &str| {
            if !table.has(key) {
                flaws.push(Flaw::error(&table.place, format!("a stage must have a {key}")));
            }
            table.text(key, flaws)
        };
        let (name, uses) = (needed("name"), needed("use"));
        let mut placing = |key: &str, of: fn(At<String>) -> Placing| table.text(key, flaws).map(of);
        let placing = placing("before", Placing::Before)
            .or_else(|| placing("after", Placing::After))
            .or_else(|| placing("replace", Placing::Replace));
        let place = table.place.clone();
        let when = table.table("when", flaws);
        let when = when.map(|table| At { value: When::read(&table, flaws), place: table.place });
        let on_failure = table.text("on-failure", flaws).and_then(|text| on_failure(text, flaws));
        let sha256 = table.text("sha256", flaws).map(|text| digest(text, flaws));
        let grants = grants(table, flaws);
        let limits = table.table("limits", flaws);
        let limits = limits.map(|table| At { value: Limits::read(&table, flaws), place: table.place });
        let with = table.table("with", flaws).map(|table| {
            let entries = table.entries(flaws).into_iter().map(|(key, value)| (key.value, value.value));
            At { value: entries.collect(), place: table.place }
        });
        let placing = placing.unwrap_or(Placing::Last);
        let (name, uses) = (name?, uses?);
        let stage = StageEntry { place, name, uses, placing, when, on_failure, sha256, grants, limits, with };
        Some(Self::Stage(Box::new(stage)))
    }
}

fn on_failure(text: At<String>, flaws: &mut Vec<Flaw>) -> Option<At<OnFailure>> {
    let value = match text.value.as_str() {
        "refuse" => OnFailure::Refuse,
        "skip" => OnFailure::Skip,
        other => {
            flaws.push(Flaw::error(&text.place, format!("on-failure {other:?}: expected refuse or skip")));
            return None;
        }
    };
    Some(At { value, place: text.place })
}

fn digest(text: At<String>, flaws: &mut Vec<Flaw>) -> At<Digest> {
    let value = text.value.parse().unwrap_or_else(|error| {
        flaws.push(Flaw::error(&text.place, format!("sha256 {:?}: {error}", text.value)));
        // It is wrong, but it is not missing; a draft with a flaw never runs.
        Digest([0; 32])
    });
    At { value, place: text.place }
}

fn grants(table: &Table<'_>, flaws: &mut Vec<Flaw>) -> Vec<At<String>> {
    let mut grants: Vec<At<String>> = Vec::new();
    for grant in table.texts("grant", flaws) {
        if let Some(wrong) = wrong_grant(&grant.value) {
            flaws.push(Flaw::error(&grant.place, wrong));
        } else if grants.iter().any(|known| known.value == grant.value) {
            flaws.push(Flaw::warning(&grant.place, format!("{} is granted already", grant.value)));
        } else {
            grants.push(grant);
        }
    }
    grants
}
