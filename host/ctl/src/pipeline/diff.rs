//! `coordinatorctl pipeline diff`: what another pipeline does otherwise, after all includes.

use std::path::PathBuf;

use clap::Args;
use coordinator_core::pipeline::{Draft, StageEntry};
use serde_json::{Map, Value, json};

use super::{
    given,
    show::{keys, toml},
};
use crate::{exit::Exit, failure::Failure, terminal::Terminal};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A pipeline file, or `default` for the built-in one
    #[arg(value_name = "A")]
    before: PathBuf,
    /// Another one
    #[arg(value_name = "B")]
    after: PathBuf,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let lines = differences(&given::sound(&arguments.before)?, &given::sound(&arguments.after)?);
    if arguments.json {
        let line = |(sign, text): &(char, String)| json!({"sign": sign.to_string(), "text": text});
        terminal.answer_json(&lines.iter().map(line).collect::<Vec<_>>().into())?;
    } else {
        for (sign, text) in &lines {
            terminal.answer(&format!("{sign} {text}\n"))?;
        }
    }
    Ok(if lines.is_empty() { Exit::Success } else { Exit::No })
}

/// Every difference: `-` is gone, `+` is new, `~` is altered.
fn differences(before: &Draft, after: &Draft) -> Vec<(char, String)> {
    let mut lines = fields("setting", &settings(before), &settings(after));
    let stage = |draft: &Draft, name: &str| draft.stages.iter().find(|stage| stage.name.value == name).cloned();
    for old in &before.stages {
        if stage(after, &old.name.value).is_none() {
            lines.push(('-', format!("stage {}: {}", old.name.value, old.uses.value)));
        }
    }
    for (at, new) in after.stages.iter().enumerate() {
        let name = &new.name.value;
        let previous = at.checked_sub(1).and_then(|at| after.stages.get(at)).map(|stage| &stage.name.value);
        let place = previous.map(|name| format!(", after {name}")).unwrap_or_default();
        match stage(before, name) {
            None => lines.push(('+', format!("stage {name}: {}{place}", new.uses.value))),
            Some(old) => {
                let of = |draft: &Draft, stage: &StageEntry| {
                    let values = keys(draft, stage).into_iter();
                    values.map(|(key, value, _)| (key.to_owned(), value)).collect::<Map<_, _>>()
                };
                lines.extend(fields(&format!("stage {name}:"), &of(before, &old), &of(after, new)));
            }
        }
    }
    lines.extend(moved(before, after).into_iter().map(|name| ('~', format!("stage {name} stands elsewhere"))));
    lines
}

fn settings(draft: &Draft) -> Map<String, Value> {
    draft.settings()
}

fn fields(what: &str, before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<(char, String)> {
    let mut lines = Vec::new();
    for (key, old) in before {
        match after.get(key) {
            None => lines.push(('-', format!("{what} {key} = {}", toml(old)))),
            Some(new) if new != old => {
                lines.push(('~', format!("{what} {key} = {}, was {}", toml(new), toml(old))));
            }
            Some(_) => {}
        }
    }
    let new = after.iter().filter(|(key, _)| !before.contains_key(*key));
    lines.extend(new.map(|(key, value)| ('+', format!("{what} {key} = {}", toml(value)))));
    lines
}

/// Stages of both that stand in front of one behind which they stood: the fewest that explain the order are not
/// sought, each that another one overtook is named.
fn moved(before: &Draft, after: &Draft) -> Vec<String> {
    let rank = |name: &str| before.stages.iter().position(|stage| stage.name.value == name);
    let mut highest = 0;
    let mut names = Vec::new();
    for stage in &after.stages {
        let Some(rank) = rank(&stage.name.value) else { continue };
        if rank < highest {
            names.push(stage.name.value.clone());
        }
        highest = highest.max(rank);
    }
    names
}
