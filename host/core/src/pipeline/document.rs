//! The text of a pipeline as values that know where they stand.
//!
//! It knows TOML and the schema's keys, and nothing of stages.

use std::{fmt, ops::Range};

use coordinator_sdk::{Settings, Source};
use serde_json::{Map, Value};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::settings::nearest;

/// The only schema there is yet.
const SCHEMA: &str = "1";
const KEYS: [&str; 3] = ["schema", "settings", "stage"];
const STAGE_KEYS: [&str; 2] = ["name", "use"];

/// What is wrong with a pipeline, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}:{line}:{column}: {message}")]
pub struct Problem {
    /// The file.
    pub path: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// A value and the byte at which it begins.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) at: usize,
}

/// One `[[stage]]`.
#[derive(Debug)]
pub(super) struct StageEntry {
    pub(super) name: At<String>,
    pub(super) uses: At<String>,
}

/// A file that was read.
pub(super) struct Document<'t> {
    path: &'t str,
    text: &'t str,
    /// The byte after the last one.
    pub(super) end: usize,
    pub(super) settings: Map<String, Value>,
    pub(super) stages: Vec<StageEntry>,
}

impl fmt::Debug for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("path", &self.path).field("stages", &self.stages).finish_non_exhaustive()
    }
}

impl<'t> Document<'t> {
    /// Reads as much as can be understood, and every problem.
    pub(super) fn parse(path: &'t str, text: &'t str) -> (Self, Vec<Problem>) {
        let mut document = Self { path, text, end: text.len(), settings: Map::new(), stages: Vec::new() };
        let (root, errors) = DeTable::parse_recoverable(text);
        let said = |error: &toml::de::Error| {
            document.problem(error.span().map_or(0, |span| span.start), error.message().to_owned())
        };
        let mut problems: Vec<Problem> = errors.iter().map(said).collect();
        if problems.is_empty() {
            document.read(root.get_ref(), &mut problems);
        }
        (document, problems)
    }

    /// Line and column of a byte, both from 1.
    pub(super) fn position(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |end| end.saturating_add(1));
        let line = before.matches('\n').count().saturating_add(1);
        let column = before.get(line_start..).unwrap_or_default().chars().count().saturating_add(1);
        (line, column)
    }

    pub(super) fn problem(&self, at: usize, message: String) -> Problem {
        let (line, column) = self.position(at);
        Problem { path: self.path.to_owned(), line, column, message }
    }

    fn read(&mut self, root: &DeTable<'_>, problems: &mut Vec<Problem>) {
        self.refuse_unknown(root, &KEYS, problems);
        match root.get("schema").map(|schema| (schema.span(), schema.get_ref())) {
            Some((_, DeValue::Integer(number))) if number.as_str() == SCHEMA => {}
            Some((span, _)) => problems.push(self.problem(span.start, format!("schema must be {SCHEMA}"))),
            None => problems.push(self.problem(0, format!("schema is missing: it must be {SCHEMA}"))),
        }
        match root.get("settings").map(|settings| (settings.span(), settings.get_ref())) {
            Some((_, DeValue::Table(settings))) => self.read_settings(settings, problems),
            Some((span, _)) => problems.push(self.problem(span.start, "settings must be a table".to_owned())),
            None => {}
        }
        match root.get("stage").map(|stages| (stages.span(), stages.get_ref())) {
            Some((_, DeValue::Array(stages))) => stages.iter().for_each(|stage| self.read_stage(stage, problems)),
            Some((span, _)) => problems.push(self.problem(span.start, "stages are written as [[stage]]".to_owned())),
            None => problems.push(self.problem(self.end, "there is no [[stage]]".to_owned())),
        }
    }

    fn read_settings(&mut self, settings: &DeTable<'_>, problems: &mut Vec<Problem>) {
        let names: Vec<&str> = Settings::NAMES.into_iter().filter(|name| *name != "pipeline").collect();
        self.refuse_unknown(settings, &names, problems);
        for (key, value) in settings.iter().filter(|(key, _)| names.contains(&key.get_ref().as_ref())) {
            let json = match json_of(value) {
                Ok(json) => json,
                Err(span) => {
                    problems.push(self.problem(span.start, "a date is no value of a setting".to_owned()));
                    continue;
                }
            };
            match Settings::default().set(key.get_ref(), &json, Source::Pipeline) {
                Ok(_) => drop(self.settings.insert(key.get_ref().to_string(), json)),
                Err(problem) => problems.push(self.problem(value.span().start, problem.to_string())),
            }
        }
    }

    fn read_stage(&mut self, stage: &Spanned<DeValue<'_>>, problems: &mut Vec<Problem>) {
        let DeValue::Table(table) = stage.get_ref() else {
            return problems.push(self.problem(stage.span().start, "stages are written as [[stage]]".to_owned()));
        };
        self.refuse_unknown(table, &STAGE_KEYS, problems);
        let mut text = |key: &str| match table.get(key).map(|value| (value.span(), value.get_ref())) {
            Some((span, DeValue::String(text))) if !text.is_empty() => {
                Some(At { value: text.to_string(), at: span.start })
            }
            Some((span, _)) => {
                problems.push(self.problem(span.start, format!("{key} must be a text")));
                None
            }
            None => {
                problems.push(self.problem(stage.span().start, format!("a stage must have a {key}")));
                None
            }
        };
        let (name, uses) = (text("name"), text("use"));
        if let (Some(name), Some(uses)) = (name, uses) {
            self.stages.push(StageEntry { name, uses });
        }
    }

    fn refuse_unknown(&self, table: &DeTable<'_>, known: &[&str], problems: &mut Vec<Problem>) {
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let guess = nearest(key.get_ref(), known.iter().copied());
            let question = guess.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
            let message = format!("there is no key {:?} here{question}", key.get_ref());
            problems.push(self.problem(key.span().start, message));
        }
    }
}

/// A TOML value as JSON; the place of a date, which JSON does not have.
fn json_of(value: &Spanned<DeValue<'_>>) -> Result<Value, Range<usize>> {
    Ok(match value.get_ref() {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Boolean(flag) => Value::from(*flag),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::from(number.as_str()), Value::from),
        DeValue::Float(number) => {
            number.as_str().parse::<f64>().map_or_else(|_| Value::from(number.as_str()), Value::from)
        }
        DeValue::Datetime(_) => return Err(value.span()),
        DeValue::Array(values) => Value::Array(values.iter().map(json_of).collect::<Result<_, _>>()?),
        DeValue::Table(table) => {
            let entries = table.iter().map(|(key, value)| Ok((key.get_ref().to_string(), json_of(value)?)));
            Value::Object(entries.collect::<Result<_, Range<usize>>>()?)
        }
    })
}
