//! `coordinatorctl pipeline validate`: every mistake of a file and of those that it extends.

use std::path::PathBuf;

use clap::Args;
use coordinator_core::pipeline::{Draft, Library, Problem};

use super::given;
use crate::{
    diagnostic::{self, Manner, Rule},
    exit::Exit,
    failure::Failure,
    terminal::Terminal,
};

const RULE: Rule = Rule { id: "pipeline", description: "A pipeline file must be right" };

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The pipeline files, or `default` for the built-in one
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    manner: Manner,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut drafts: Vec<Draft> = Vec::new();
    let mut problems: Vec<Problem> = Vec::new();
    for path in &arguments.files {
        let (draft, found) = Draft::read(given::read(path)?, Library::Caller);
        drafts.push(draft);
        problems.extend(found);
    }
    let text = |path: &str| drafts.iter().find_map(|draft| draft.sources.text(path)).unwrap_or_default();
    let exit = arguments.manner.show(&problems, text, &RULE, terminal)?;
    if arguments.manner.is_for_people() && !problems.is_empty() {
        terminal.remark(&diagnostic::summary(&problems));
    }
    Ok(exit)
}
