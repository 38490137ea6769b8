//! `coordinatorctl show`: everything that is recorded of an attachment.

use clap::Args;
use coordinator_core::record::Record;
use serde_json::{Value, json};

use crate::{
    exit::Exit,
    explain,
    failure::Failure,
    list,
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
    let record = known.record.as_ref().ok_or_else(|| known.not_attached())?;
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
    head("State", list::state(known).to_owned());
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
    let mut fields = list::fields(known);
    let settings: Vec<Value> = settings_view::all(&record.about.settings).iter().map(Shown::to_json).collect();
    let objects: Vec<Value> = explain::objects(record).iter().map(explain::to_json).collect();
    fields.insert("skipped".to_owned(), json!(record.about.skipped));
    fields.insert("settings".to_owned(), settings.into());
    fields.insert("objects".to_owned(), objects.into());
    fields.into()
}
