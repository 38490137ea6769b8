//! `coordinatorctl report`: one page that shows a Pod's network, to look at and to attach to a ticket.
//!
//! The page needs nothing beside itself: no script, no font, no network.

mod page;
mod picture;
mod style;

use std::{fs, path::PathBuf};

use clap::Args;
use coordinator_core::attachment;

use crate::{
    exit::Exit,
    failure::Failure,
    path,
    subject::{self, Whom},
    terminal::Terminal,
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    whom: Whom,
    /// The file to write; `-` writes to standard output
    #[arg(long, value_name = "FILE")]
    html: PathBuf,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let (known, records) = path::records(&arguments.whom)?;
    let record = known.record.as_ref().or(records.first()).ok_or_else(|| known.not_attached())?;
    let namespace = subject::namespace(&known)?;
    let model = attachment::look(record, &namespace)?;
    let paths = path::of(&Whom { interface: None, ..arguments.whom.clone() }, None, None)?;
    let text = page::render(&known, &records, &model, &paths);
    if arguments.html.as_os_str() == "-" {
        terminal.answer(&text)?;
    } else {
        let write = |source| Failure::Write { path: arguments.html.clone(), source };
        fs::write(&arguments.html, text).map_err(write)?;
    }
    Ok(Exit::Success)
}
