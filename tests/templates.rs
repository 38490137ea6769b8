//! The page "Write a stage in ten minutes", followed for Rust and for C: a new stage builds and passes its own tests.

use std::{
    path::Path,
    process::{Command, Output},
};

use coordinator_guests::root;
use coordinator_lab::tool;

fn run(folder: &Path, program: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    // Guests of all tests share what they depend on; there may be no network.
    command.current_dir(folder).args(arguments).env("CARGO_TARGET_DIR", root().join("target/guests"));
    command.env("CARGO_NET_OFFLINE", "true").output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Makes a stage in a language, builds it, and runs everything that the page runs.
fn follow(language: &str) {
    let folder = tempfile::tempdir().unwrap();
    let ctl = tool().unwrap();
    let sdk = root().join("sdk");
    let said =
        run(folder.path(), &ctl, &["stage", "new", "my-stage", "--language", language, "--sdk", sdk.to_str().unwrap()]);
    assert!(said.status.success(), "{}", text(&said));
    let stage = folder.path().join("my-stage");

    let tested = run(&stage, &ctl, &["stage", "test"]);
    let lines = text(&tested);
    assert!(tested.status.success() && lines.matches("ok     ").count() == 2, "{lines}");

    let inspected = text(&run(&stage, &ctl, &["stage", "inspect", "my-stage.wasm"]));
    for expected in ["my-stage 0.1.0", "coordinator:stage@0.1.0", "pod.sysctl", "\"namespace\""] {
        assert!(inspected.contains(expected), "{expected}: {inspected}");
    }
    let with = r#"{"namespace": "tenant-a"}"#;
    let facts = ["--facts", "facts/pod.json", "--with", with];
    let ran = run(&stage, &ctl, &[&["stage", "run", "my-stage.wasm"], facts.as_slice()].concat());
    assert!(ran.status.success() && text(&ran).contains("net/ipv4/conf/eth0/arp_ignore"), "{}", text(&ran));
    let benched = run(&stage, &ctl, &[&["stage", "bench", "my-stage.wasm", "--runs", "3"], facts.as_slice()].concat());
    assert!(benched.status.success() && text(&benched).contains("fuel"), "{}", text(&benched));

    let refused = run(&stage, &ctl, &["stage", "run", "my-stage.wasm", "--facts", "facts/tenant.json", "--with", with]);
    assert!(
        !refused.status.success() && text(&refused).contains("refuses: Pods of namespace tenant-a"),
        "{}",
        text(&refused)
    );
    let wrong = run(&stage, &ctl, &["stage", "run", "my-stage.wasm", "--facts", "facts/pod.json", "--with", "{}"]);
    assert!(!wrong.status.success() && text(&wrong).contains("namespace"), "{}", text(&wrong));

    let stages = folder.path().join("stages");
    let compiled = run(&stage, &ctl, &["stage", "compile", "my-stage.wasm", "--into", stages.to_str().unwrap()]);
    assert!(compiled.status.success() && text(&compiled).contains("sha256 = \""), "{}", text(&compiled));
    assert_eq!(std::fs::read_dir(&stages).unwrap().count(), 2);
    let again = run(folder.path(), &ctl, &["stage", "new", "my-stage", "--language", language]);
    assert!(!again.status.success() && text(&again).contains("exists already"), "{}", text(&again));
}

#[test]
fn a_new_stage_in_rust_builds_and_passes_its_tests() {
    follow("rust");
}

#[test]
fn a_new_stage_in_c_builds_and_passes_its_tests() {
    follow("c");
}

/// What the page says of a node's pipeline is a pipeline.
#[test]
fn the_pages_pipeline_is_one() {
    let page = std::fs::read_to_string(root().join("docs/writing-a-stage.md")).unwrap();
    let text = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("site.toml"), text.replace('…', &"0a".repeat(32))).unwrap();
    let said = run(folder.path(), &tool().unwrap(), &["pipeline", "validate", "site.toml"]);
    assert!(said.status.success() && text.contains("my-stage"), "{}", self::text(&said));
}
