//! `coordinatorctl`: the operator's and the stage author's tool, one file a subcommand.
//!
//! What the plugin does is in `coordinator-core`; here is only what a person types and reads. Answers go to
//! standard output, everything else to standard error; the exit code is one of [`Exit`].

#![forbid(unsafe_code)]

mod check;
mod diagnostic;
mod doctor;
mod exit;
mod explain;
mod facts;
mod failure;
mod gc;
mod html;
mod list;
mod manifest;
mod node;
mod path;
mod pipeline;
mod plan;
mod reference;
mod registry;
mod report;
mod settings_view;
mod show;
mod stage;
mod subject;
mod table;
mod terminal;

use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use diagnostic::Format;
use exit::Exit;
use failure::Failure;
use terminal::{Color, Reader, Terminal};

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
    /// Write, build, test and install stages of your own
    #[command(subcommand)]
    Stage(stage::Command),
    /// Check the cluster's objects in files, and show what follows from them, without a cluster
    #[command(subcommand)]
    Manifest(manifest::Command),
    /// Show what an ADD would do, stage by stage; nothing is written
    Plan(plan::Arguments),
    /// Record what stages see of a live Pod, to replay it anywhere
    Facts(facts::Arguments),
    /// Say whether attachments are as they were made, and repair them
    Check(check::Arguments),
    /// List the attachments of this node
    List(list::Arguments),
    /// Show everything that is recorded of an attachment
    Show(show::Arguments),
    /// Say why an attachment has what it has: which stage, which setting, from which source
    Explain(explain::Arguments),
    /// Say whether packets come back the way they went, by the kernel's own tables on both sides
    Path(path::Arguments),
    /// Write one page that shows a Pod's network
    Report(report::Arguments),
    /// Find known trouble of this node and its Pods, each with its treatment
    Doctor(doctor::Arguments),
    /// Remove what bears coordinator's marks on this node and belongs to no attachment
    Gc(gc::Arguments),
    /// Make this node ready, and take that back
    #[command(subcommand)]
    Node(node::Command),
    /// Print completions for a shell
    Completions(reference::Completions),
    /// Write man pages into a directory
    Man(reference::Man),
    /// Print this reference as Markdown
    #[command(hide = true)]
    Reference,
}

impl Command {
    fn run(&self, terminal: &Terminal) -> Result<Exit, Failure> {
        match self {
            Self::Pipeline(command) => command.run(terminal),
            Self::Stage(command) => command.run(terminal),
            Self::Manifest(command) => command.run(terminal),
            Self::Plan(arguments) => plan::run(arguments, terminal),
            Self::Facts(arguments) => facts::run(arguments, terminal),
            Self::Check(arguments) => check::run(arguments, terminal),
            Self::List(arguments) => list::run(arguments, terminal),
            Self::Show(arguments) => show::run(arguments, terminal),
            Self::Explain(arguments) => explain::run(arguments, terminal),
            Self::Path(arguments) => path::run(arguments, terminal),
            Self::Report(arguments) => report::run(arguments, terminal),
            Self::Doctor(arguments) => doctor::run(arguments, terminal),
            Self::Gc(arguments) => gc::run(arguments, terminal),
            Self::Node(command) => command.run(terminal),
            Self::Completions(arguments) => reference::completions(arguments, terminal),
            Self::Man(arguments) => reference::man(arguments, terminal),
            Self::Reference => reference::markdown(terminal),
        }
    }
}

fn main() -> ExitCode {
    let parsed = CommandLine::command().try_get_matches().and_then(|matches| {
        let reader = reader(&matches);
        Ok((CommandLine::from_arg_matches(&matches)?, reader))
    });
    let (line, reader) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Success };
            // Help that nobody reads to its end is no fault.
            drop(error.print());
            return exit.into();
        }
    };
    let terminal = Terminal::new(line.color, reader);
    match line.command.run(&terminal) {
        Ok(exit) => exit.into(),
        Err(failure) if failure.is_broken_pipe() => Exit::Success.into(),
        Err(failure) => {
            // Nobody is left who would read a second complaint.
            drop(terminal.complain(&failure));
            failure.exit().into()
        }
    }
}

/// For whom the answer of the command is that was named.
fn reader(mut matches: &ArgMatches) -> Reader {
    while let Some((_, inner)) = matches.subcommand() {
        matches = inner;
    }
    let is_json = matches.try_get_one("json").ok().flatten() == Some(&true);
    let is_of_programs = |format: &Format| *format != Format::Human;
    match is_json || matches.try_get_one("format").ok().flatten().is_some_and(is_of_programs) {
        true => Reader::Program,
        false => Reader::Person,
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
