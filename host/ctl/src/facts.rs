//! `coordinatorctl facts`: records what stages see of a live Pod, to replay it anywhere.

use std::{fs, path::PathBuf};

use clap::Args;
use coordinator_core::{
    attachment::{self, AttachmentError},
    pipeline::Pipeline,
};

use crate::{
    exit::Exit,
    failure::Failure,
    plan,
    subject::{Told, Whom},
    terminal::Terminal,
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    whom: Whom,
    #[command(flatten)]
    told: Told,
    /// Where they are written; without it, to standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let (mut call, hearsay) = plan::call_of(&arguments.whom, &arguments.told, None)?;
    hearsay.into_iter().for_each(|note| terminal.remark(&format!("note: {note}\n")));
    let facts = match attachment::plan(&call) {
        Ok(planned) => planned.facts,
        // Whatever a stage refuses, what it saw can be recorded.
        Err(AttachmentError::Run(_)) => {
            call.pipeline = Pipeline::default();
            attachment::plan(&call)?.facts
        }
        Err(error) => return Err(error.into()),
    };
    let text = serde_json::to_value(&facts).map(|facts| format!("{facts:#}\n"));
    let text = text.map_err(|source| Failure::Json { path: PathBuf::from("the facts"), source })?;
    match &arguments.output {
        Some(path) => fs::write(path, text).map_err(|source| Failure::Write { path: path.clone(), source })?,
        None => terminal.answer(&text)?,
    }
    Ok(Exit::Success)
}
