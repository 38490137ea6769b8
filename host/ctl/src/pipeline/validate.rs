//! `coordinatorctl pipeline validate`: every mistake of a file and of those that it extends.

use std::path::PathBuf;

use clap::Args;
use coordinator_core::pipeline::{Draft, Library, Problem, Severity};

use super::{
    diagnostic::{self, Format},
    given,
};
use crate::{exit::Exit, failure::Failure, terminal::Terminal};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The pipeline files, or `default` for the built-in one
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How problems are shown
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    format: Format,
    /// Take warnings for errors
    #[arg(long)]
    deny_warnings: bool,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut problems: Vec<Problem> = Vec::new();
    for path in &arguments.files {
        let (draft, found) = Draft::read(given::read(path)?, Library::Caller);
        if arguments.format == Format::Human {
            for problem in &found {
                terminal.answer(&diagnostic::human(problem, &draft.sources))?;
            }
        }
        problems.extend(found);
    }
    match arguments.format {
        Format::Human => {}
        Format::Json => {
            let all: Vec<_> = problems.iter().map(diagnostic::json).collect();
            terminal.answer_json(&all.into())?;
        }
        Format::Sarif => terminal.answer_json(&diagnostic::sarif(&problems))?,
    }
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    let warnings = problems.len().saturating_sub(errors);
    if arguments.format == Format::Human && !problems.is_empty() {
        terminal.remark(&format!("{}, {}\n", counted(errors, "error"), counted(warnings, "warning")));
    }
    let is_wrong = errors > 0 || arguments.deny_warnings && warnings > 0;
    Ok(if is_wrong { Exit::Configuration } else { Exit::Success })
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
