//! `coordinatorctl facts`: records what stages see of a live Pod, to replay it anywhere.

use std::{fs, path::PathBuf};

use clap::Args;
use coordinator_core::{attachment, pipeline::Pipeline};

use crate::{exit::Exit, failure::Failure, plan, subject::Whom, terminal::Terminal};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    whom: Whom,
    /// The network's CNI configuration, with `prevResult`; `-` reads it from standard input. Without it, what the
    /// runtime remembers of the Pod
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The container's id, for a namespace's path of which nothing is recorded
    #[arg(long, value_name = "ID")]
    container: Option<coordinator_sdk::ContainerId>,
    /// Where they are written; without it, to standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    // No stage runs: whatever one would refuse, the facts can be recorded.
    let nothing = Pipeline::default();
    let container = arguments.container.clone();
    let (call, hearsay) = plan::call_of(&arguments.whom, arguments.config.as_deref(), container, Some(nothing))?;
    hearsay.into_iter().for_each(|note| terminal.remark(&format!("note: {note}\n")));
    let facts = attachment::plan(&call)?.facts;
    let text = serde_json::to_value(&facts).map(|facts| format!("{facts:#}\n"));
    let text = text.map_err(|source| Failure::Json { path: PathBuf::from("the facts"), source })?;
    match &arguments.output {
        Some(path) => fs::write(path, text).map_err(|source| Failure::Write { path: path.clone(), source })?,
        None => terminal.answer(&text)?,
    }
    Ok(Exit::Success)
}
