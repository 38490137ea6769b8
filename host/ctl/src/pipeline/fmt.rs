//! `coordinatorctl pipeline fmt`: one look for every pipeline file; comments and the order of keys stay.

use std::{fs, path::PathBuf};

use clap::Args;
use serde_json::json;
use toml_edit::{Decor, DocumentMut, Item, KeyMut, Table, Value};

use super::given;
use crate::{exit::Exit, failure::Failure, terminal::Terminal};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The pipeline files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write nothing; name the files that would change
    #[arg(long)]
    check: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut changed = Vec::new();
    for path in &arguments.files {
        let text = given::read(path)?.text;
        let tidy = tidied(&text).map_err(|source| Failure::Toml { path: path.clone(), source })?;
        if tidy == text {
            continue;
        }
        if !arguments.check {
            fs::write(path, tidy).map_err(|source| Failure::Write { path: path.clone(), source })?;
        }
        changed.push(path);
    }
    match arguments.json {
        true => terminal.answer_json(&json!(changed))?,
        false => changed.iter().try_for_each(|path| terminal.answer(&format!("{}\n", path.display())))?,
    }
    Ok(if arguments.check && !changed.is_empty() { Exit::No } else { Exit::Success })
}

/// The text in its one form.
fn tidied(text: &str) -> Result<String, toml_edit::TomlError> {
    let mut document: DocumentMut = text.parse()?;
    tidy_table(document.as_table_mut());
    let trailing = comments(document.trailing().as_str().unwrap_or_default());
    document.set_trailing(format!("\n{trailing}"));
    let shown = document.to_string();
    let mut tidy = shown.trim_start_matches('\n').trim_end().to_owned();
    tidy.push('\n');
    Ok(tidy)
}

fn tidy_table(table: &mut Table) {
    for (key, item) in table.iter_mut() {
        match item {
            Item::Value(value) => tidy_value(key, value),
            Item::Table(inner) => {
                tidy_head(inner.decor_mut());
                tidy_table(inner);
            }
            Item::ArrayOfTables(tables) => {
                for inner in tables.iter_mut() {
                    tidy_head(inner.decor_mut());
                    tidy_table(inner);
                }
            }
            Item::None => {}
        }
    }
}

/// A head has one empty line before it and before its comments.
fn tidy_head(decor: &mut Decor) {
    let before = comments(decor.prefix().and_then(|raw| raw.as_str()).unwrap_or_default());
    let behind = remark(decor.suffix().and_then(|raw| raw.as_str()).unwrap_or_default());
    decor.set_prefix(format!("\n{before}"));
    decor.set_suffix(behind);
}

fn tidy_value(mut key: KeyMut<'_>, value: &mut Value) {
    let decor = key.leaf_decor_mut();
    let before = comments(decor.prefix().and_then(|raw| raw.as_str()).unwrap_or_default());
    decor.set_prefix(before);
    decor.set_suffix(" ");
    let behind = value.decor().suffix().and_then(|raw| raw.as_str()).unwrap_or_default().to_owned();
    // What is written over several lines keeps them: its author meant something by it.
    let is_long = value.to_string().trim_end().contains('\n');
    if !is_long {
        tidy_inner(value);
    }
    *value.decor_mut() = Decor::new(" ", aligned(&behind));
}

/// One space behind every comma, and inside the braces of a table.
fn tidy_inner(value: &mut Value) {
    match value {
        Value::Array(array) => {
            let count = array.len();
            for (at, value) in array.iter_mut().enumerate() {
                tidy_inner(value);
                *value.decor_mut() = Decor::new(if at == 0 { "" } else { " " }, "");
            }
            array.set_trailing("");
            array.set_trailing_comma(false);
            debug_assert_eq!(count, array.len());
        }
        Value::InlineTable(table) => {
            let count = table.len();
            for (at, (mut key, value)) in table.iter_mut().enumerate() {
                *key.leaf_decor_mut() = Decor::new(" ", " ");
                tidy_inner(value);
                let is_last = at.saturating_add(1) == count;
                *value.decor_mut() = Decor::new(" ", if is_last { " " } else { "" });
            }
            table.set_trailing("");
        }
        _ => {}
    }
}

/// The comments in front of something, each on its line; at most one empty line between them.
fn comments(text: &str) -> String {
    let mut lines = String::new();
    let mut is_after_gap = false;
    for line in text.lines().map(str::trim) {
        if line.is_empty() {
            is_after_gap = !lines.is_empty();
            continue;
        }
        if is_after_gap {
            lines.push('\n');
            is_after_gap = false;
        }
        lines.push_str(line);
        lines.push('\n');
    }
    if is_after_gap {
        lines.push('\n');
    }
    lines
}

/// The comment behind something.
fn remark(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() { String::new() } else { format!(" {text}") }
}

/// As [`remark`], but a column that its author chose is kept.
fn aligned(text: &str) -> String {
    if text.trim().is_empty() {
        String::new()
    } else {
        format!(" {}", text.trim_end().strip_prefix(' ').unwrap_or(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gets_its_one_form_and_keeps_it() {
        let text = "# about\n\n\nschema=1\nextends   =   \"default\"   # base\n[ settings ]\n  serviceCIDR=[ \"10.96.0.0/16\",\"fd00::/112\" ,]\n\n\n# ours\n[[stage]] # head\nname=\"x\"\nwhen={mode=\"overlay\",interface=[\"a\",\"b\"]}\nlong = [\n  1,\n  2,\n]\n\n# end\n\n";
        let tidy = tidied(text).unwrap();
        let expected = "# about\n\nschema = 1\nextends = \"default\"   # base\n\n[ settings ]\nserviceCIDR = [\"10.96.0.0/16\", \"fd00::/112\"]\n\n# ours\n[[stage]] # head\nname = \"x\"\nwhen = { mode = \"overlay\", interface = [\"a\", \"b\"] }\nlong = [\n  1,\n  2,\n]\n\n# end\n";
        assert_eq!(tidy, expected);
        assert_eq!(tidied(&tidy).unwrap(), tidy);
    }

    #[test]
    fn the_built_in_pipeline_has_it() {
        let text = coordinator_core::pipeline::builtin_file().text;
        assert_eq!(tidied(&text).unwrap(), text);
    }

    #[test]
    fn what_it_says_stays() {
        for name in ["guest-grant", "when-list", "settings-many", "test-keys"] {
            let path = format!("{}/../core/src/pipeline/bad/{name}.toml", env!("CARGO_MANIFEST_DIR"));
            let text = fs::read_to_string(path).unwrap();
            let plain = |text: &str| text.parse::<DocumentMut>().unwrap().to_string().replace([' ', '\n', '\t'], "");
            let without_commas = |text: &str| plain(text).replace(",]", "]");
            assert_eq!(without_commas(&text), without_commas(&tidied(&text).unwrap()), "{name}");
        }
    }
}
