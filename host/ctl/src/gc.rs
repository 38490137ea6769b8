//! `coordinatorctl gc`: removes what bears coordinator's marks on this node and belongs to no attachment.

use clap::Args;
use coordinator_core::attachment::{Sweep, sweep};
use serde_json::json;

use crate::{exit::Exit, failure::Failure, subject::Places, terminal::Terminal};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Remove nothing; say what would go
    #[arg(long)]
    dry_run: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    places: Places,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let how = if arguments.dry_run { Sweep::Look } else { Sweep::Remove };
    let edits: Vec<String> = sweep(&arguments.places.of_attachments(), how)?.iter().map(ToString::to_string).collect();
    match arguments.json {
        true => terminal.answer_json(&json!(edits))?,
        false if edits.is_empty() => terminal.remark("nothing is left over\n"),
        false => terminal.answer(&format!("{}\n", edits.join("\n")))?,
    }
    Ok(if arguments.dry_run && !edits.is_empty() { Exit::No } else { Exit::Success })
}
