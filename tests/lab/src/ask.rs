//! The operator's tool, as a person or a script calls it.

use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::command::tool;

/// What the tool said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Its exit code.
    pub code: i32,
    /// Its answer.
    pub answer: String,
    /// What else it said.
    pub remarks: String,
}

/// Calls the tool in the caller's namespaces.
///
/// # Errors
/// It cannot be started, was killed, or says what is no text.
pub fn ask(arguments: &[&str]) -> Result<Said> {
    let output = Command::new(tool()?).args(arguments).output()?;
    Ok(Said {
        code: output.status.code().context("an exit code")?,
        answer: String::from_utf8(output.stdout)?,
        remarks: String::from_utf8(output.stderr)?,
    })
}

/// As [`ask`] with `--json`: the answer, and the exit code.
///
/// # Errors
/// As [`ask`], and when the answer is no JSON document.
pub fn ask_json(arguments: &[&str]) -> Result<(Value, i32)> {
    let said = ask(&[arguments, &["--json"]].concat())?;
    let answer = serde_json::from_str(&said.answer);
    Ok((answer.with_context(|| format!("{arguments:?}: {:?}, {}", said.answer, said.remarks))?, said.code))
}
