//! `coordinatorctl stage new`: a folder in which a stage can be written, built and tested at once.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{build, language::Language};
use crate::{exit::Exit, failure::Failure, terminal::Terminal};

/// A file of a template: its name and its text, in which `{{name}}` and `{{sdk}}` are replaced.
type File = (&'static str, &'static str);

macro_rules! template {
    ($($folder:literal / $($name:literal)|+),+ $(,)?) => {
        &[$($(($name, include_str!(concat!("../../templates/", $folder, "/", $name)))),+),+]
    };
}

const RUST: &[File] = template!("rust" / "Cargo.toml" | "src/lib.rs" | "tests/decision.rs", "all" / ".gitignore");
const C: &[File] = template!("c" / "stage.c" | "libc/libc.c" | "libc/stdlib.h" | "libc/string.h", "all" / ".gitignore");
const JAVASCRIPT: &[File] = template!("javascript" / "stage.js" | "package.json", "all" / ".gitignore");
const PYTHON: &[File] = template!("python" / "app.py" | "requirements.txt", "all" / ".gitignore");
/// What stands beside every stage: a pipeline that uses it, with tests.
const PIPELINE: &[File] = template!("all" / "pipeline.toml" | "facts/pod.json" | "facts/tenant.json");

/// The interface, for languages whose compilers read it.
const WIT: [File; 6] = [
    ("wit/about.wit", include_str!("../../../../wit/about.wit")),
    ("wit/changes.wit", include_str!("../../../../wit/changes.wit")),
    ("wit/facts.wit", include_str!("../../../../wit/facts.wit")),
    ("wit/host.wit", include_str!("../../../../wit/host.wit")),
    ("wit/stage.wit", include_str!("../../../../wit/stage.wit")),
    ("wit/types.wit", include_str!("../../../../wit/types.wit")),
];

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The folder to make; its name is the stage's
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The language
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    language: Language,
    /// For Rust: the folder of coordinator-sdk
    #[arg(long, value_name = "DIR", default_value = "sdk")]
    sdk: PathBuf,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let folder = &arguments.folder;
    if folder.exists() {
        return Err(Failure::Exists { path: folder.clone() });
    }
    let name = build::name(folder);
    if !is_name(&name) {
        return Err(Failure::StageName { name });
    }
    let sdk = match arguments.language {
        Language::Rust => sdk(&arguments.sdk)?,
        _ => String::new(),
    };
    let files = match arguments.language {
        Language::Rust => RUST,
        Language::C => C,
        Language::Javascript => JAVASCRIPT,
        Language::Python => PYTHON,
    };
    // What an interpreter needs before it comes to the stage.
    let limits = match arguments.language {
        Language::Rust | Language::C => r#"{ time = "20ms", memory = "16MiB" }"#,
        Language::Javascript => r#"{ time = "100ms", memory = "32MiB" }"#,
        Language::Python => r#"{ time = "500ms", memory = "128MiB" }"#,
    };
    let wit: &[File] = if arguments.language == Language::Rust { &[] } else { &WIT };
    for (path, text) in files.iter().chain(PIPELINE).chain(wit) {
        let text = text
            .replace("{{name}}", &name)
            .replace("{{module}}", &name.replace('-', "_"))
            .replace("{{sdk}}", &sdk)
            .replace("{{limits}}", limits);
        write(&folder.join(path), &text)?;
    }
    let first = match arguments.language {
        Language::Javascript => "  npm install\n",
        Language::Python => "  python3 -m venv .venv && .venv/bin/pip install -r requirements.txt\n",
        Language::Rust | Language::C => "",
    };
    terminal.answer(&format!("{} is a stage. Next, in it:\n{first}  coordinatorctl stage test\n", folder.display()))?;
    Ok(Exit::Success)
}

/// Lower-case words joined by dashes: good for a crate, for a file and for a pipeline.
fn is_name(name: &str) -> bool {
    let is_fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= 64 && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(is_fit)
}

/// The SDK's folder, from wherever the stage is built.
fn sdk(path: &Path) -> Result<String, Failure> {
    let whole = fs::canonicalize(path).map_err(|source| Failure::Read { path: path.to_owned(), source })?;
    let manifest = whole.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).map_err(|source| Failure::Read { path: manifest.clone(), source })?;
    match text.contains("name = \"coordinator-sdk\"") {
        true => Ok(whole.display().to_string()),
        false => Err(Failure::NoSdk { path: whole }),
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |source| Failure::Write { path: path.to_owned(), source };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    fs::write(path, text).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_good_for_a_crate_and_a_file() {
        assert!(is_name("rail-policy") && is_name("a1"));
        for bad in ["", "Rail", "1rail", "rail policy", "../rail", "räil", &"a".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    /// The templates' facts are a scenario of the SDK's, so that they have every field that facts have.
    #[test]
    fn the_templates_facts_are_whole() {
        use coordinator_sdk::testing::Scenario;
        for (file, namespace) in [("pod", "shop"), ("tenant", "tenant-a")] {
            let scenario =
                Scenario::underlay("eth0", &["10.6.2.20/16", "fd00:10:6::2:14/64"]).of_pod(namespace, "web-0");
            let facts = scenario.with_gateway("eth0", "10.6.0.1").with_gateway("eth0", "fd00:10:6::1").facts();
            let text = format!("{:#}\n", serde_json::to_value(&facts).unwrap());
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("templates/all/facts/{file}.json"));
            if std::env::var_os("BLESS").is_some() {
                fs::write(&path, &text).unwrap();
            }
            let known = fs::read_to_string(&path).unwrap();
            assert_eq!(known, text, "{}: run the test with BLESS=1", path.display());
        }
    }
}
