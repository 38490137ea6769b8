//! Guests for the tests: crates of this workspace, built as a vendor builds his, and modules written by hand.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result, ensure};
use coordinator_core::guest::{Artefacts, DIRECTORY, Digest, compile, encode};
use wit_component::StringEncoding;
use wit_parser::Resolve;

/// The workspace's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The component that a crate of this workspace is, with these features.
///
/// # Errors
/// It cannot be built.
pub fn component(package: &str, features: &[&str]) -> Result<Vec<u8>> {
    // The module's file has the same name whatever the features are.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = root().join("target/guests");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).args(["build", "--quiet", "--offline", "--package", package, "--profile", "guest"]);
    cargo.args(["--target", "wasm32-unknown-unknown", "--features", &features.join(",")]);
    // Flags for the tests' own instrumentation are not for guests.
    cargo.env_remove("RUSTFLAGS").env("CARGO_TARGET_DIR", &folder);
    let output = cargo.output().context("cannot start cargo")?;
    ensure!(output.status.success(), "{package}: {}", String::from_utf8_lossy(&output.stderr));
    let module = folder.join("wasm32-unknown-unknown/guest").join(format!("{}.wasm", package.replace('-', "_")));
    let module = fs::read(&module).with_context(|| format!("cannot read {}", module.display()))?;
    Ok(encode(&module)?)
}

/// Compiles a component for this node, as `coordinatorctl stage compile` does; the digest for a pipeline.
///
/// # Errors
/// It is no stage, or the artefact cannot be written.
pub fn install(component: &[u8]) -> Result<Digest> {
    let compiled = compile(component)?;
    fs::create_dir_all(Path::new(DIRECTORY).join(".."))?;
    Artefacts::make(Path::new(DIRECTORY))?.store(&compiled.artefact, &compiled.manifest)?;
    Ok(compiled.manifest.source)
}

/// Writes a named pipeline of this node.
///
/// # Errors
/// It cannot be written.
pub fn pipeline(name: &str, text: &str) -> Result<()> {
    let folder = Path::new(coordinator_core::pipeline::DIRECTORY);
    fs::create_dir_all(folder)?;
    Ok(fs::write(folder.join(format!("{name}.toml")), text)?)
}

/// The component that a core module in text is, of the world in `wit` (a folder).
///
/// # Errors
/// The text is no module, or does not fit the world.
pub fn handwritten(text: &str, wit: &Path) -> Result<Vec<u8>> {
    Ok(encode(&module(text, wit)?)?)
}

/// A core module in text, with the description of its world, as a compiler leaves it.
///
/// # Errors
/// The text is no module.
pub fn module(text: &str, wit: &Path) -> Result<Vec<u8>> {
    let mut module = wat::parse_str(text)?;
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(wit)?;
    let world = resolve.select_world(&[package], Some("stage"))?;
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)?;
    Ok(module)
}

/// The text of a module with everything that the world wants; what is given goes into it: more items, the body of
/// `decide`, and how many pages of memory it begins with.
pub fn skeleton(items: &str, decide: &str, pages: u64) -> String {
    format!(
        r#"(module
  (import "coordinator:stage/host@0.1.0" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") {pages})
  (global $next (mut i32) (i32.const 65536))
  (func $allocate (param $size i32) (result i32) (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (global.set $next (i32.add (local.get $at) (local.get $size)))
    (block $fits
      (br_if $fits (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
      (drop (memory.grow (i32.add (i32.div_u (local.get $size) (i32.const 65536)) (i32.const 1)))))
    (local.get $at))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (call $allocate (local.get 3)))
  (func (export "describe") (result i32) (i32.const 1024))
  (func (export "check") (param i32 i32) (result i32) (i32.const 1024))
  (func (export "decide") (param i32) (result i32)
    {decide})
  {items})"#
    )
}
