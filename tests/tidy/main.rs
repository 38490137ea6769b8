//! The house's rules that a compiler does not see: which room may know which.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Rust file below a folder, with its text.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((path.clone(), fs::read_to_string(&path).unwrap()));
        }
    }
    found
}

/// The lines of a folder's files that say one of `words`, comments excepted, as `file:line: text`.
fn saying(folder: &Path, words: &[&str], except: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in sources(folder) {
        if except.iter().any(|part| path.to_string_lossy().contains(part)) {
            continue;
        }
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            if words.iter().any(|word| says(line, word)) {
                found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    found
}

/// True when the word begins in the line: `unix::` does not say `nix::`.
fn says(line: &str, word: &str) -> bool {
    let begins = |at: usize| !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
    line.match_indices(word).any(|(at, _)| begins(at))
}

/// Our crates that a manifest depends on, outside of its tests.
fn depends_on(manifest: &str) -> Vec<&str> {
    let product = manifest.split("[dev-dependencies]").next().unwrap_or_default();
    let dependencies = product.split("[dependencies]").nth(1).unwrap_or_default();
    let names = dependencies.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
    names.filter(|name| name.starts_with("coordinator")).collect()
}

#[test]
fn the_arrows_between_the_crates_point_downwards() {
    let allowed: [(&str, &[&str]); 8] = [
        ("sdk", &[]),
        ("stages", &["coordinator-sdk"]),
        ("host/core", &["coordinator-sdk", "coordinator-stages"]),
        ("host/memory", &[]),
        ("host/cni", &["coordinator-sdk", "coordinator-core", "coordinator-memory"]),
        ("objects", &["coordinator-sdk", "coordinator-core"]),
        ("host/ctl", &["coordinator-sdk", "coordinator-core", "coordinator-objects"]),
        ("agent", &["coordinator-sdk", "coordinator-core", "coordinator-objects"]),
    ];
    for (folder, allowed) in allowed {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let wrong: Vec<_> = depends_on(&manifest).into_iter().filter(|name| !allowed.contains(name)).collect();
        assert!(wrong.is_empty(), "{folder} must not depend on {wrong:?}");
    }
}

#[test]
fn only_the_kernel_room_speaks_to_the_kernel() {
    let words = ["rtnetlink::", "netlink_packet_", "netlink_sys::", "nix::", "socket2::"];
    for folder in ["sdk/src", "stages/src", "host/core/src", "host/cni/src", "host/ctl/src", "objects/src", "agent/src"]
    {
        let found = saying(&root().join(folder), &words, &["stages/src/kernel/"]);
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}

#[test]
fn unsafe_code_stands_in_five_places_only() {
    let allowing = |folder: &str| {
        let found = sources(&root().join(folder)).into_iter();
        let allows = |text: &str| {
            text.lines().any(|line| line.trim_start().starts_with('#') && line.contains("allow(unsafe_code"))
        };
        found.filter(|(_, text)| allows(text)).map(|(path, _)| path.display().to_string()).collect::<Vec<_>>()
    };
    let mut found: Vec<String> =
        ["sdk/src", "stages/src", "host", "objects/src", "agent/src"].into_iter().flat_map(allowing).collect();
    // What a component exports is unsafe by nature: it is generated, and only for wasm32.
    found.retain(|path| !path.ends_with("sdk/src/guest/mod.rs"));
    found.sort();
    let guests = ["clock", "exports", "image"].map(|name| format!("host/core/src/guest/{name}.rs"));
    let others = ["host/memory/src/copy.rs", "stages/src/kernel/packet/mod.rs"].map(str::to_owned);
    let places = guests.into_iter().chain(others).collect::<Vec<_>>();
    let is_there = found.iter().zip(&places).all(|(path, place)| path.ends_with(place));
    assert!(found.len() == places.len() && is_there, "{found:?}");
}

#[test]
fn a_deciding_stage_touches_nothing() {
    let words =
        ["std::fs", "std::process", "std::time", "std::env", "kernel::", "TcpStream", "UdpSocket", "UnixStream"];
    let found = saying(&root().join("stages/src/decide"), &words, &[]);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn wasmtime_is_known_to_the_guest_room_only() {
    for folder in ["sdk/src", "stages/src", "host/core/src", "host/cni/src", "host/ctl/src", "objects/src", "agent/src"]
    {
        let found = saying(&root().join(folder), &["wasmtime::"], &["/guest/"]);
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}

#[test]
fn kube_is_known_to_the_agent_only() {
    for folder in ["sdk", "stages", "host", "objects", "tests", "xtask"] {
        let found = saying(&root().join(folder), &["kube::", "k8s_openapi::"], &["tests/tidy/"]);
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}

/// No ADD waits for a registry: the plugin does not even have what speaks with one.
#[test]
fn registries_are_known_to_one_room_only() {
    for folder in ["sdk", "stages", "host", "agent/src", "xtask"] {
        let found = saying(&root().join(folder), &["oci_client::"], &["host/ctl/src/registry/"]);
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
    for folder in ["sdk", "stages", "host/core", "host/cni", "agent"] {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        assert!(!manifest.contains("oci-client"), "{folder}");
    }
}

/// What the agent decides is decided without asking anybody.
#[test]
fn the_agents_decisions_and_the_objects_touch_nothing() {
    let words =
        ["std::fs", "std::process", "std::env", "kube::", "tokio::net", "tokio::fs", "UnixStream", "SystemTime"];
    for room in ["agent/src/discovery", "objects/src"] {
        let found = saying(&root().join(room), &words, &[]);
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
    for file in ["election.rs", "conflict/decision.rs"] {
        let text = fs::read_to_string(root().join("agent/src").join(file)).unwrap();
        assert!(!words.iter().any(|word| says(&text, word)), "{file}");
    }
}

#[test]
fn every_file_says_what_it_is_and_stays_readable() {
    let mut wrong = Vec::new();
    for folder in [
        "sdk/src",
        "stages/src",
        "host",
        "objects/src",
        "agent/src",
        "xtask/src",
        "tests/lab/src",
        "tests/apiserver/src",
    ] {
        for (path, text) in sources(&root().join(folder)) {
            let is_test_module = path.file_name().is_some_and(|name| name == "tests.rs");
            if !text.starts_with("//!") && !is_test_module {
                wrong.push(format!("{} does not begin by saying what it is", path.display()));
            }
            let lines = text.lines().count();
            if lines > 440 {
                wrong.push(format!("{} has {lines} lines", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_rule_that_is_broken_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bad.rs"), "// nix:: in a comment\nuse nix::sched::setns;\nuse std::os::unix::fs;\n")
        .unwrap();
    let found = saying(folder.path(), &["nix::"], &[]);
    assert_eq!(found.len(), 1);
    assert!(found[0].ends_with("bad.rs:2: use nix::sched::setns;"), "{found:?}");
    let manifest =
        "[dependencies]\ncoordinator-core.workspace = true\nserde = \"1\"\n[dev-dependencies]\ncoordinator-lab = {}\n";
    assert_eq!(depends_on(manifest), ["coordinator-core"]);
}

#[test]
fn the_documentation_names_every_setting_and_every_error_code() {
    let settings = fs::read_to_string(root().join("docs/settings.md")).unwrap();
    for name in coordinator_sdk::Settings::NAMES {
        assert!(settings.contains(&format!("\n| `{name}` |")), "docs/settings.md lacks {name}");
    }
    let errors = fs::read_to_string(root().join("docs/errors.md")).unwrap();
    let operations = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let code = fs::read_to_string(root().join("host/cni/src/error.rs")).unwrap();
    let variants = code.split("enum Code {").nth(1).unwrap().split('}').next().unwrap();
    let numbers: Vec<&str> = variants
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(_, number)| number.trim_matches(','))
        .collect();
    assert!(numbers.len() > 8, "{numbers:?}");
    for number in numbers {
        assert!(errors.contains(&format!("\n| {number} |")), "docs/errors.md lacks code {number}");
        let is_named =
            |line: &str| line.split('|').nth(1).is_some_and(|it| it.split(',').any(|it| it.trim() == number));
        assert!(operations.lines().any(is_named), "docs/operations.md lacks code {number}");
    }
}

#[test]
fn the_documentation_names_every_reason_and_every_diagnosis() {
    let operations = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let quoted = |text: &str| -> Vec<String> {
        let words = text.split('"').skip(1).step_by(2);
        let is_code = |word: &&str| word.contains('-') && word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        words.filter(is_code).map(str::to_owned).collect()
    };
    let reasons = fs::read_to_string(root().join("host/core/src/path/mod.rs")).unwrap();
    let codes = reasons.split("fn code(").nth(1).unwrap().split("\n    }\n").next().unwrap();
    let mut names = quoted(codes);
    assert!(names.len() > 8, "{names:?}");
    for file in ["node.rs", "pod.rs"] {
        let text = fs::read_to_string(root().join("host/core/src/doctor").join(file)).unwrap();
        let product: String = text.split("#[cfg(test)]").next().unwrap().split_whitespace().collect();
        for before in ["of_node(\"", "code:\""] {
            names.extend(product.split(before).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(operations.contains(&format!("`{name}`")), "docs/operations.md lacks {name}");
    }
}
