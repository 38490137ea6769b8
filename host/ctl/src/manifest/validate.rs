//! `coordinatorctl manifest validate`: what the API server, the agent or the plugin would refuse, all at once.

use std::path::PathBuf;

use clap::Args;

use super::Files;
use crate::{
    diagnostic::{self, Manner, Rule},
    exit::Exit,
    failure::Failure,
    terminal::Terminal,
};

const RULE: Rule = Rule { id: "manifest", description: "An object of the cluster must be right" };

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Files with YAML documents or JSON; `-` reads standard input. Objects of other kinds are passed over
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    manner: Manner,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let files = Files::read(&arguments.files)?;
    let problems = &files.manifest.problems;
    let exit = arguments.manner.show(problems, |path| files.text(path), &RULE, terminal)?;
    if arguments.manner.is_for_people() {
        let objects = files.manifest.objects;
        let objects = format!("{objects} object{}", if objects == 1 { "" } else { "s" });
        terminal.remark(&format!("{objects}: {}", diagnostic::summary(problems)));
    }
    Ok(exit)
}
