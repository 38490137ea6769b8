//! `coordinatorctl manifest render`: the definitions that the agent's leader would keep in the cluster.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::Files;
use crate::{diagnostic, exit::Exit, failure::Failure, terminal::Terminal};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Files with YAML documents or JSON; `-` reads standard input. Objects of other kinds are passed over
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Answer in JSON: one List, as kubectl takes it
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let files = Files::read(&arguments.files)?;
    let definitions = &files.manifest.definitions;
    match arguments.json {
        true => terminal.answer_json(&json!({"apiVersion": "v1", "kind": "List", "items": definitions}))?,
        false => terminal.answer(&yaml(definitions))?,
    }
    let problems = &files.manifest.problems;
    for problem in problems {
        terminal.remark(&format!("{problem}\n"));
    }
    Ok(diagnostic::exit(problems, false))
}

fn yaml(definitions: &[Value]) -> String {
    let document = |definition: &Value| {
        // A value of JSON is one of YAML.
        let text = serde_saphyr::to_string(definition).unwrap_or_else(|_| format!("{definition}\n"));
        format!("---\n{text}")
    };
    definitions.iter().map(document).collect()
}
