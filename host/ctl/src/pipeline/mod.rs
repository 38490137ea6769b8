//! `coordinatorctl pipeline`: what the author of a pipeline needs.

mod diff;
mod fmt;
pub(crate) mod given;
mod graph;
mod lock;
mod schema;
mod show;
mod test;
mod validate;

use std::path::Path;

use clap::Subcommand;

use crate::{exit::Exit, failure::Failure, terminal::Terminal};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Find every mistake of a pipeline file
    Validate(validate::Arguments),
    /// Run the tests that a pipeline file holds
    Test(test::Arguments),
    /// Show what runs after all includes, each value with its origin
    Show(show::Arguments),
    /// Show what another pipeline does otherwise
    Diff(diff::Arguments),
    /// Draw the stages
    Graph(graph::Arguments),
    /// Give a pipeline file its one form
    Fmt(fmt::Arguments),
    /// Write the digests of a pipeline's guests beside it
    Lock(lock::Arguments),
    /// Print the JSON Schema of pipeline files
    Schema,
}

impl Command {
    pub(crate) fn run(&self, terminal: &Terminal) -> Result<Exit, Failure> {
        match self {
            Self::Validate(arguments) => validate::run(arguments, terminal),
            Self::Test(arguments) => test::run(arguments, terminal),
            Self::Show(arguments) => show::run(arguments, terminal),
            Self::Diff(arguments) => diff::run(arguments, terminal),
            Self::Graph(arguments) => graph::run(arguments, terminal),
            Self::Fmt(arguments) => fmt::run(arguments, terminal),
            Self::Lock(arguments) => lock::run(arguments, terminal),
            Self::Schema => schema::run(terminal),
        }
    }
}

/// Writes the digests that a pipeline lacks, for a caller who has just built what they are of.
pub(crate) fn lock_quietly(file: &Path) -> Result<(), Failure> {
    lock::write(file).map(drop)
}

/// Runs the tests of one pipeline file.
pub(crate) fn test_file(
    file: &Path,
    only: Option<String>,
    bless: bool,
    json: bool,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    test::run(&test::Arguments { files: vec![file.to_owned()], only, bless, json }, terminal)
}
