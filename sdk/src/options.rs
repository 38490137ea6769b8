//! A stage's options: from the JSON of `[stage.with]` to the stage's own type, and their schema.

mod key;
mod parts;
mod reader;
mod text;

use std::fmt;

use reader::Reader;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use text::Text;

/// What is wrong with options.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct OptionsProblem {
    /// Where: `rails[2].name`, or empty for the whole.
    pub path: String,
    /// What is wrong, and what would be right.
    pub text: String,
}

impl OptionsProblem {
    /// The same, of a value within another: `step` leads from that one to this, `name` or `[2]`.
    fn within(mut self, step: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{step}{dot}{}", self.path);
        self
    }
}

impl fmt::Display for OptionsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.text),
            path => write!(f, "{path}: {}", self.text),
        }
    }
}

/// Reads options. A stage that takes none gets the empty object.
///
/// # Errors
/// What is wrong first.
pub fn parse<O: DeserializeOwned>(text: &str) -> Result<O, OptionsProblem> {
    let read = |text| {
        let mut text = Text::new(text);
        let read = O::deserialize(Reader(&mut text))?;
        text.end().map(|()| read)
    };
    read(text).or_else(|wrong| if is_empty_object(text) { read("null").map_err(|_| wrong) } else { Err(wrong) })
}

/// The JSON Schema of options; empty when the stage takes none.
pub fn schema<O: JsonSchema>() -> String {
    let schema = schemars::schema_for!(O);
    let is_unit = schema.get("type").and_then(serde_json::Value::as_str) == Some("null");
    if is_unit { String::new() } else { schema.to_value().to_string() }
}

fn is_empty_object(text: &str) -> bool {
    text.bytes().filter(|byte| !byte.is_ascii_whitespace()).eq(*b"{}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, JsonSchema, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Rail {
        name: String,
    }

    #[derive(Debug, Deserialize, JsonSchema, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Options {
        count: u32,
        #[serde(default)]
        rails: Vec<Rail>,
    }

    #[test]
    fn a_wrong_option_is_named_with_its_place() {
        let bad = [
            (r#"{"count":"eight"}"#, "count: invalid type: string \"eight\", expected u32"),
            (
                r#"{"count":1,"rails":[{"name":"a"},{"name":7}]}"#,
                "rails[1].name: invalid type: integer `7`, expected a string",
            ),
            (r#"{"count":1,"rails":3}"#, "rails: invalid type: integer `3`, expected a sequence"),
            (r#"{"cuont":1}"#, "unknown field `cuont`, expected `count` or `rails`"),
            (r#"{}"#, "missing field `count`"),
        ];
        for (text, expected) in bad {
            let problem = parse::<Options>(text).unwrap_err();
            assert!(problem.to_string().contains(expected), "{text}: {problem}");
        }
        assert_eq!(parse::<Options>(r#"{"count":2}"#), Ok(Options { count: 2, rails: Vec::new() }));
    }

    /// Everything that serde's derive asks of a reader.
    #[derive(Debug, Default, Clone, PartialEq, serde::Serialize, Deserialize)]
    #[serde(default)]
    struct All {
        flag: bool,
        small: u8,
        signed: i16,
        large: u64,
        real: f64,
        letter: char,
        text: String,
        maybe: Option<i32>,
        unit: (),
        pair: (u8, String),
        list: Vec<Choice>,
        named: std::collections::BTreeMap<String, Choice>,
        numbered: std::collections::BTreeMap<u16, Option<bool>>,
        any: serde_json::Value,
    }

    #[derive(Debug, Clone, PartialEq, serde::Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Choice {
        Plain,
        Wrapped(Vec<String>),
        Pair(u8, i8),
        Fields { a: bool, b: Option<Box<Choice>> },
    }

    fn choice() -> impl Strategy<Value = Choice> {
        let leaf = prop_oneof![
            Just(Choice::Plain),
            any::<Vec<String>>().prop_map(Choice::Wrapped),
            any::<(u8, i8)>().prop_map(|(a, b)| Choice::Pair(a, b)),
        ];
        leaf.prop_recursive(3, 8, 1, |inner| {
            (any::<bool>(), proptest::option::of(inner)).prop_map(|(a, b)| Choice::Fields { a, b: b.map(Box::new) })
        })
    }

    prop_compose! {
        fn all()(
            (flag, small, signed, large) in any::<(bool, u8, i16, u64)>(),
            (letter, text, maybe) in any::<(char, String, Option<i32>)>(),
            real in -1e12..1e12_f64,
            pair in any::<(u8, String)>(),
            list in proptest::collection::vec(choice(), 0..4),
            named in proptest::collection::btree_map(any::<String>(), choice(), 0..4),
            numbered in any::<std::collections::BTreeMap<u16, Option<bool>>>(),
        ) -> All {
            let any = serde_json::json!({"x": [null, -1, 1.5, text.clone()], "y": {}});
            All { flag, small, signed, large, real, letter, text, maybe, unit: (), pair, list, named, numbered, any }
        }
    }

    proptest! {
        /// What serde_json writes is read as serde_json reads it, in both of its layouts; and of a text in which something
        /// was replaced, both say whether it is right.
        #[test]
        fn it_reads_what_serde_json_reads(
            options in all(),
            at in any::<prop::sample::Index>(),
            with in prop_oneof![Just(""), Just("\""), Just(","), Just("{"), Just("]"), Just("\\"), Just("0"), Just("-"), Just(" ")],
        ) {
            let [short, long] = [serde_json::to_string(&options), serde_json::to_string_pretty(&options)].map(Result::unwrap);
            // Its own reader may be off by a bit in the last place.
            let expected: All = serde_json::from_str(&short).unwrap();
            let read = parse::<All>(&short).unwrap();
            prop_assert!((read.real - expected.real).abs() <= expected.real.abs() * 1e-15);
            prop_assert_eq!(All { real: 0.0, ..read }, All { real: 0.0, ..expected.clone() });
            prop_assert_eq!(All { real: 0.0, ..parse::<All>(&long).unwrap() }, All { real: 0.0, ..expected });
            let places: Vec<usize> = long.char_indices().map(|(place, _)| place).collect();
            let place = places[at.index(places.len())];
            let length = long[place..].chars().next().unwrap().len_utf8();
            let other = [&long[..place], with, &long[place + length..]].concat();
            let (ours, theirs) = (parse::<All>(&other), serde_json::from_str::<All>(&other));
            prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{} {:?} {:?}", other, ours.err(), theirs.err());
        }
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        let bad = [
            ("", "a value should stand where it ends"),
            ("{\"count\":1} x", "the end should stand where byte 12 is 'x'"),
            ("{\"count\":01}", "a number should stand where byte 9"),
            ("{\"count\" 1}", "`:` should stand"),
            ("{\"count\":1,}", "a string should stand where byte 11 is '}'"),
            ("{\"count\":1 \"x\":2}", "`,` or `}` should stand"),
            ("{\"count", "the end of a string should stand where it ends"),
            ("{\"\\ud800\":1}", "\\ud800 is half of a character"),
            ("{\"count\":1.5}", "count: invalid type: number `1.5`, expected u32"),
            ("{\"count\":4294967296}", "count: invalid value: integer `4294967296`, expected u32"),
        ];
        for (text, expected) in bad {
            let problem = parse::<Options>(text).unwrap_err().to_string();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
        let deep = format!("{{\"count\":{}1", "[".repeat(100_000));
        assert!(parse::<serde_json::Value>(&deep).unwrap_err().to_string().contains("128 deep"));
        assert!(parse::<serde::de::IgnoredAny>(&deep).unwrap_err().to_string().contains("128 deep"));
    }

    #[test]
    fn a_stage_without_options_takes_the_empty_object() {
        assert_eq!(parse::<()>("{}"), Ok(()));
        assert!(parse::<()>(r#"{"x":1}"#).is_err());
        assert_eq!(schema::<()>(), "");
        assert!(schema::<Options>().contains("\"count\""));
    }
}
