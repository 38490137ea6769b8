//! Making guests: a core module becomes a component, a component an artefact. The tool's part of the room; the
//! plugin is built without it.

use std::path::Path;

use object::build::elf;
use wasmtime::component::{Component, types::ComponentItem};
use wit_component::ComponentEncoder;

use super::{
    artefact::{Digest, Manifest},
    engine::{BUILD, Runtime},
    exports::{Exports, Fitting},
    failure::GuestError,
    image,
    limits::Limits,
    stage::Call,
};

/// The package whose interfaces a guest may name, and the one version of it that this host knows.
const PACKAGE: &str = "coordinator:stage/";
const VERSION: &str = "@0.1.0";

/// A component that was compiled and asked what it is.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The file for the node: machine code for this engine, and what it is.
    pub artefact: Vec<u8>,
    /// What is known of it.
    pub manifest: Manifest,
    /// What the component names from outside, in its order.
    pub imports: Vec<String>,
    /// What it offers, in its order.
    pub exports: Vec<String>,
}

impl Compiled {
    /// The version of the interface that it was built for.
    pub fn interface(&self) -> String {
        let named = self.imports.iter().find_map(|name| name.split_once('@'));
        named
            .map_or_else(|| "coordinator:stage".to_owned(), |(_, version)| format!("{PACKAGE}{version}"))
            .replace("stage/", "stage@")
    }

    /// The world that it was built for, as registries of packages name worlds.
    pub fn world(&self) -> String {
        format!("{PACKAGE}stage{VERSION}")
    }
}

/// Makes a component of a core module that carries the description of its world, as compilers of guests leave it.
///
/// # Errors
/// The module does not fit its world, or wants more than the world has.
pub fn encode(module: &[u8]) -> Result<Vec<u8>, GuestError> {
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true);
    let encoded = encoder.module(module).and_then(ComponentEncoder::encode);
    encoded.map_err(|error| GuestError::Interface { reason: with_advice(&format!("{error:#}")) })
}

/// True for a component; false for a core module or anything else.
pub fn is_component(bytes: &[u8]) -> bool {
    // Magic number, version 13, layer 1 (component model, binary format).
    bytes.starts_with(b"\0asm\x0d\0\x01\0")
}

/// Compiles a component and asks it what it is, within the widest limits.
///
/// # Errors
/// It is no component of our world, it cannot be compiled, or it fails when it is asked.
pub fn compile(component: &[u8]) -> Result<Compiled, GuestError> {
    let (compiled, imports) = compiled(component)?;
    let runtime = Runtime::get()?;
    let exports =
        compiled.component().component_type().exports(&runtime.engine).map(|(name, _)| name.to_owned()).collect();
    let callable = Exports::of(runtime, &compiled)?;
    let mut call = Call::begin(&callable, "it", Limits::MOST)?;
    let said = call.describe()?;
    let code = compiled.component().serialize().map_err(no_code)?;
    let code = without_symbols(&code).map_err(no_code)?;
    let source = Digest::of(component);
    let artefact = image::content(source, &code);
    let manifest = Manifest {
        source,
        artefact: Digest::of(&artefact),
        bytes: u64::try_from(artefact.len()).unwrap_or(u64::MAX),
        build: BUILD.to_owned(),
        name: super::log::one_line(&said.name),
        version: super::log::one_line(&said.version),
        needs: said.needs.iter().map(|grant| super::log::one_line(grant)).collect(),
        schema: said.schema,
    };
    Ok(Compiled { artefact, manifest, imports, exports })
}

fn no_code(error: impl std::fmt::Display) -> GuestError {
    GuestError::Engine { reason: format!("no code came of it: {error:#}") }
}

/// The same object file without the names of its functions: a twelfth of it, for debuggers.
fn without_symbols(file: &[u8]) -> object::build::Result<Vec<u8>> {
    let mut builder = elf::Builder::read(file)?;
    for symbol in &mut builder.symbols {
        symbol.delete = true;
    }
    for section in &mut builder.sections {
        section.delete = matches!(section.data, elf::SectionData::Symbol | elf::SectionData::String);
    }
    let mut stripped = Vec::with_capacity(file.len());
    builder.write(&mut stripped)?;
    Ok(stripped)
}

/// The component in memory, and the names that it imports, all of which are ours.
pub(super) fn compiled(component: &[u8]) -> Result<(Fitting, Vec<String>), GuestError> {
    if !is_component(component) {
        let reason = "this is no component; a core module becomes one by: coordinatorctl stage build".to_owned();
        return Err(GuestError::Interface { reason });
    }
    let runtime = Runtime::get()?;
    let compiled = Component::new(&runtime.engine, component);
    let compiled = compiled.map_err(|error| GuestError::Interface { reason: with_advice(&format!("{error:#}")) })?;
    let kind = compiled.component_type();
    let imports: Vec<String> = kind.imports(&runtime.engine).map(|(name, _)| name.to_owned()).collect();
    if let Some(foreign) = imports.iter().find(|name| !is_ours(name)) {
        return Err(GuestError::Interface { reason: foreign_import(foreign) });
    }
    for name in ["describe", "check", "decide"] {
        let export = kind.exports(&runtime.engine).find(|(known, _)| *known == name);
        if !export.is_some_and(|(_, export)| matches!(export.ty, ComponentItem::ComponentFunc(_))) {
            return Err(GuestError::Interface { reason: format!("it does not export the function {name}") });
        }
    }
    Ok((Fitting::asked(runtime, compiled)?, imports))
}

/// The component in a file that must have this digest.
pub(super) fn compiled_file(path: &Path, digest: Digest) -> Result<Fitting, GuestError> {
    let shown = path.display();
    let wrong = |reason| GuestError::Interface { reason };
    let bytes = std::fs::read(path).map_err(|error| wrong(format!("cannot read {shown}: {error}")))?;
    let found = Digest::of(&bytes);
    if found != digest {
        return Err(wrong(format!("the SHA-256 of {shown} is {found}, and the pipeline says {digest}")));
    }
    Ok(compiled(&bytes)?.0)
}

fn is_ours(import: &str) -> bool {
    import.starts_with(PACKAGE) && import.ends_with(VERSION)
}

/// Says what is wrong with an import, and what to do.
fn foreign_import(name: &str) -> String {
    match name {
        name if name.starts_with(PACKAGE) => format!(
            "it imports {name}, and this host speaks {PACKAGE}…{VERSION}: build it anew with the SDK of this release"
        ),
        name if name.starts_with("wasi:") => with_advice(&format!("it imports {name}")),
        name => format!("it imports {name}, and a stage may import {PACKAGE}host{VERSION} and nothing else"),
    }
}

/// Adds what to do where a message speaks of WASI.
fn with_advice(message: &str) -> String {
    match message.contains("wasi") {
        true => format!(
            "{message}: a stage has no files, clocks or random numbers. In Rust, build for wasm32-unknown-unknown and not \
             for wasm32-wasip1 or -wasip2; elsewhere switch WASI off (componentize-js: disableFeatures; \
             componentize-py: --stub-wasi; C: no wasi-libc)"
        ),
        false => message.to_owned(),
    }
}
