//! One file as its author wrote it, in values that know where they stand.
//!
//! It knows TOML and the schema's keys; whether the stages exist, fit together and can run is [`draft`]'s business.
//!
//! [`draft`]: super::draft

use coordinator_sdk::{Settings, Source};
use serde_json::Value;
use toml::de::DeTable;

use super::{
    source::{At, Flaw, Place, SourceFile},
    stage_entry::Entry,
    table::Table,
    test_case::TestCase,
};

/// The only schema there is yet.
const SCHEMA: &str = "1";
pub(super) const KEYS: [&str; 5] = ["schema", "extends", "settings", "stage", "test"];

/// A setting and its value, as they are written.
pub(super) type SettingEntry = (At<String>, At<Value>);

/// A file that was read.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) extends: Option<At<String>>,
    pub(super) settings: Vec<SettingEntry>,
    pub(super) entries: Vec<Entry>,
    pub(super) tests: Vec<TestCase>,
    /// False when the text is no TOML, so that nothing is known of what it would hold.
    pub(super) is_read: bool,
}

impl Document {
    /// Reads as much as can be understood, and every flaw.
    pub(super) fn read(file: usize, source: &SourceFile, flaws: &mut Vec<Flaw>) -> Self {
        let (root, errors) = DeTable::parse_recoverable(&source.text);
        if !errors.is_empty() {
            let flaw = |error: &toml::de::Error| {
                let span = error.span().unwrap_or(0..0);
                Flaw::error(&Place { file, span }, error.message())
            };
            flaws.extend(errors.iter().map(flaw));
            return Self::default();
        }
        let begin = Place { file, span: 0..0 };
        let end = Place { file, span: source.text.len()..source.text.len() };
        let table = Table::new(root.get_ref(), begin);
        table.refuse_unknown(&KEYS, flaws);
        match table.place_of("schema") {
            Some(_) if table.integer("schema") == Some(SCHEMA) => {}
            Some(place) => flaws.push(Flaw::error(&place, format!("schema must be {SCHEMA}"))),
            None => flaws.push(Flaw::error(&table.place, format!("schema is missing: it must be {SCHEMA}"))),
        }
        if !table.has("stage") && !table.has("extends") {
            flaws.push(Flaw::error(&end, "there is no [[stage]]"));
        }
        let settings = table.table("settings", flaws).map(|table| settings(&table, flaws)).unwrap_or_default();
        let entries = table.tables("stage", flaws);
        let tests = table.tables("test", flaws);
        Self {
            extends: table.text("extends", flaws),
            settings,
            entries: entries.iter().filter_map(|table| Entry::read(table, flaws)).collect(),
            tests: tests.iter().filter_map(|table| TestCase::read(table, flaws)).collect(),
            is_read: true,
        }
    }
}

/// The values of a `[settings]` table, each checked as the CNI configuration's are.
pub(super) fn settings(table: &Table<'_>, flaws: &mut Vec<Flaw>) -> Vec<SettingEntry> {
    let names: Vec<&str> = Settings::NAMES.into_iter().filter(|name| *name != "pipeline").collect();
    table.refuse_unknown(&names, flaws);
    let mut entries = Vec::new();
    for (key, value) in table.entries(flaws) {
        if !names.contains(&key.value.as_str()) {
            continue;
        }
        match Settings::default().set(&key.value, &value.value, Source::Pipeline) {
            Ok(warning) => {
                flaws.extend(warning.map(|text| Flaw::warning(&value.place, text)));
                entries.push((key, value));
            }
            Err(problem) => flaws.push(Flaw::error(&value.place, problem.to_string())),
        }
    }
    entries
}
