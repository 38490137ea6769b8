//! What the API server refuses before any rule is asked: types, unknown fields, lengths, limits.

use std::collections::BTreeSet;

use coordinator_core::settings::nearest;
use serde_json::Value;

use crate::crd::Schema;

/// How many characters of a wrong value are repeated.
const SHOWN: usize = 80;

/// Problems of an object's structure, each with its path, which its text begins with.
#[derive(Debug, Default)]
pub(super) struct Structure {
    /// The problems.
    pub(super) flaws: Vec<(String, String)>,
    /// Paths of values whose type is so wrong that nobody else can read them.
    pub(super) unreadable: BTreeSet<String>,
}

impl Structure {
    /// Compares a value with its schema.
    pub(super) fn of(schema: &Schema, value: &Value) -> Self {
        let mut structure = Self::default();
        structure.compare(schema, value, "");
        structure
    }

    fn compare(&mut self, schema: &Schema, value: &Value, path: &str) {
        // The server drops a null where no default stands in its place.
        if value.is_null() {
            return;
        }
        let (fits, expected) = match schema.kind() {
            "string" => (value.is_string(), "a text"),
            "integer" => (value.is_i64() || value.is_u64(), "a whole number"),
            "boolean" => (value.is_boolean(), "true or false"),
            "array" => (value.is_array(), "a list"),
            _ => (value.is_object(), "an object"),
        };
        if !fits {
            self.unreadable.insert(path.to_owned());
            return self.add(path, format!("{} = {}: expected {expected}", named(path), shown(value)));
        }
        if let Some((least, most, message)) = schema.limits()
            && !value.as_i64().is_some_and(|number| (least..=most).contains(&number))
        {
            self.unreadable.insert(path.to_owned());
            self.add(path, format!("{} = {}: {message}", named(path), shown(value)));
        }
        match value {
            Value::String(text) => self.length(schema, "maxLength", text.chars().count(), "characters", path),
            Value::Array(entries) => {
                self.length(schema, "maxItems", entries.len(), "entries", path);
                for (at, entry) in entries.iter().enumerate() {
                    if let Some(inner) = schema.part("[]") {
                        self.compare(inner, entry, &format!("{path}[{at}]"));
                    }
                }
            }
            Value::Object(fields) => {
                let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                for (name, field) in fields {
                    match schema.part(name) {
                        Some(inner) => self.compare(inner, field, &below(name)),
                        None if schema.is_open() => {}
                        None => {
                            let known = schema.parts.iter().map(|(name, _)| name.as_str());
                            let question = nearest(name, known).map(|it| format!("; did you mean {it}?"));
                            let told = format!("{} is no field here{}", below(name), question.unwrap_or_default());
                            self.add(&below(name), told);
                        }
                    }
                }
                for name in schema.required() {
                    if fields.get(name).is_none_or(Value::is_null) {
                        self.add(&below(name), format!("{} is missing", below(name)));
                    }
                }
            }
            _ => {}
        }
    }

    fn length(&mut self, schema: &Schema, keyword: &str, length: usize, what: &str, path: &str) {
        if let Some(most) = schema.keyword(keyword).and_then(Value::as_u64)
            && u64::try_from(length).is_ok_and(|length| length > most)
        {
            self.add(path, format!("{} has {length} {what}: expected {most} at most", named(path)));
        }
    }

    fn add(&mut self, path: &str, told: String) {
        self.flaws.push((path.to_owned(), told));
    }
}

fn named(path: &str) -> &str {
    if path.is_empty() { "spec" } else { path }
}

fn shown(value: &Value) -> String {
    let mut text = value.to_string();
    if let Some((end, _)) = text.char_indices().nth(SHOWN) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The value without what stands at one of the paths.
pub(super) fn without(value: &Value, paths: &BTreeSet<String>) -> Value {
    fn inner(value: &Value, path: &str, paths: &BTreeSet<String>) -> Value {
        if paths.contains(path) {
            return Value::Null;
        }
        match value {
            Value::Object(fields) => {
                let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                let kept = fields.iter().filter(|(name, _)| !paths.contains(&below(name)));
                Value::Object(kept.map(|(name, field)| (name.clone(), inner(field, &below(name), paths))).collect())
            }
            Value::Array(entries) => {
                let kept = entries.iter().enumerate().filter(|(at, _)| !paths.contains(&format!("{path}[{at}]")));
                Value::Array(kept.map(|(at, entry)| inner(entry, &format!("{path}[{at}]"), paths)).collect())
            }
            other => other.clone(),
        }
    }
    inner(value, "", paths)
}
