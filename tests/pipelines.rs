//! `coordinatorctl pipeline` as its users call it; the documentation's examples are run word for word.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, Result};
use coordinator_lab::tool;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs the tool in the repository's root.
fn ask(arguments: &[&str]) -> Result<(i32, String, String)> {
    let Output { status, stdout, stderr } = Command::new(tool()?).args(arguments).current_dir(root()).output()?;
    Ok((status.code().context("an exit code")?, String::from_utf8(stdout)?, String::from_utf8(stderr)?))
}

/// The fenced blocks of a page in this language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("docs").join(page)).unwrap();
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn every_pipeline_in_the_documentation_is_right() {
    let blocks = blocks("pipelines.md", "toml");
    assert!(blocks.len() >= 3);
    for block in blocks {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("block.toml");
        fs::write(&path, &block).unwrap();
        let (code, said, _) = ask(&["pipeline", "validate", "--deny-warnings", path.to_str().unwrap()]).unwrap();
        assert_eq!(code, 0, "{block}\n{said}");
        let (code, _, _) = ask(&["pipeline", "fmt", "--check", path.to_str().unwrap()]).unwrap();
        assert_eq!(code, 0, "{block} is not in its one form");
    }
}

#[test]
fn every_command_in_the_documentation_says_what_is_written_there() {
    let blocks = blocks("pipelines.md", "console");
    assert!(blocks.len() >= 3);
    for block in blocks {
        let (command, expected) = block.split_once('\n').unwrap();
        let words: Vec<&str> = command.strip_prefix("$ coordinatorctl ").unwrap().split(' ').collect();
        assert_eq!(ask(&words).unwrap().1, expected, "{command}");
    }
}

#[test]
fn the_pipelines_of_the_repository_are_right_and_tidy() {
    let mut files = vec!["pipelines/default.toml".to_owned()];
    for entry in fs::read_dir(root().join("pipelines/examples")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".toml") {
            files.push(format!("pipelines/examples/{name}"));
        }
    }
    assert!(files.len() >= 3);
    for file in &files {
        let (code, said, _) = ask(&["pipeline", "validate", "--deny-warnings", file]).unwrap();
        assert_eq!((code, said.as_str()), (0, ""), "{file}");
        assert_eq!(ask(&["pipeline", "fmt", "--check", file]).unwrap().0, 0, "{file}");
        let (code, said, _) = ask(&["pipeline", "test", file]).unwrap();
        assert_eq!(code, 0, "{said}");
    }
}

#[test]
fn mistakes_are_shown_to_people_programs_and_scanners() {
    let file = "docs/examples/wrong.toml";
    let (code, human, said) = ask(&["pipeline", "validate", file]).unwrap();
    assert_eq!((code, said.as_str()), (78, "4 errors, 0 warnings\n"));
    assert!(!human.contains('\u{1b}'), "no colours where there is no terminal");
    assert!(ask(&["--color", "always", "pipeline", "validate", file]).unwrap().1.contains('\u{1b}'));

    let (code, json, _) = ask(&["pipeline", "validate", "--format", "json", file]).unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, json.as_array().unwrap().len()), (78, 4));
    assert_eq!((&json[1]["line"], &json[1]["column"], &json[1]["severity"]), (&6.into(), &14.into(), &"error".into()));

    let (code, sarif, _) = ask(&["pipeline", "validate", "--format", "sarif", file]).unwrap();
    let sarif: Value = serde_json::from_str(&sarif).unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    assert_eq!((code, sarif["version"].as_str(), results.len()), (78, Some("2.1.0"), 4));
    assert_eq!(results[0]["locations"][0]["physicalLocation"]["region"]["startLine"], 5);
    assert_eq!(results[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], file);
}

#[test]
fn a_warning_fails_only_those_who_ask_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("warned.toml");
    fs::write(&path, "schema = 1\nextends = \"default\"\n\n[settings]\nhostRPFilter = 1\n").unwrap();
    let file = path.to_str().unwrap();
    assert_eq!(ask(&["pipeline", "validate", file]).unwrap().0, 0);
    assert_eq!(ask(&["pipeline", "validate", "--deny-warnings", file]).unwrap().0, 78);
    assert_eq!(ask(&["pipeline", "validate", "/nonexistent.toml"]).unwrap().0, 66);
    assert_eq!(ask(&["pipeline", "validat"]).unwrap().0, 2);
}

#[test]
fn what_is_shown_is_a_pipeline_that_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let shown = folder.path().join("shown.toml");
    let (code, text, _) = ask(&["pipeline", "show", "pipelines/examples/gpu.toml"]).unwrap();
    assert_eq!(code, 0);
    assert!(text.contains("vethMTU = 9000                                 # pipelines/examples/gpu.toml:7"), "{text}");
    fs::write(&shown, text).unwrap();
    let (code, difference, _) =
        ask(&["pipeline", "diff", "pipelines/examples/gpu.toml", shown.to_str().unwrap()]).unwrap();
    assert_eq!((code, difference.as_str()), (0, ""));
    assert_eq!(ask(&["pipeline", "diff", "default", "pipelines/examples/gpu.toml"]).unwrap().0, 1);
}

/// Whatever can be said of a stage is shown, and a difference in it is one.
#[test]
fn every_key_of_a_stage_is_shown_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let text = format!(
        "schema = 1\nextends = \"default\"\n\n[[stage]]\nname = \"rails\"\nuse = \"wasm:rails.wasm\"\n\
         sha256 = \"{digest}\"\nafter = \"mode\"\ngrant = [\"pod.route\", \"pod.rule\"]\n\
         limits = {{ time = \"1500us\", memory = \"320KiB\", output = \"2MiB\", changes = 77 }}\n\
         on-failure = \"skip\"\nwhen = {{ mode = \"overlay\", pod = [\"a-*\", \"b\"], network = \"n\" }}\n\
         with = {{ rails = 8, names = {{ \"a b\" = [true, 1.5] }} }}\n"
    );
    let file = write("all.toml", &text);
    let (code, shown, _) = ask(&["pipeline", "show", &file]).unwrap();
    assert_eq!(code, 0);
    let shown = write("shown.toml", &shown);
    assert_eq!(ask(&["pipeline", "diff", &file, &shown]).unwrap(), (0, String::new(), String::new()));
    for (key, old, new) in [
        ("sha256", "e3b0", "f3b0"),
        ("grant", "pod.rule", "pod.link"),
        ("limits", "1500us", "2ms"),
        ("limits", "320KiB", "1MiB"),
        ("limits", "2MiB", "3MiB"),
        ("limits", "77", "78"),
        ("on-failure", "skip", "refuse"),
        ("when", "a-*", "c-*"),
        ("with", "1.5", "2.5"),
        ("use", "wasm:rails", "wasm:tracks"),
    ] {
        let other = write("other.toml", &text.replace(old, new));
        let (code, difference, _) = ask(&["pipeline", "diff", &file, &other]).unwrap();
        assert!(code == 1 && difference.starts_with(&format!("~ stage rails: {key} = ")), "{key}: {difference}");
        assert_eq!(difference.lines().count(), 1, "{difference}");
    }
}

#[test]
fn the_stages_are_drawn() {
    let (_, svg, _) = ask(&["pipeline", "graph", "pipelines/examples/gpu.toml"]).unwrap();
    let (_, mermaid, _) = ask(&["pipeline", "graph", "--format", "mermaid", "pipelines/examples/gpu.toml"]).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && mermaid.starts_with("flowchart TD\n"));
    for name in ["observe", "shop-mac", "policy-routes", "apply"] {
        assert!(svg.contains(&format!(">{name}</text>")) && mermaid.contains(&format!("<b>{name}</b>")), "{name}");
    }
    assert!(!svg.contains("transmit-queue"));
    assert_eq!(svg.matches("<rect").count(), mermaid.matches("[\"").count());
}

#[test]
fn a_test_that_fails_says_what_differs_and_a_blessed_one_passes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tested.toml");
    fs::copy(root().join("pipelines/examples/facts/underlay.json"), folder.path().join("facts.json")).unwrap();
    let test = "schema = 1\nextends = \"default\"\n\n[[test]]\nname = \"t\"\nfacts = \"facts.json\"\n";
    let file = path.to_str().unwrap();
    let run = |expectation: &str, more: &[&str]| {
        fs::write(&path, format!("{test}{expectation}\n")).unwrap();
        ask(&[&["pipeline", "test", file], more].concat()).unwrap()
    };
    let (code, said, _) = run("contains = \"add pod route 192.0.2.0/24\"", &[]);
    assert_eq!((code, said.lines().count()), (1, 2), "{said}");
    assert!(said.contains("no line of the plan contains \"add pod route 192.0.2.0/24\""), "{said}");
    assert!(run("lacks = \"veth\"", &[]).1.contains("a line of the plan contains \"veth\""));
    assert!(run("refuses = \"never\"", &[]).1.contains("and got a plan"));
    fs::write(folder.path().join("plan.txt"), "veth: nothing\n").unwrap();
    let (code, said, _) = run("plan = \"plan.txt\"", &[]);
    assert!(code == 1 && said.contains("- veth: nothing") && said.contains("+ veth: create veth pair"), "{said}");
    assert_eq!(run("plan = \"plan.txt\"", &["--bless"]).0, 0);
    assert_eq!(run("plan = \"plan.txt\"", &[]).0, 0);
}

#[test]
fn a_guests_digest_is_locked_and_a_changed_guest_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.toml");
    let stage = "[[stage]]\nname = \"veto\"\nuse = \"wasm:veto.wasm\"\nafter = \"mode\"\n";
    fs::write(&path, format!("schema = 1\nextends = \"default\"\n\n{stage}")).unwrap();
    fs::write(folder.path().join("veto.wasm"), "one").unwrap();
    let file = path.to_str().unwrap();
    assert_eq!(ask(&["pipeline", "validate", file]).unwrap().0, 78, "no digest yet");
    assert_eq!(ask(&["pipeline", "lock", "--check", file]).unwrap().0, 1);
    assert_eq!(ask(&["pipeline", "lock", file]).unwrap().0, 0);
    assert_eq!(ask(&["pipeline", "validate", file]).unwrap().0, 0);
    assert_eq!(ask(&["pipeline", "lock", "--check", file]).unwrap().0, 0);
    fs::write(folder.path().join("veto.wasm"), "two").unwrap();
    assert_eq!(ask(&["pipeline", "lock", "--check", file]).unwrap().0, 1);
}

/// Pages and messages name commands that exist, with options that they have.
#[test]
fn every_command_that_is_named_somewhere_exists() {
    let mut texts = Vec::new();
    for folder in ["docs", "host/core/src/doctor", "host/core/src/pipeline"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|it| it == "md" || it == "rs") {
                texts.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut seen = 0;
    for (path, text) in texts {
        for rest in text.split("coordinatorctl ").skip(1) {
            let line = rest.split(['\n', '`', '"', ';']).next().unwrap();
            let is_word = |word: &&str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase());
            let words: Vec<&str> = line.split(' ').take_while(is_word).take(2).collect();
            let Some(first) = words.first() else { continue };
            if !["pipeline", "plan", "check", "explain", "path", "report", "doctor", "gc", "show"].contains(first) {
                continue;
            }
            let command = if *first == "pipeline" { words.clone() } else { vec![*first] };
            let (code, help, _) = ask(&[command.as_slice(), &["--help"]].concat()).unwrap();
            assert_eq!(code, 0, "{path}: coordinatorctl {line}");
            for option in line.split(' ').filter(|word| word.starts_with("--")) {
                assert!(help.contains(option.trim_end_matches(['.', ',', ')'])), "{path}: coordinatorctl {line}");
            }
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen}");
}
