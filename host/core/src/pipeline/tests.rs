use super::*;

#[test]
fn the_built_in_pipeline_holds_every_stage_in_order() {
    let pipeline = Pipeline::builtin().unwrap();
    let names: Vec<_> = pipeline.steps.iter().map(|step| step.name.as_str()).collect();
    let (deciding, asking) = names.split_at(names.len() - 2);
    assert_eq!(deciding, decide::NAMES);
    assert_eq!(asking, ["probe", "findings"]);
    assert_eq!(pipeline.announce.as_deref(), Some("announce"));
    assert!(pipeline.settings.is_empty());
}

/// Each bad pipeline beside this file has its problems in a `.err` file of the same name.
#[test]
fn bad_pipelines_get_all_their_problems_with_line_and_column() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/pipeline/bad");
    let mut seen = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let Err(PipelineError::Wrong(problems)) = Pipeline::parse(name, &text) else { panic!("{name} is accepted") };
        let found: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
        let expected = std::fs::read_to_string(path.with_extension("err")).unwrap_or_default();
        assert_eq!(found, expected, "{name}\n{found}");
        seen += 1;
    }
    assert_eq!(seen, 5);
}

#[test]
fn settings_arrive_and_names_are_looked_up() {
    let directory = tempfile::tempdir().unwrap();
    let text =
        BUILTIN_TEXT.replace("schema = 1", "schema = 1\n[settings]\nvethMTU = 1400\nserviceCIDR = [\"10.96.0.0/16\"]");
    std::fs::write(directory.path().join("site.toml"), text).unwrap();
    let pipeline = Pipeline::named("site", directory.path()).unwrap();
    assert_eq!(Value::from(pipeline.settings), serde_json::json!({"vethMTU": 1400, "serviceCIDR": ["10.96.0.0/16"]}));
    let missing = Pipeline::named("other", directory.path()).unwrap_err().to_string();
    assert!(missing.contains("other.toml does not exist"), "{missing}");
}
