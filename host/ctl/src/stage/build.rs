//! `coordinatorctl stage build`: a folder becomes one file that can be shipped.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use coordinator_core::guest::{Manifest, compile, encode};

use super::{
    given::stage_failure,
    language::{Language, Output},
};
use crate::{exit::Exit, failure::Failure, terminal::Terminal};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The stage's folder, or a core module that carries the description of its world
    #[arg(value_name = "DIR", default_value = ".")]
    source: PathBuf,
    /// Where the component is written; without it, into the folder, under the folder's name
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let path = match (&arguments.output, arguments.source.is_file()) {
        (Some(output), true) => of_module(&arguments.source, output)?,
        (None, true) => of_module(&arguments.source, &arguments.source.with_extension("component.wasm"))?,
        (Some(output), false) => into(&arguments.source, output)?,
        (None, false) => build(&arguments.source, terminal)?,
    };
    let size = fs::metadata(&path).map(|found| found.len()).unwrap_or_default();
    terminal.answer(&format!("{} ({size} bytes)\n", path.display()))?;
    Ok(Exit::Success)
}

fn of_module(source: &Path, output: &Path) -> Result<PathBuf, Failure> {
    write(output, &component(source, Output::Module(read(source)?))?.0)
}

/// Builds a folder into a file under the folder's name, in it.
pub(crate) fn build(folder: &Path, _terminal: &Terminal) -> Result<PathBuf, Failure> {
    into(folder, &folder.join(format!("{}.wasm", name(folder))))
}

fn into(folder: &Path, output: &Path) -> Result<PathBuf, Failure> {
    let language = Language::of(folder).ok_or_else(|| Failure::NoStage { folder: folder.to_owned() })?;
    let compile = |schema: Option<&str>| component(folder, language.compile(folder, &name(folder), schema)?);
    let (mut built, manifest) = compile(None)?;
    if language.wants_schema() {
        built = compile(Some(&manifest.schema))?.0;
    }
    write(output, &built)
}

/// Makes a component of what a compiler gave, and sees that it is a stage.
fn component(source: &Path, compiled: Output) -> Result<(Vec<u8>, Manifest), Failure> {
    let failed = |error| stage_failure(source, error);
    let component = match compiled {
        Output::Module(module) => encode(&module).map_err(failed)?,
        Output::Component(component) => component,
    };
    let manifest = compile(&component).map_err(failed)?.manifest;
    Ok((component, manifest))
}

fn write(output: &Path, component: &[u8]) -> Result<PathBuf, Failure> {
    fs::write(output, component).map_err(|source| Failure::Write { path: output.to_owned(), source })?;
    Ok(output.to_owned())
}

/// The name of a folder, however it is written.
pub(crate) fn name(folder: &Path) -> String {
    let whole = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    whole.file_name().map_or_else(|| "stage".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|source| Failure::Read { path: path.to_owned(), source })
}
