//! `coordinatorctl pipeline validate`: every mistake of a file and of those that it extends.

use std::path::PathBuf;

use clap::Args;
use coordinator_core::pipeline::{Draft, Library, Problem};

use super::given;
use crate::{
    diagnostic::{self, Format},
    exit::Exit,
    failure::Failure,
    terminal::Terminal,
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The pipeline files, or `default` for the built-in one
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How problems are shown
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    format: Format,
    /// As `--format json`
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Take warnings for errors
    #[arg(long)]
    deny_warnings: bool,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let format = if arguments.json { Format::Json } else { arguments.format };
    let mut problems: Vec<Problem> = Vec::new();
    for path in &arguments.files {
        let (draft, found) = Draft::read(given::read(path)?, Library::Caller);
        if format == Format::Human {
            for problem in &found {
                let text = draft.sources.text(&problem.path).unwrap_or_default();
                terminal.answer(&diagnostic::human(problem, text))?;
            }
        }
        problems.extend(found);
    }
    match format {
        Format::Human => {}
        Format::Json => {
            let all: Vec<_> = problems.iter().map(diagnostic::json).collect();
            terminal.answer_json(&all.into())?;
        }
        Format::Sarif => {
            terminal.answer_json(&diagnostic::sarif(&problems, "pipeline", "A pipeline file must be right"))?;
        }
    }
    if format == Format::Human && !problems.is_empty() {
        terminal.remark(&diagnostic::summary(&problems));
    }
    Ok(diagnostic::exit(&problems, arguments.deny_warnings))
}
