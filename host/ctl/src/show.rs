//! `coordinatorctl show`: everything that is recorded of an attachment.

use clap::Args;
use coordinator_core::record::{Record, State};
use serde_json::{Value, json};

use crate::{
    exit::Exit,
    explain,
    failure::Failure,
    settings_view::{self, Shown},
    subject::{Whom, known::Known},
    table,
    terminal::Terminal,
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    whom: Whom,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let known = arguments.whom.one()?;
    let Some(record) = &known.record else { return Err(Failure::NotFound { whom: known.short() }) };
    match arguments.json {
        true => terminal.answer_json(&to_json(&known, record))?,
        false => terminal.answer(&to_text(&known, record))?,
    }
    Ok(Exit::Success)
}

fn to_text(known: &Known, record: &Record) -> String {
    let mut text = String::new();
    let mut head = |name: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("{name:<12}{value}\n"));
        }
    };
    let table = record.table.map(|table| table.to_string());
    let addresses: Vec<String> = record.addresses.iter().map(ToString::to_string).collect();
    head("Container", record.container.to_string());
    head("Interface", record.interface.to_string());
    head("Network", record.network.clone());
    head("Pod", known.pod());
    head("Namespace", known.namespace_path().map(|path| path.display().to_string()).unwrap_or_default());
    head("Mode", format!("{:?}", record.about.settings.mode).to_lowercase());
    head("Addresses", addresses.join(" "));
    head("Table", table.unwrap_or_default());
    head("State", if record.state == State::Committed { "attached" } else { "interrupted" }.to_owned());
    for skipped in &record.about.skipped {
        head("Skipped", format!("stage {}: {}", skipped.stage, skipped.why));
    }
    let settings = settings_view::all(&record.about.settings).into_iter();
    let rows = settings.map(|shown| vec![shown.name.to_owned(), shown.value.to_string(), shown.source.to_string()]);
    text.push_str(&format!("\n{}", table::render(&["setting", "value", "set by"], rows)));
    let objects = explain::objects(record).into_iter();
    let rows = objects.map(|explained| vec![explained.stage(), explained.state, explained.why]);
    text.push_str(&format!("\n{}", table::render(&["stage", "object", "because"], rows)));
    text
}

fn to_json(known: &Known, record: &Record) -> Value {
    json!({
        "container": record.container,
        "interface": record.interface,
        "network": record.network,
        "pod": known.pod(),
        "namespace": known.namespace_path(),
        "mode": record.about.settings.mode,
        "addresses": record.addresses,
        "table": record.table,
        "committed": record.state == State::Committed,
        "skipped": record.about.skipped,
        "settings": settings_view::all(&record.about.settings).iter().map(Shown::to_json).collect::<Vec<_>>(),
        "objects": explain::objects(record).iter().map(explain::to_json).collect::<Vec<_>>(),
    })
}
