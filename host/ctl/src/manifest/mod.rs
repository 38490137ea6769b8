//! `coordinatorctl manifest`: the cluster's objects in files, as they are before they are applied.
//!
//! SpiderCoordinator, SpiderMultusConfig, and our plugin's part of NetworkAttachmentDefinitions: the agent's own code looks
//! at them, so what is right here is right in the cluster.

mod render;
mod validate;

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use clap::Subcommand;
use coordinator_objects::manifest::Manifest;

use crate::{exit::Exit, failure::Failure, terminal::Terminal};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Find every mistake of SpiderCoordinators, SpiderMultusConfigs and NetworkAttachmentDefinitions in files
    Validate(validate::Arguments),
    /// Print the NetworkAttachmentDefinitions that the agent would make of SpiderMultusConfigs in files
    Render(render::Arguments),
}

impl Command {
    pub(crate) fn run(&self, terminal: &Terminal) -> Result<Exit, Failure> {
        match self {
            Self::Validate(arguments) => validate::run(arguments, terminal),
            Self::Render(arguments) => render::run(arguments, terminal),
        }
    }
}

/// Files that were read, and what was found in them.
struct Files {
    /// Each file's text, by the name under which problems speak of it.
    texts: Vec<(String, String)>,
    manifest: Manifest,
}

impl Files {
    fn read(paths: &[PathBuf]) -> Result<Self, Failure> {
        let mut files = Self { texts: Vec::new(), manifest: Manifest::default() };
        for path in paths {
            let name = path.display().to_string();
            let text = read(path).map_err(|source| Failure::Read { path: path.clone(), source })?;
            files.manifest.read(&name, &text);
            files.texts.push((name, text));
        }
        Ok(files)
    }

    fn text(&self, name: &str) -> &str {
        self.texts.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str()).unwrap_or_default()
    }
}

fn read(path: &Path) -> io::Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    fs::read_to_string(path)
}
