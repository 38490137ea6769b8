//! `coordinatorctl node`: makes this node ready for underlay Pods, and takes that back.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use coordinator_core::preparation::{Liberal, Object, Root, Step, apply, restoration, restore, wanted};
use serde_json::{Value, json};

use crate::{exit::Exit, failure::Failure, terminal::Terminal};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Set kernel parameters, and keep NetworkManager off the Pods' links; a second time changes nothing
    Prepare(Prepare),
}

#[derive(Debug, Args)]
pub(crate) struct Prepare {
    /// Show the changes, and make none; exit code 1 when there are some
    #[arg(long)]
    dry_run: bool,
    /// Bring back what was before, where nobody changed it since
    #[arg(long, conflicts_with = "be_liberal")]
    revert: bool,
    /// Let through TCP packets whose other direction takes another way (nf_conntrack_tcp_be_liberal)
    #[arg(long)]
    be_liberal: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    /// Where the node's files are
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
}

impl Command {
    pub(crate) fn run(&self, terminal: &Terminal) -> Result<Exit, Failure> {
        match self {
            Self::Prepare(arguments) => prepare(arguments, terminal),
        }
    }
}

fn prepare(arguments: &Prepare, terminal: &Terminal) -> Result<Exit, Failure> {
    let root = Root(arguments.root.clone());
    let liberal = if arguments.be_liberal { Liberal::Yes } else { Liberal::Untouched };
    let (steps, stays) = match arguments.revert {
        true => restoration(&root)?,
        false => (wanted(&root, liberal)?, Vec::new()),
    };
    if !arguments.dry_run {
        match arguments.revert {
            true => restore(&root, &steps)?,
            false => apply(&root, &steps)?,
        }
    }
    for line in &stays {
        terminal.remark(&format!("{line}\n"));
    }
    match arguments.json {
        true => terminal.answer_json(&steps.iter().map(to_json).collect::<Vec<_>>().into())?,
        false if steps.is_empty() => terminal.answer("Nothing is to be changed.\n")?,
        false => terminal.answer(&steps.iter().map(|step| format!("{step}\n")).collect::<String>())?,
    }
    Ok(if arguments.dry_run && !steps.is_empty() { Exit::No } else { Exit::Success })
}

fn to_json(step: &Step) -> Value {
    let (kind, name) = match &step.object {
        Object::Parameter(name) => ("parameter", name),
        Object::File(name) => ("file", name),
    };
    json!({"kind": kind, "name": name, "before": step.before, "after": step.after, "why": step.why})
}
