//! Why a subcommand came to no answer, and the exit code that says so.

use std::{io, path::PathBuf};

use coordinator_core::{pipeline::PipelineError, replay::ReplayError};

use crate::exit::Exit;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A file that the caller named cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is no TOML.
    #[error("{path} is not TOML")]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: toml_edit::TomlError,
    },
    /// Recorded facts cannot be run.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The answer could not be written.
    #[error("cannot write the answer")]
    Output(#[source] io::Error),
    /// A pipeline that the caller named is wrong.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
}

impl Failure {
    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Read { source, .. } | Self::Replay(ReplayError::Read { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                Exit::NoInput
            }
            Self::Read { .. } | Self::Write { .. } | Self::Output(_) => Exit::Io,
            Self::Replay(ReplayError::Read { .. }) => Exit::Io,
            Self::Toml { .. } | Self::Replay(ReplayError::Facts { .. } | ReplayError::Setting(_)) => {
                Exit::Configuration
            }
            Self::Replay(ReplayError::Run(_)) => Exit::No,
            Self::Pipeline(PipelineError::File(_) | PipelineError::Directory { .. }) => Exit::Io,
            Self::Pipeline(PipelineError::Missing { .. }) => Exit::NoInput,
            Self::Pipeline(PipelineError::Wrong(_) | PipelineError::Guest { .. }) => Exit::Configuration,
        }
    }

    /// True when the reader of the answer went away, as `head` does.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}
