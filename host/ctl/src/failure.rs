//! Why a subcommand came to no answer, and the exit code that says so.

use std::{io, path::PathBuf};

use coordinator_core::pipeline::PipelineError;

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
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => Exit::NoInput,
            Self::Read { .. } | Self::Output(_) => Exit::Io,
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
