//! `coordinatorctl list`: the attachments of this node.

use clap::Args;
use coordinator_core::record::State;
use serde_json::{Map, Value, json};

use crate::{
    exit::Exit,
    failure::Failure,
    subject::{Places, known, known::Known},
    table,
    terminal::Terminal,
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    places: Places,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let attachments = known::all(&arguments.places)?;
    if arguments.json {
        terminal.answer_json(&attachments.iter().map(|known| fields(known).into()).collect::<Vec<Value>>().into())?;
    } else if attachments.is_empty() {
        terminal.remark("no attachment is known on this node\n");
    } else {
        let head = ["container", "interface", "pod", "network", "mode", "table", "addresses", "state"];
        terminal.answer(&table::render(&head, attachments.iter().map(row)))?;
    }
    Ok(Exit::Success)
}

/// What our record says of the state; an attachment that only the runtime remembers has none.
pub(crate) fn state(known: &Known) -> &'static str {
    match known.record.as_ref().map(|record| record.state) {
        Some(State::Committed) => "attached",
        Some(State::Intent) => "interrupted",
        None if known.broken.is_some() => "unusable record",
        None => "not ours yet",
    }
}

fn addresses(known: &Known) -> Vec<String> {
    known.record.iter().flat_map(|record| &record.addresses).map(ToString::to_string).collect()
}

fn mode(known: &Known) -> String {
    let mode = known.record.as_ref().map(|record| format!("{:?}", record.about.settings.mode).to_lowercase());
    mode.unwrap_or_default()
}

fn row(known: &Known) -> Vec<String> {
    let table = known.record.as_ref().and_then(|record| record.table).map(|table| table.to_string());
    vec![
        known.container.prefix(12).to_owned(),
        known.interface.to_string(),
        known.pod(),
        known.network.clone(),
        mode(known),
        table.unwrap_or_default(),
        addresses(known).join(" "),
        state(known).to_owned(),
    ]
}

/// An attachment for programs.
pub(crate) fn fields(known: &Known) -> Map<String, Value> {
    let mut fields = known.to_json();
    fields.insert("mode".to_owned(), mode(known).into());
    fields.insert("table".to_owned(), known.record.as_ref().and_then(|record| record.table).into());
    fields.insert("addresses".to_owned(), addresses(known).into());
    fields.insert("namespace".to_owned(), json!(known.namespace_path()));
    fields.insert("state".to_owned(), state(known).into());
    fields
}
