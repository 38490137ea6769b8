//! `coordinatorctl stage`: what the author of a stage needs, and what installs it on a node.

mod bench;
mod bindings;
mod build;
mod compile;
mod given;
mod inspect;
mod language;
mod new;
mod pull;
mod push;
mod run;
mod test;

use clap::Subcommand;

use crate::{exit::Exit, failure::Failure, terminal::Terminal};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Begin a stage in a new folder
    New(new::Arguments),
    /// Build a stage's folder into one file, a component
    Build(build::Arguments),
    /// Compile a component for this node; ADD runs nothing else
    Compile(compile::Arguments),
    /// Show what a component is, needs and takes
    Inspect(inspect::Arguments),
    /// Build a stage and run the tests of its pipeline
    Test(test::Arguments),
    /// Ask a component about recorded facts
    Run(run::Arguments),
    /// Measure a component on recorded facts
    Bench(bench::Arguments),
    /// Put a component into a registry of OCI artefacts
    Push(push::Arguments),
    /// Take a component from a registry of OCI artefacts
    Pull(pull::Arguments),
}

impl Command {
    pub(crate) fn run(&self, terminal: &Terminal) -> Result<Exit, Failure> {
        match self {
            Self::New(arguments) => new::run(arguments, terminal),
            Self::Build(arguments) => build::run(arguments, terminal),
            Self::Compile(arguments) => compile::run(arguments, terminal),
            Self::Inspect(arguments) => inspect::run(arguments, terminal),
            Self::Test(arguments) => test::run(arguments, terminal),
            Self::Run(arguments) => run::run(arguments, terminal),
            Self::Bench(arguments) => bench::run(arguments, terminal),
            Self::Push(arguments) => push::run(arguments, terminal),
            Self::Pull(arguments) => pull::run(arguments, terminal),
        }
    }
}
