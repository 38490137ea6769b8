//! `coordinatorctl manifest validate`: what the API server, the agent or the plugin would refuse, all at once.

use std::path::PathBuf;

use clap::Args;

use super::Files;
use crate::{
    diagnostic::{self, Format},
    exit::Exit,
    failure::Failure,
    terminal::Terminal,
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Files with YAML documents or JSON; `-` reads standard input. Objects of other kinds are passed over
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
    let files = Files::read(&arguments.files)?;
    let problems = &files.manifest.problems;
    match if arguments.json { Format::Json } else { arguments.format } {
        Format::Human => {
            for problem in problems {
                terminal.answer(&diagnostic::human(problem, files.text(&problem.path)))?;
            }
            let objects = files.manifest.objects;
            let objects = format!("{objects} object{}", if objects == 1 { "" } else { "s" });
            terminal.remark(&format!("{objects}: {}", diagnostic::summary(problems)));
        }
        Format::Json => terminal.answer_json(&problems.iter().map(diagnostic::json).collect::<Vec<_>>().into())?,
        Format::Sarif => {
            terminal.answer_json(&diagnostic::sarif(problems, "manifest", "An object of the cluster must be right"))?;
        }
    }
    Ok(diagnostic::exit(problems, arguments.deny_warnings))
}
