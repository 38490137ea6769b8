//! `coordinatorctl manifest` as its users call it: before something is applied, without a cluster.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use coordinator_lab::tool;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs the tool in the repository's root with something on its standard input.
fn ask(arguments: &[&str], input: &str) -> Result<(i32, String, String)> {
    let mut command = Command::new(tool()?);
    command.arg("manifest").args(arguments).current_dir(root());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    child.stdin.take().context("a standard input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let code = output.status.code().context("an exit code")?;
    Ok((code, String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?))
}

const WRONG: &str = "docs/examples/network.yaml";

#[test]
fn the_command_in_the_documentation_says_what_is_written_there() {
    let page = fs::read_to_string(root().join("docs/agent.md")).unwrap();
    let block = page.split("```console\n").nth(1).unwrap().split("```").next().unwrap();
    let (command, expected) = block.split_once('\n').unwrap();
    let words: Vec<&str> = command.strip_prefix("$ coordinatorctl manifest ").unwrap().split(' ').collect();
    let (code, shown, said) = ask(&words, "").unwrap();
    assert_eq!((code, shown.as_str(), said.as_str()), (78, expected, "1 object: 3 errors, 0 warnings\n"));
}

#[test]
fn mistakes_are_shown_to_programs_and_scanners_and_files_come_from_a_pipe_too() {
    let text = fs::read_to_string(root().join(WRONG)).unwrap();
    let (code, json, _) = ask(&["validate", "--format", "json", "-"], &text).unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    let lines: Vec<u64> = json.as_array().unwrap().iter().filter_map(|problem| problem["line"].as_u64()).collect();
    assert_eq!((code, lines), (78, vec![10, 12, 13]));
    let (code, sarif, _) = ask(&["validate", "--format", "sarif", WRONG], "").unwrap();
    let sarif: Value = serde_json::from_str(&sarif).unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    assert_eq!((code, results.len(), results[0]["ruleId"].as_str()), (78, 3, Some("manifest")));
    assert_eq!(sarif["runs"][0]["tool"]["driver"]["rules"][0]["id"], "manifest");
    assert_eq!(ask(&["validate", "/nonexistent.yaml"], "").unwrap().0, 66);
}

#[test]
fn what_is_right_is_rendered_beside_what_is_not() {
    let right = "tests/drop_in/networks.yaml";
    let (code, yaml, said) = ask(&["render", right, WRONG], "").unwrap();
    assert_eq!((code, yaml.matches("kind: NetworkAttachmentDefinition\n").count()), (78, 11));
    let told: Vec<&str> = said.lines().collect();
    assert_eq!(told.len(), 3, "{said}");
    assert!(told[0].starts_with("docs/examples/network.yaml:10:5: SpiderMultusConfig prod/storage: "), "{said}");
    // What is rendered is itself right, in both forms.
    let (code, json, _) = ask(&["render", "--json", right], "").unwrap();
    assert_eq!(code, 0);
    for text in [&yaml, &json] {
        let (code, shown, said) = ask(&["validate", "--deny-warnings", "-"], text).unwrap();
        assert_eq!((code, said.as_str()), (0, "11 objects: 0 errors, 0 warnings\n"), "{shown}");
    }
}

#[test]
fn the_charts_own_objects_and_definitions_of_others_are_right() {
    let (code, shown, said) = ask(&["validate", "--deny-warnings", "deploy/manifests/coordinator.yaml"], "").unwrap();
    assert_eq!((code, said.as_str()), (0, "1 object: 0 errors, 0 warnings\n"), "{shown}");
    assert_eq!(ask(&["validate", "--deny-warnings", "-"], "kind: ConfigMap\n").unwrap().0, 0);
    let warned = "kind: SpiderCoordinator\napiVersion: spiderpool.spidernet.io/v2beta1\nmetadata: {name: other}\n";
    assert_eq!(ask(&["validate", "-"], warned).unwrap().0, 0);
    assert_eq!(ask(&["validate", "--deny-warnings", "-"], warned).unwrap().0, 78);
}
