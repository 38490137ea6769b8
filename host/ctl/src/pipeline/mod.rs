//! `coordinatorctl pipeline`: what the author of a pipeline needs.

mod validate;

use clap::Subcommand;

use crate::{exit::Exit, failure::Failure, terminal::Terminal};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Find every mistake of a pipeline file
    Validate(validate::Arguments),
}

impl Command {
    pub(crate) fn run(&self, terminal: &Terminal) -> Result<Exit, Failure> {
        match self {
            Self::Validate(arguments) => validate::run(arguments, terminal),
        }
    }
}
