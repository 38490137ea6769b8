//! How the tool speaks to people and to programs: one JSON document whatever happens, colours for terminals only, exit
//! codes, and calm when a reader goes away.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use coordinator_lab::{ask, ask_json, command, tool};
use serde_json::{Value, json};

/// A pipeline with four mistakes.
const WRONG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/examples/wrong.toml");
const ESCAPE: char = '\u{1b}';

#[test]
fn a_program_gets_one_json_document_whatever_happens() {
    let nowhere = "/nowhere/at/all";
    let unread = format!("cannot read {nowhere}: No such file or directory (os error 2)");
    for words in [
        &["pipeline", "validate", nowhere][..],
        &["pipeline", "show", nowhere],
        &["pipeline", "test", nowhere],
        &["pipeline", "diff", "default", nowhere],
        &["pipeline", "fmt", nowhere],
        &["pipeline", "lock", nowhere],
        &["stage", "inspect", nowhere],
        &["plan", "--facts", nowhere],
    ] {
        let (answer, code) = ask_json(words).unwrap();
        assert_eq!(code, 66, "{words:?}: {answer}");
        assert_eq!((answer["exit"].as_i64(), answer["error"].is_string()), (Some(66), true), "{words:?}: {answer}");
        if words[0] == "pipeline" {
            assert_eq!(answer["error"], unread.as_str());
        }
        // A person reads the same as words.
        let said = ask(words).unwrap();
        assert_eq!((said.code, said.answer.as_str()), (66, ""), "{words:?}");
        assert!(said.remarks.starts_with("coordinatorctl: "), "{words:?}: {}", said.remarks);
    }
    for words in [
        &["pipeline", "show", WRONG][..],
        &["pipeline", "test", WRONG],
        &["pipeline", "diff", WRONG, "default"],
        &["plan", "--facts", nowhere, "--pipeline", WRONG],
    ] {
        let (answer, code) = ask_json(words).unwrap();
        assert_eq!(code, 78, "{words:?}: {answer}");
        let places = answer["problems"].as_array().unwrap().iter().map(|it| json!([it["line"], it["column"]]));
        assert_eq!(Value::from_iter(places), json!([[5, 1], [6, 14], [10, 7], [11, 10]]), "{words:?}");
        // A person sees them as `validate` shows them.
        let (said, shown) = (ask(words).unwrap(), ask(&["pipeline", "validate", WRONG]).unwrap());
        assert_eq!(said.remarks, shown.answer + &shown.remarks, "{words:?}");
    }
    let sarif = ask(&["pipeline", "validate", "--format", "sarif", nowhere]).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&sarif.answer).unwrap(), json!({"error": unread, "exit": 66}));
    let (problems, code) = ask_json(&["pipeline", "validate", WRONG]).unwrap();
    assert_eq!((problems.as_array().map(Vec::len), code), (Some(4), 78));
    // Who asks wrongly is told so in words: nobody knows what was meant.
    let said = ask(&["pipeline", "show", "--json"]).unwrap();
    assert_eq!((said.code, said.answer.as_str()), (2, ""));
    assert!(said.remarks.contains("<FILE>"), "{}", said.remarks);
}

#[test]
fn what_is_not_there_to_be_tested_is_no_success() {
    let site = concat!(env!("CARGO_MANIFEST_DIR"), "/../pipelines/examples/site.toml");
    let said = ask(&["pipeline", "test", site, "--only", "no such test"]).unwrap();
    assert_eq!((said.code, said.remarks.as_str()), (66, "coordinatorctl: no test's name contains \"no such test\"\n"));
    assert_eq!(ask(&["pipeline", "test", site, "--only", "Pod of the shop"]).unwrap().answer.lines().count(), 1);
}

#[test]
fn what_is_written_is_named_to_programs_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.toml");
    fs::write(&path, "schema=1\nextends=\"default\"\n").unwrap();
    let file = path.to_str().unwrap();
    assert_eq!(ask_json(&["pipeline", "fmt", "--check", file]).unwrap(), (json!([file]), 1));
    assert_eq!(ask_json(&["pipeline", "fmt", file]).unwrap(), (json!([file]), 0));
    assert_eq!(ask_json(&["pipeline", "fmt", file]).unwrap(), (json!([]), 0));
    assert_eq!(ask_json(&["pipeline", "lock", file]).unwrap(), (json!({"lock": null, "right": true}), 0));
}

/// What a terminal is shown, in an environment of nothing but these variables: a runner of tests sets CI, which counts
/// as the wish for colours.
fn on_terminal(environment: &str, words: &str) -> Result<String> {
    let line = format!("env --ignore-environment {environment} {} {words}", tool()?.display());
    command("script", &["--quiet", "--command", &line, "/dev/null"], "")
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let plain = ask(&["pipeline", "validate", WRONG]).unwrap();
    assert!(!plain.answer.contains(ESCAPE) && !plain.remarks.contains(ESCAPE));
    assert!(ask(&["--color", "always", "pipeline", "validate", WRONG]).unwrap().answer.contains(ESCAPE));
    for (environment, words, has_colours) in [
        ("TERM=xterm", "", true),
        ("TERM=xterm NO_COLOR=1", "", false),
        ("TERM=xterm CI=true NO_COLOR=1", "", false),
        ("TERM=dumb", "", false),
        ("TERM=xterm", "--color never", false),
    ] {
        let shown = on_terminal(environment, &format!("{words} pipeline validate {WRONG}")).unwrap();
        assert!(shown.contains("did you mean vethMTU?"), "{shown}");
        assert_eq!(shown.contains(ESCAPE), has_colours, "{environment} {words}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    for (words, expected) in [
        (&["pipeline", "schema"][..], 0),
        (&["pipeline", "show", "default"], 0),
        (&["completions", "zsh"], 0),
        (&["pipeline", "graph", "default"], 0),
        (&["help"], 0),
    ] {
        let outcome = || -> Result<()> {
            let mut child = Command::new(tool()?).args(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
            let mut first = String::new();
            BufReader::with_capacity(16, child.stdout.take().context("an output")?).read_line(&mut first)?;
            let output = child.wait_with_output()?;
            let said = String::from_utf8(output.stderr)?;
            ensure!(output.status.code() == Some(expected) && said.is_empty(), "{}: {said}", output.status);
            Ok(())
        };
        outcome().with_context(|| format!("{words:?}")).unwrap();
    }
    // A full disk is one.
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = Command::new(tool().unwrap()).args(["pipeline", "schema"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(74));
    assert!(String::from_utf8(output.stderr).unwrap().contains("cannot write the answer: No space left on device"));
}
