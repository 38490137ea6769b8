//! The interface is documented whole, and `docs/wit.md` is what `wit/` says.

use std::{fmt::Write as _, fs};

use coordinator_guests::root;

/// The files in reading order.
const FILES: [&str; 6] = ["stage", "facts", "changes", "types", "about", "host"];

fn text(name: &str) -> String {
    fs::read_to_string(root().join("wit").join(format!("{name}.wit"))).unwrap()
}

/// Names and lines that open an item or are one: everything an author can meet.
fn items(text: &str) -> Vec<(usize, &str)> {
    let is_item = |line: &str| {
        let line = line.trim();
        let is_noise = line.is_empty() || line.starts_with("//") || line.starts_with('@') || line.starts_with('}');
        let is_use = line.starts_with("use ") || line.starts_with("package ") || line.starts_with("import ");
        !is_noise && !is_use
    };
    text.lines().enumerate().filter(|(_, line)| is_item(line)).collect()
}

#[test]
fn every_item_is_documented_and_says_since_when() {
    let mut wrong = Vec::new();
    for name in FILES {
        let text = text(name);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (at, line) in items(&text) {
            let above: Vec<&str> = lines[..at]
                .iter()
                .rev()
                .take_while(|it| it.starts_with("///") || it.starts_with('@'))
                .copied()
                .collect();
            if !above.iter().any(|it| it.starts_with("///")) {
                wrong.push(format!("wit/{name}.wit:{}: {line} has no documentation", at + 1));
            }
            let opens = ["interface ", "world ", "record ", "variant ", "enum ", "flags ", "type ", "export ", "log:"];
            if opens.iter().any(|word| line.trim_start().starts_with(word))
                && !above.iter().any(|it| it.starts_with("@since(version = "))
            {
                wrong.push(format!("wit/{name}.wit:{}: {line} does not say since when", at + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The interface for reading: each item with its documentation.
fn reference() -> String {
    let mut page = "# The interface of stages\n\nMade of `wit/` by a test (`BLESS=1 cargo test -p coordinator-tests --test interface`); \
                    [how to write a stage](writing-a-stage.md), [how the interface evolves](../wit/README.md).\n"
        .to_owned();
    for name in FILES {
        let text = text(name);
        let mut documentation: Vec<String> = Vec::new();
        for line in text.lines() {
            let line = line.trim();
            if let Some(said) = line.strip_prefix("///") {
                documentation.push(said.trim().to_owned());
            } else if !line.is_empty() && !line.starts_with('@') && !line.starts_with('}') {
                let said = std::mem::take(&mut documentation).join(" ");
                let shown = line.trim_end_matches([',', ';', '{', ' ']);
                if ["interface ", "world "].iter().any(|word| line.starts_with(word)) {
                    let _ = write!(page, "\n## {shown}\n\n{said}\n");
                } else if ["record ", "variant ", "enum ", "flags "].iter().any(|word| line.starts_with(word)) {
                    let _ = write!(page, "\n### {shown}\n\n{said}\n\n");
                } else if ["type ", "export ", "log:"].iter().any(|word| line.starts_with(word)) {
                    let _ = write!(page, "\n### `{shown}`\n\n{said}\n");
                } else if !said.is_empty() {
                    let _ = writeln!(page, "- `{shown}`: {said}");
                }
            }
        }
    }
    page
}

#[test]
fn the_published_interface_is_this_one() {
    let path = root().join("docs/wit.md");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, reference()).unwrap();
    }
    let published = fs::read_to_string(&path).unwrap_or_default();
    assert!(published == reference(), "docs/wit.md is not what wit/ says: run the test with BLESS=1");
}
