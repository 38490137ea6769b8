use super::*;
use crate::guest::Digest;

fn file(path: &str, text: &str) -> SourceFile {
    SourceFile { path: path.to_owned(), text: text.to_owned().into() }
}

fn draft(text: &str) -> Result<Draft, Vec<String>> {
    Draft::sound(file("site.toml", text), Library::Caller)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn names(draft: &Draft) -> Vec<&str> {
    draft.stages.iter().map(|stage| stage.name.value.as_str()).collect()
}

#[test]
fn the_built_in_pipeline_is_what_its_file_says() {
    let (_, problems) = Draft::read(builtin_file(), Library::Node);
    assert_eq!(problems, []);
    let (read, built) = (Pipeline::read(builtin_file(), Library::Node).unwrap(), Pipeline::builtin().unwrap());
    // Steps show their names and phases.
    assert_eq!(format!("{:?}", built.steps), format!("{:?}", read.steps));
    assert_eq!((&built.announce, &built.settings), (&read.announce, &read.settings));
    assert!(read.steps.iter().all(|step| step.when.is_always() && step.on_failure == OnFailure::Refuse));
    // Each name is that of the stage it uses, so a name tells what it does.
    let draft = Draft::sound(builtin_file(), Library::Node).unwrap();
    assert!(draft.stages.iter().all(|stage| stage.uses.value == format!("native:{}", stage.name.value)));
}

#[test]
fn settings_arrive_and_names_are_looked_up() {
    let directory = tempfile::tempdir().unwrap();
    let text =
        BUILTIN_TEXT.replace("schema = 1", "schema = 1\n[settings]\nvethMTU = 1400\nserviceCIDR = [\"10.96.0.0/16\"]");
    fs::write(directory.path().join("site.toml"), text).unwrap();
    let pipeline = Pipeline::named("site", directory.path()).unwrap();
    assert_eq!(Value::from(pipeline.settings), serde_json::json!({"vethMTU": 1400, "serviceCIDR": ["10.96.0.0/16"]}));
    let missing = Pipeline::named("other", directory.path()).unwrap_err().to_string();
    assert!(missing.contains("other.toml does not exist"), "{missing}");
}

#[test]
fn stages_stand_where_they_were_put() {
    let stage = |name: &str, placing: &str| format!("[[stage]]\nname = \"{name}\"\nuse = \"native:veth\"\n{placing}\n");
    let text = format!(
        "schema = 1\nextends = \"default\"\n{}{}{}{}{}[[stage]]\nremove = \"sysctls\"\n",
        stage("a", "before = \"mac-prefix\""),
        stage("b", "before = \"mac-prefix\""),
        stage("c", "after = \"mac-prefix\""),
        stage("d", "after = \"mac-prefix\""),
        stage("e", "replace = \"transmit-queue\""),
    );
    let draft = draft(&text).unwrap();
    assert_eq!(
        names(&draft)[..9],
        ["observe", "mode", "a", "b", "mac-prefix", "c", "d", "e", "veth"],
        "{:?}",
        names(&draft)
    );
    assert!(!names(&draft).contains(&"sysctls"));
}

#[test]
fn settings_of_the_extending_file_come_before_those_of_the_extended_one() {
    let folder = tempfile::tempdir().unwrap();
    let base = "schema = 1\nextends = \"default\"\n[settings]\nvethMTU = 1400\ntxQueueLen = 7\n";
    fs::write(folder.path().join("base.toml"), base).unwrap();
    let path = folder.path().join("site.toml").display().to_string();
    for extends in ["base", "./base.toml", "base.toml"] {
        let text = format!("schema = 1\nextends = {extends:?}\n[settings]\nvethMTU = 1300\n");
        let draft = Draft::sound(file(&path, &text), Library::Caller).unwrap();
        assert_eq!(Value::from(draft.settings()), serde_json::json!({"vethMTU": 1300, "txQueueLen": 7}));
        let origin = draft.sources.line(&draft.settings["txQueueLen"].place);
        assert!(origin.ends_with("base.toml:5"), "{origin}");
    }
}

#[test]
fn a_problem_of_the_extended_file_stands_where_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("base.toml"), "schema = 1\nextends = \"default\"\n[settings]\nvethMTU = 1\n").unwrap();
    let path = folder.path().join("site.toml").display().to_string();
    let text = "schema = 1\nextends = \"base\"\nextend = 1\n";
    let (_, problems) = Draft::read(file(&path, text), Library::Caller);
    let found: Vec<_> = problems.iter().map(|it| (it.path.rsplit('/').next().unwrap(), it.line, it.column)).collect();
    assert_eq!(found, [("site.toml", 3, 1), ("base.toml", 4, 11)], "{problems:?}");
}

#[test]
fn a_node_trusts_built_in_pipelines_and_neighbours_only() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, extends: &str| {
        fs::write(folder.path().join(name), format!("schema = 1\nextends = {extends:?}\n")).unwrap();
    };
    write("good.toml", "base");
    write("base.toml", "default");
    write("path.toml", "./base.toml");
    write("away.toml", "/tmp/base.toml");
    write("loop.toml", "pool");
    write("pool.toml", "loop");
    write("lost.toml", "nobody");
    let named = |name: &str| Pipeline::named(name, folder.path()).map(|_| ()).map_err(|error| error.to_string());
    assert_eq!(named("good"), Ok(()));
    for name in ["path", "away"] {
        assert!(named(name).unwrap_err().contains("is no name: on a node"), "{name}");
    }
    assert!(named("loop").unwrap_err().contains("extends itself"));
    assert!(named("lost").unwrap_err().contains("there is no pipeline \"nobody\""));

    let writable = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    fs::set_permissions(folder.path().join("base.toml"), writable).unwrap();
    assert!(named("good").unwrap_err().contains("may write it"));
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    assert!(named("pool").unwrap_err().contains("nobody else may write it"));
}

#[test]
fn a_guest_is_asked_for_with_all_that_was_said_about_it() {
    let text = format!(
        "schema = 1\nextends = \"default\"\n[[stage]]\nname = \"rail-policy\"\nuse = \"wasm:/opt/rail.wasm\"\n\
         sha256 = \"{}\"\nbefore = \"pod-routes\"\ngrant = [\"pod.route\", \"setting.podMACPrefix\"]\n\
         limits = {{ time = \"20ms\", memory = \"16MiB\" }}\non-failure = \"skip\"\n[stage.with]\nrails = 8\n",
        "ab".repeat(32)
    );
    let draft = draft(&text).unwrap();
    let entry = draft.stages.iter().find(|stage| stage.name.value == "rail-policy").unwrap();
    let spec = draft.guest(entry).unwrap();
    assert_eq!(spec.path, Path::new("/opt/rail.wasm"));
    assert_eq!(spec.grants, ["pod.route", "setting.podMACPrefix"]);
    assert_eq!((spec.limits.time.unwrap().as_millis(), spec.limits.memory_bytes), (20, Some(16 << 20)));
    assert_eq!((spec.on_failure, spec.with), (OnFailure::Skip, serde_json::json!({"rails": 8})));
    let pipeline = Pipeline::try_from(draft).unwrap();
    assert!(pipeline.all_guests().map(|(name, _)| name).eq(["rail-policy"]));
}

#[test]
fn a_lock_file_brings_the_digest_that_the_pipeline_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("site.toml");
    let text = "schema = 1\nextends = \"default\"\n[[stage]]\nname = \"veto\"\nuse = \"wasm:veto.wasm\"\n\
                after = \"mode\"\n";
    let read = || Draft::sound(file(&path.display().to_string(), text), Library::Caller);
    let problems = read().unwrap_err();
    assert!(problems[0].message.contains("sha256 is missing"), "{problems:?}");
    let digest: Digest = "0123456789abcdef".repeat(4).parse().unwrap();
    let lock = Lock([("wasm:veto.wasm".to_owned(), digest)].into());
    fs::write(lock_path(&path), lock.to_text()).unwrap();
    let draft = read().unwrap();
    assert_eq!(draft.guest(&draft.stages[2]).unwrap().sha256, digest);
    fs::write(lock_path(&path), "schema = 1\n[[guest]]\nuse = \"wasm:veto.wasm\"\nsha256 = \"12\"\n").unwrap();
    assert!(read().unwrap_err().iter().any(|problem| problem.path.ends_with("site.lock") && problem.line == 4));
}

/// Each bad pipeline in the folder beside this file has its problems in a `.err` file of the same name.
#[test]
fn bad_pipelines_get_all_their_problems_with_line_and_column() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/pipeline/bad"));
    let mut wrong = Vec::new();
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        seen += 1;
        let name = path.file_name().unwrap().to_str().unwrap();
        let shown = path.display().to_string();
        let text = fs::read_to_string(&path).unwrap();
        let (_, problems) = Draft::read(file(&shown, &text), Library::Caller);
        // What is said does not depend on where the repository lies.
        let prefix = format!("{}/", folder.display());
        let found: String = problems.iter().map(|problem| format!("{problem}\n").replace(&prefix, "")).collect();
        let expected = fs::read_to_string(path.with_extension("err")).unwrap();
        let is_refused = problems.iter().any(|problem| problem.severity == Severity::Error);
        if found != expected || !is_refused {
            wrong.push(format!("{name}\nexpected:\n{expected}found:\n{found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen >= 60, "{seen} pairs");
}
