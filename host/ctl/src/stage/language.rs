//! The languages of stages: how a folder tells which one it is, and how its component is made.
//!
//! Rust needs cargo; C needs clang and lld. The compilers of JavaScript and Python are packages of their own worlds,
//! and are told to leave WASI out: a stage has no files, clocks or random numbers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::failure::Failure;

/// The target of guests in Rust: plain, without WASI.
const TARGET: &str = "wasm32-unknown-unknown";

/// The environment variable from which the SDK takes the schema of a stage's options, when it is known.
const SCHEMA: &str = "COORDINATOR_STAGE_SCHEMA";

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Language {
    /// Rust, with the SDK
    Rust,
    /// C, with generated bindings
    C,
    /// JavaScript, by jco with QuickJS (npm)
    Javascript,
    /// Python, by componentize-py (PyPI)
    Python,
}

/// What came out of a compiler.
#[derive(Debug)]
pub(crate) enum Output {
    /// A core module that carries the description of its world.
    Module(Vec<u8>),
    /// A component.
    Component(Vec<u8>),
}

impl Language {
    /// The file by which a folder tells its language.
    pub(crate) fn mark(self) -> &'static str {
        match self {
            Self::Rust => "Cargo.toml",
            Self::C => "stage.c",
            Self::Javascript => "stage.js",
            Self::Python => "app.py",
        }
    }

    /// The language of a folder.
    pub(crate) fn of(folder: &Path) -> Option<Self> {
        let all = [Self::Rust, Self::C, Self::Javascript, Self::Python];
        all.into_iter().find(|language| folder.join(language.mark()).is_file())
    }

    /// Whether a component gets smaller when its compiler is told the schema of the stage's options: by a quarter in Rust,
    /// whose SDK has code that makes it. Every byte of an artefact is verified at each use.
    pub(crate) fn wants_schema(self) -> bool {
        self == Self::Rust
    }

    /// Compiles a folder. `name` is the stage's, `schema` what it was seen to say of its options.
    pub(crate) fn compile(self, folder: &Path, name: &str, schema: Option<&str>) -> Result<Output, Failure> {
        match self {
            Self::Rust => rust(folder, schema).map(Output::Module),
            Self::C => c(folder, name).map(Output::Module),
            Self::Javascript => javascript(folder).map(Output::Component),
            Self::Python => python(folder).map(Output::Component),
        }
    }
}

fn rust(folder: &Path, schema: Option<&str>) -> Result<Vec<u8>, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(folder).args(["build", "--release", "--lib", "--target", TARGET]);
    command.args(["--message-format", "json-render-diagnostics"]);
    // What every guest wants, whatever its manifest says: nobody unwinds, and functions are few. Each is an entry that the
    // engine reads and two checks at its begin: with `s` there are a quarter more, and a fourteenth more machine code.
    let profile = [("PANIC", "abort"), ("LTO", "fat"), ("CODEGEN_UNITS", "1"), ("OPT_LEVEL", "2"), ("STRIP", "true")];
    for (key, value) in profile {
        command.env(format!("CARGO_PROFILE_RELEASE_{key}"), value);
    }
    match schema {
        Some(schema) => command.env(SCHEMA, schema),
        None => command.env_remove(SCHEMA),
    };
    let said = output(command, &format!("run: rustup target add {TARGET}"))?;
    let files = String::from_utf8_lossy(&said).lines().filter_map(module).next_back();
    let file = files.ok_or_else(|| Failure::NoModule { folder: folder.to_owned() })?;
    read(&file)
}

/// The module that a line of cargo's report tells of.
fn module(line: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    let is_artifact = message.get("reason")?.as_str()? == "compiler-artifact";
    let files = message.get("filenames")?.as_array()?.iter().filter_map(Value::as_str);
    let mut modules = files.filter(|file| file.ends_with(".wasm"));
    if is_artifact { modules.next().map(PathBuf::from) } else { None }
}

fn c(folder: &Path, name: &str) -> Result<Vec<u8>, Failure> {
    let build = folder.join("build");
    super::bindings::write(&folder.join("wit"), &build)?;
    let mut command = Command::new("clang");
    command.current_dir(folder).args(["--target=wasm32", "-Os", "-flto", "-nostdlib", "-ffreestanding", "-Wall"]);
    command.args(["-fvisibility=hidden", "-Ilibc", "-Ibuild", "-mexec-model=reactor", "-Wl,--no-entry"]);
    command.args(["-Wl,--strip-all", "stage.c", "libc/libc.c", "build/bindings.c"]);
    command.arg("build/bindings_component_type.o").arg("-o").arg(format!("build/{name}.core.wasm"));
    output(command, "install clang and lld (Debian: apt-get install clang lld)")?;
    read(&build.join(format!("{name}.core.wasm")))
}

fn javascript(folder: &Path) -> Result<Vec<u8>, Failure> {
    let build = folder.join("build");
    make(&build)?;
    let mut command = Command::new("npx");
    command.current_dir(folder).args(["--no-install", "jco", "componentize", "stage.js", "--wit", "./wit"]);
    // QuickJS: an eighth of the size that the other backend makes.
    command.args(["--world-name", "stage", "--backend", "qjs", "--backend-qjs-disable-async"]);
    command.args(["--backend-qjs-stub-wasi", "--out", "build/component.wasm"]);
    output(command, "run npm install in the stage's folder")?;
    read(&build.join("component.wasm"))
}

fn python(folder: &Path) -> Result<Vec<u8>, Failure> {
    let build = folder.join("build");
    make(&build)?;
    let local = folder.join(".venv/bin/componentize-py");
    let program = if local.is_file() { fs::canonicalize(&local).unwrap_or(local) } else { "componentize-py".into() };
    let mut command = Command::new(program);
    command.current_dir(folder).args(["--wit-path", "wit", "--world", "stage", "componentize", "--stub-wasi", "app"]);
    command.args(["--output", "build/component.wasm"]);
    output(command, "run: python3 -m venv .venv && .venv/bin/pip install componentize-py")?;
    read(&build.join("component.wasm"))
}

/// Runs a compiler; what it says goes to the caller's standard error.
fn output(mut command: Command, advice: &str) -> Result<Vec<u8>, Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |reason: String| Failure::Compiler { program: program.clone(), reason, advice: advice.to_owned() };
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() { Ok(output.stdout) } else { Err(failed(output.status.to_string())) }
}

fn make(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|source| Failure::Write { path: folder.to_owned(), source })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|source| Failure::Read { path: path.to_owned(), source })
}
