//! `coordinatorctl`: the operator's and the stage author's tool, one file a subcommand.
//!
//! What the plugin does is in `coordinator-core`; here is only what a person types and reads. Answers go to
//! standard output, everything else to standard error; the exit code is one of [`Exit`].

#![forbid(unsafe_code)]

mod exit;
mod failure;
mod html;
mod pipeline;
mod plan;
mod subject;
mod table;
mod terminal;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use exit::Exit;
use failure::Failure;
use terminal::{Color, Terminal};

/// Shows what coordinator would do, did, and why; writes and checks pipelines.
#[derive(Debug, Parser)]
#[command(name = "coordinatorctl", version, propagate_version = true, after_help = Exit::help())]
struct CommandLine {
    /// Whether colours are used
    #[arg(long, global = true, value_name = "WHEN", default_value_t)]
    color: Color,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write and check pipeline files
    #[command(subcommand)]
    Pipeline(pipeline::Command),
    /// Show what an ADD would do, stage by stage; nothing is written
    Plan(plan::Arguments),
}

impl Command {
    fn run(&self, terminal: &Terminal) -> Result<Exit, Failure> {
        match self {
            Self::Pipeline(command) => command.run(terminal),
            Self::Plan(arguments) => plan::run(arguments, terminal),
        }
    }
}

fn main() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Success };
            // Help that nobody reads to its end is no fault.
            drop(error.print());
            return exit.into();
        }
    };
    let terminal = Terminal::new(line.color);
    match line.command.run(&terminal) {
        Ok(exit) => exit.into(),
        Err(failure) if failure.is_broken_pipe() => Exit::Success.into(),
        Err(failure) => {
            terminal.complain(&failure);
            failure.exit().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        <CommandLine as clap::CommandFactory>::command().debug_assert();
    }
}
