//! `coordinatorctl pipeline graph`: the stages in their order as a picture, SVG or Mermaid.

use std::{fmt::Write as _, path::PathBuf};

use clap::Args;
use coordinator_core::pipeline::{Draft, StageEntry};

use super::{given, show::toml};
use crate::{exit::Exit, failure::Failure, html::escape, terminal::Terminal};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Picture {
    /// A drawing of its own
    #[default]
    Svg,
    /// Text that Markdown viewers draw
    Mermaid,
}

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The pipeline file, or `default` for the built-in one
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What is drawn
    #[arg(long, value_name = "FORMAT", default_value = "svg")]
    format: Picture,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let draft = given::sound(&arguments.file)?;
    terminal.answer(&match arguments.format {
        Picture::Svg => svg(&draft),
        Picture::Mermaid => mermaid(&draft),
    })?;
    Ok(Exit::Success)
}

/// What a stage is, for its colour.
fn kind(stage: &StageEntry) -> &'static str {
    match stage.uses.value.split_once(':') {
        Some(("wasm", _)) => "guest",
        Some((_, "observe" | "apply" | "announce")) => "kernel",
        Some((_, "probe" | "findings")) => "wire",
        _ => "decide",
    }
}

/// The lines of a stage's box beside its name.
fn notes(draft: &Draft, stage: &StageEntry) -> Vec<String> {
    let mut notes = vec![stage.uses.value.clone()];
    notes.extend(stage.when.as_ref().map(|when| format!("when {}", toml(&when.value.to_json()))));
    let grants: Vec<&str> = stage.grants.iter().map(|grant| grant.value.as_str()).collect();
    if !grants.is_empty() {
        notes.push(format!("may propose {}", grants.join(", ")));
    }
    notes.push(draft.sources.line(&stage.place));
    notes
}

fn mermaid(draft: &Draft) -> String {
    let mut text = "flowchart TD\n".to_owned();
    for (at, stage) in draft.stages.iter().enumerate() {
        let notes = notes(draft, stage).iter().map(|note| note.replace('"', "#quot;")).collect::<Vec<_>>();
        // Writing to a text cannot fail.
        let _ =
            writeln!(text, "  s{at}[\"<b>{}</b><br/>{}\"]:::{}", stage.name.value, notes.join("<br/>"), kind(stage));
    }
    for at in 1..draft.stages.len() {
        let _ = writeln!(text, "  s{} --> s{at}", at.saturating_sub(1));
    }
    text.push_str(
        "  classDef kernel fill:#dbeafe,stroke:#1d4ed8\n  classDef decide fill:#f8fafc,stroke:#64748b\n  \
         classDef wire fill:#fef3c7,stroke:#b45309\n  classDef guest fill:#ede9fe,stroke:#6d28d9\n",
    );
    text
}

/// Boxes below each other; the width is that of the longest line.
fn svg(draft: &Draft) -> String {
    const LINE: usize = 16;
    const GAP: usize = 26;
    let boxes: Vec<(&StageEntry, Vec<String>)> =
        draft.stages.iter().map(|stage| (stage, notes(draft, stage))).collect();
    let longest = boxes.iter().flat_map(|(_, notes)| notes).map(|note| note.chars().count()).max().unwrap_or(0);
    // A letter of 12 pixels is a little more than 7 wide.
    let width = (longest.saturating_mul(15) / 2).saturating_add(24).max(260);
    let height = |notes: &[String]| notes.len().saturating_add(1).saturating_mul(LINE).saturating_add(14);
    let total: usize = boxes.iter().map(|(_, notes)| height(notes).saturating_add(GAP)).sum();
    let (outer, total) = (width.saturating_add(40), total.saturating_add(14));
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {outer} {total}\" width=\"{outer}\" height=\"{total}\" \
         font-family=\"ui-monospace, monospace\" font-size=\"12\">\n<style>\
         .kernel{{fill:#dbeafe;stroke:#1d4ed8}}.decide{{fill:#f8fafc;stroke:#64748b}}\
         .wire{{fill:#fef3c7;stroke:#b45309}}.guest{{fill:#ede9fe;stroke:#6d28d9}}\
         text{{fill:#0f172a}}.note{{fill:#475569}}path{{stroke:#64748b;fill:none}}</style>\n\
         <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
         orient=\"auto\"><path d=\"M0 0 L8 4 L0 8\"/></marker></defs>\n"
    );
    let mut y = 10_usize;
    let middle = outer / 2;
    for (at, (stage, notes)) in boxes.iter().enumerate() {
        let tall = height(notes);
        let _ = writeln!(
            text,
            "<rect class=\"{}\" x=\"20\" y=\"{y}\" width=\"{width}\" height=\"{tall}\" rx=\"6\"/>\n\
             <text x=\"32\" y=\"{}\" font-weight=\"bold\">{}</text>",
            kind(stage),
            y.saturating_add(20),
            escape(&stage.name.value)
        );
        for (line, note) in notes.iter().enumerate() {
            let below = y.saturating_add(20).saturating_add(line.saturating_add(1).saturating_mul(LINE));
            let _ = writeln!(text, "<text class=\"note\" x=\"32\" y=\"{below}\">{}</text>", escape(note));
        }
        y = y.saturating_add(tall);
        if at.saturating_add(1) < boxes.len() {
            let end = y.saturating_add(GAP);
            let _ = writeln!(text, "<path d=\"M{middle} {y} V{end}\" marker-end=\"url(#tip)\"/>");
        }
        y = y.saturating_add(GAP);
    }
    text.push_str("</svg>\n");
    text
}
