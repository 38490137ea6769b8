//! A stage's options: from the JSON of `[stage.with]` to the stage's own type, and their schema.

use std::fmt;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

/// What is wrong with options.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct OptionsProblem {
    /// Where: `rails[2].name`, or empty for the whole.
    pub path: String,
    /// What is wrong, and what would be right.
    pub text: String,
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
    let wrong = match serde_json::from_str(text) {
        Ok(options) => return Ok(options),
        Err(error) => error,
    };
    if is_empty_object(text)
        && let Ok(options) = serde_json::from_str("null")
    {
        return Ok(options);
    }
    let said = wrong.to_string();
    let reason = said.rsplit_once(" at line ").map_or(said.as_str(), |(reason, _)| reason);
    Err(OptionsProblem { path: path_at(text, wrong.line(), wrong.column()), text: reason.to_owned() })
}

/// The JSON Schema of options; empty when the stage takes none.
pub fn schema<O: JsonSchema>() -> String {
    let schema = schemars::schema_for!(O);
    let is_unit = schema.get("type").and_then(serde_json::Value::as_str) == Some("null");
    if is_unit { String::new() } else { schema.to_value().to_string() }
}

fn is_empty_object(text: &str) -> bool {
    text.chars().filter(|c| !c.is_whitespace()).eq("{}".chars())
}

/// The path of the value that ends at, or holds, a place in a JSON text; both numbers count from 1.
fn path_at(text: &str, line: usize, column: usize) -> String {
    enum Step {
        Key(String),
        Index(usize),
    }
    let before = text.lines().take(line.saturating_sub(1)).map(|line| line.len().saturating_add(1)).sum::<usize>();
    let end = before.saturating_add(column).min(text.len());
    let mut steps: Vec<Step> = Vec::new();
    let mut word: Option<String> = None;
    let mut last = String::new();
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        if at >= end {
            break;
        }
        match (&mut word, c) {
            (Some(inside), _) if is_escaped || c == '\\' => {
                is_escaped = !is_escaped;
                inside.push(c);
            }
            (Some(_), '"') => last = word.take().unwrap_or_default(),
            (Some(inside), _) => inside.push(c),
            (None, '"') => word = Some(String::new()),
            (None, '{') => steps.push(Step::Key(String::new())),
            (None, '[') => steps.push(Step::Index(0)),
            // The place of an error is the last byte of its value, which may be this.
            (None, '}' | ']') if at.saturating_add(1) < end => drop(steps.pop()),
            (None, ':') => {
                if let Some(Step::Key(key)) = steps.last_mut() {
                    *key = std::mem::take(&mut last);
                }
            }
            (None, ',') => {
                if let Some(Step::Index(index)) = steps.last_mut() {
                    *index = index.saturating_add(1);
                }
            }
            (None, _) => {}
        }
    }
    let mut path = String::new();
    for step in &steps {
        match step {
            Step::Key(key) if path.is_empty() || key.is_empty() => path.push_str(key),
            Step::Key(key) => path.push_str(&format!(".{key}")),
            Step::Index(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_stage_without_options_takes_the_empty_object() {
        assert_eq!(parse::<()>("{}"), Ok(()));
        assert!(parse::<()>(r#"{"x":1}"#).is_err());
        assert_eq!(schema::<()>(), "");
        assert!(schema::<Options>().contains("\"count\""));
    }
}
