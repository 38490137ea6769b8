//! `coordinatorctl pipeline validate`: every mistake of a file, with line and column.

use std::{fs, path::PathBuf};

use clap::Args;
use coordinator_core::pipeline::{Draft, Library, Severity, SourceFile};

use crate::{exit::Exit, failure::Failure, terminal::Terminal};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The pipeline files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut exit = Exit::Success;
    for path in &arguments.files {
        let text = fs::read_to_string(path).map_err(|source| Failure::Read { path: path.clone(), source })?;
        let file = SourceFile { path: path.display().to_string(), text: text.into() };
        let (_, problems) = Draft::read(file, Library::Caller);
        if problems.iter().any(|problem| problem.severity == Severity::Error) {
            exit = Exit::Configuration;
        }
        for problem in problems {
            terminal.answer(&format!("{problem}\n"))?;
        }
    }
    Ok(exit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::Color;

    #[test]
    fn a_wrong_file_has_its_own_exit_code() {
        let folder = tempfile::tempdir().unwrap();
        let good = concat!(env!("CARGO_MANIFEST_DIR"), "/../../pipelines/default.toml");
        let bad = folder.path().join("bad.toml");
        fs::write(&bad, "schema = 2\n").unwrap();
        let validate = |files: Vec<PathBuf>| run(&Arguments { files }, &Terminal::new(Color::Never));
        assert_eq!(validate(vec![good.into()]).unwrap(), Exit::Success);
        assert_eq!(validate(vec![bad, good.into()]).unwrap(), Exit::Configuration);
        let missing = validate(vec![folder.path().join("missing.toml")]).unwrap_err();
        assert_eq!(missing.exit(), Exit::NoInput);
    }
}
