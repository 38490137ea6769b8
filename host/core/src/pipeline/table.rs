//! A TOML table under strict reading: values by key and type, each with its place; everything else is a flaw.
//!
//! It knows TOML and no key of ours.

use serde_json::{Map, Value};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::source::{At, Flaw, Place};
use crate::settings::nearest;

/// A table of one file, and where flaws go.
pub(super) struct Table<'d> {
    table: &'d DeTable<'d>,
    pub(super) place: Place,
}

impl<'d> Table<'d> {
    pub(super) fn new(table: &'d DeTable<'d>, place: Place) -> Self {
        Self { table, place }
    }

    /// Reads the value as a table.
    pub(super) fn of(value: &'d Spanned<DeValue<'d>>, file: usize) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(table) => Some(Self { table, place: Place { file, span: value.span() } }),
            _ => None,
        }
    }

    fn at(&self, span: std::ops::Range<usize>) -> Place {
        Place { file: self.place.file, span }
    }

    /// The place of a value.
    pub(super) fn place_of(&self, key: &str) -> Option<Place> {
        self.table.get(key).map(|value| self.at(value.span()))
    }

    /// The place of a key.
    pub(super) fn key_place(&self, key: &str) -> Option<Place> {
        self.table.get_key_value(key).map(|(key, _)| self.at(key.span()))
    }

    /// True when the key is there, whatever it holds.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Complains of every key that is not known.
    pub(super) fn refuse_unknown(&self, known: &[&str], flaws: &mut Vec<Flaw>) {
        for key in self.table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let guess = nearest(key.get_ref(), known.iter().copied());
            let question = guess.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
            let message = format!("there is no key {:?} here{question}", key.get_ref());
            flaws.push(Flaw::error(&self.at(key.span()), message));
        }
    }

    /// A text that is not empty.
    pub(super) fn text(&self, key: &str, flaws: &mut Vec<Flaw>) -> Option<At<String>> {
        let value = self.table.get(key)?;
        let place = self.at(value.span());
        match value.get_ref() {
            DeValue::String(text) if !text.is_empty() => Some(At { value: text.to_string(), place }),
            _ => {
                flaws.push(Flaw::error(&place, format!("{key} must be a text")));
                None
            }
        }
    }

    /// A text, or a list of texts.
    pub(super) fn texts(&self, key: &str, flaws: &mut Vec<Flaw>) -> Vec<At<String>> {
        let Some(value) = self.table.get(key) else { return Vec::new() };
        let mut texts = Vec::new();
        let mut take = |value: &Spanned<DeValue<'_>>| {
            let place = self.at(value.span());
            match value.get_ref() {
                DeValue::String(text) if !text.is_empty() => texts.push(At { value: text.to_string(), place }),
                _ => flaws.push(Flaw::error(&place, format!("{key} must be a text or a list of texts"))),
            }
        };
        match value.get_ref() {
            DeValue::Array(values) => values.iter().for_each(&mut take),
            _ => take(value),
        }
        texts
    }

    /// A table.
    pub(super) fn table(&self, key: &str, flaws: &mut Vec<Flaw>) -> Option<Table<'d>> {
        let value = self.table.get(key)?;
        let table = Table::of(value, self.place.file);
        if table.is_none() {
            flaws.push(Flaw::error(&self.at(value.span()), format!("{key} must be a table")));
        }
        table
    }

    /// A list of tables, as `[[key]]` makes one.
    pub(super) fn tables(&self, key: &str, flaws: &mut Vec<Flaw>) -> Vec<Table<'d>> {
        let Some(value) = self.table.get(key) else { return Vec::new() };
        let wrong = |value: &Spanned<DeValue<'_>>| {
            Flaw::error(&self.at(value.span()), format!("{key}s are written as [[{key}]]"))
        };
        let DeValue::Array(values) = value.get_ref() else {
            flaws.push(wrong(value));
            return Vec::new();
        };
        let tables = values.iter().filter_map(|value| {
            let table = Table::of(value, self.place.file);
            if table.is_none() {
                flaws.push(wrong(value));
            }
            table
        });
        tables.collect()
    }

    /// The text of an integer, as it is written.
    pub(super) fn integer(&self, key: &str) -> Option<&str> {
        match self.table.get(key)?.get_ref() {
            DeValue::Integer(number) => Some(number.as_str()),
            _ => None,
        }
    }

    /// Every key and value as JSON; dates are flaws.
    pub(super) fn entries(&self, flaws: &mut Vec<Flaw>) -> Vec<(At<String>, At<Value>)> {
        let mut entries = Vec::new();
        for (key, value) in self.table {
            let place = self.at(value.span());
            let key = At { value: key.get_ref().to_string(), place: self.at(key.span()) };
            match json_of(value) {
                Ok(value) => entries.push((key, At { value, place })),
                Err(span) => {
                    let message = "a date is no value of a setting or an option";
                    flaws.push(Flaw::error(&self.at(span), message));
                }
            }
        }
        entries
    }
}

/// A TOML value as JSON; the place of a date, which JSON does not have.
fn json_of(value: &Spanned<DeValue<'_>>) -> Result<Value, std::ops::Range<usize>> {
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
            let mut object = Map::new();
            for (key, value) in table {
                object.insert(key.get_ref().to_string(), json_of(value)?);
            }
            Value::Object(object)
        }
    })
}
