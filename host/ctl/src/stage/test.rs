//! `coordinatorctl stage test`: builds a stage and runs the tests of the pipeline beside it.
//!
//! A stage's tests are those of a pipeline that uses it, so that its author sees it as a platform team will.

use std::path::PathBuf;

use clap::Args;

use super::build;
use crate::{exit::Exit, failure::Failure, pipeline, terminal::Terminal};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The stage's folder
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Test what was built before
    #[arg(long)]
    no_build: bool,
    /// Run only tests whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Write the plans that are made into the tests' plan files
    #[arg(long)]
    bless: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let built = if arguments.no_build { None } else { Some(build::build(&arguments.folder, terminal)?) };
    if let Some(path) = &built {
        terminal.remark(&format!("built {}\n", path.display()));
    }
    let file = arguments.folder.join("pipeline.toml");
    pipeline::lock_quietly(&file)?;
    pipeline::test_file(&file, arguments.only.clone(), arguments.bless, arguments.json, terminal)
}
