//! Why a subcommand came to no answer, and the exit code that says so.

use std::{io, path::PathBuf};

use coordinator_core::{
    attachment::{AttachmentError, NamespaceError},
    chain::chain,
    effective::EffectiveError,
    guest::GuestError,
    pipeline::{PipelineError, Problem, Sources},
    preparation::PreparationError,
    record::StoreError,
    replay::ReplayError,
};

use coordinator_sdk::InterfaceName;
use serde_json::{Value, json};

use crate::{diagnostic, exit::Exit, registry::RegistryError};

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
    /// A file is no JSON.
    #[error("{path} is not JSON")]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A CNI configuration is none of ours.
    #[error("{path} is no configuration of the plugin \"coordinator\", and no list that has one")]
    NoSection {
        /// The file.
        path: PathBuf,
    },
    /// Nothing is known of what the caller named.
    #[error("no attachment is known of {whom:?}; {advice}")]
    NotFound {
        /// As it was named.
        whom: String,
        /// Who may be meant, or where those are shown that are known.
        advice: String,
    },
    /// The runtime knows it, and we do not.
    #[error("{whom} has no record: coordinator has not attached it; `coordinatorctl plan` shows what an ADD would do")]
    NotAttached {
        /// The attachment.
        whom: String,
    },
    /// A record cannot be trusted.
    #[error(
        "the record of {whom} cannot be used: {reason}; a DEL removes it: let the runtime make the Pod anew, then \
         `coordinatorctl gc`"
    )]
    BrokenRecord {
        /// The attachment.
        whom: String,
        /// Why.
        reason: String,
    },
    /// The Pod is known, and it has no such attachment.
    #[error("{whom} has no attachment {interface}; it has {has}")]
    NoInterface {
        /// The Pod.
        whom: String,
        /// The interface that was asked for.
        interface: InterfaceName,
        /// Those that it has.
        has: String,
    },
    /// The attachment has nothing of the kind.
    #[error("{whom} has no setting and no object called {what:?}; {advice}")]
    NoObject {
        /// As it was named.
        what: String,
        /// The attachment.
        whom: String,
        /// What to try.
        advice: String,
    },
    /// There is no conversation of the kind.
    #[error("{whom} has no path from or to such an address; its addresses are {has}")]
    NoPath {
        /// The Pod.
        whom: String,
        /// Its addresses.
        has: String,
    },
    /// No test has such a name.
    #[error("no test's name contains {only:?}")]
    NoTest {
        /// What was asked for.
        only: String,
    },
    /// The caller must choose.
    #[error("{whom:?} has several attachments: {names}; choose one with --interface")]
    Ambiguous {
        /// As it was named.
        whom: String,
        /// Their interfaces.
        names: String,
    },
    /// A name that several Pods bear.
    #[error("{whom:?} names several Pods: {names}; name one by NAMESPACE/NAME or by its container's id")]
    SeveralPods {
        /// As it was named.
        whom: String,
        /// Their containers and names.
        names: String,
    },
    /// Nobody knows where the Pod's namespace is.
    #[error("the network namespace of {whom} is not recorded; name it by its path, with --container and --interface")]
    NoNamespace {
        /// The attachment.
        whom: String,
    },
    /// A namespace cannot be used.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// Records cannot be used.
    #[error(transparent)]
    Records(#[from] StoreError),
    /// Settings or pipeline of a call are wrong.
    #[error(transparent)]
    Effective(#[from] EffectiveError),
    /// An attachment cannot be looked at.
    #[error(transparent)]
    Attachment(#[from] AttachmentError),
    /// The node cannot be prepared.
    #[error(transparent)]
    Preparation(#[from] PreparationError),
    /// A stage cannot run, or is none.
    #[error("{name}: {source}")]
    Stage {
        /// The file or folder.
        name: String,
        /// Why.
        source: GuestError,
    },
    /// A file is no component.
    #[error("{path} is no component; `coordinatorctl stage build` makes one of a stage's folder or of a core module")]
    NoComponent {
        /// The file.
        path: PathBuf,
    },
    /// A folder holds no stage.
    #[error("{folder} holds no stage: neither Cargo.toml nor stage.c, stage.js or app.py")]
    NoStage {
        /// The folder.
        folder: PathBuf,
    },
    /// A crate made no module.
    #[error("the crate in {folder} makes no module: its manifest needs [lib] crate-type = [\"cdylib\", \"rlib\"]")]
    NoModule {
        /// The folder.
        folder: PathBuf,
    },
    /// A compiler failed.
    #[error("{program} failed: {reason}; if it is missing, {advice}")]
    Compiler {
        /// The program.
        program: String,
        /// What it or the system said.
        reason: String,
        /// Where it is to be had.
        advice: String,
    },
    /// An interface cannot be read.
    #[error("the interface in {path} cannot be read: {reason}")]
    Interface {
        /// Its folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Something is in the way.
    #[error("{path} exists already")]
    Exists {
        /// What.
        path: PathBuf,
    },
    /// A folder's name cannot be a stage's.
    #[error("{name:?} is no name for a stage: lower-case letters, digits and dashes, a letter first")]
    StageName {
        /// The name.
        name: String,
    },
    /// The SDK is not where it was looked for.
    #[error("{path} is not the folder of coordinator-sdk; name it with --sdk")]
    NoSdk {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A registry gave or took nothing.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The answer could not be written.
    #[error("cannot write the answer")]
    Output(#[source] io::Error),
    /// A pipeline file that the caller named is wrong.
    #[error("the pipeline is wrong: {} problems", .problems.len())]
    Mistakes {
        /// Every problem, warnings included.
        problems: Vec<Problem>,
        /// The files that they are in.
        sources: Sources,
    },
    /// A pipeline cannot be used.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
}

impl Failure {
    /// What a program reads in the answer's place.
    pub(crate) fn to_json(&self) -> Value {
        let (error, exit) = (chain(self), self.exit().number());
        match self {
            Self::Mistakes { problems, .. } | Self::Pipeline(PipelineError::Wrong(problems)) => {
                let problems: Vec<Value> = problems.iter().map(diagnostic::json).collect();
                json!({"error": error, "exit": exit, "problems": problems})
            }
            _ => json!({"error": error, "exit": exit}),
        }
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Read { source, .. } | Self::Replay(ReplayError::Read { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                Exit::NoInput
            }
            Self::NotFound { .. }
            | Self::NotAttached { .. }
            | Self::NoInterface { .. }
            | Self::NoObject { .. }
            | Self::NoPath { .. }
            | Self::NoTest { .. }
            | Self::NoNamespace { .. }
            | Self::Namespace(NamespaceError::Open { .. }) => Exit::NoInput,
            Self::Attachment(AttachmentError::NotAttached { .. }) => Exit::NoInput,
            Self::Ambiguous { .. } | Self::SeveralPods { .. } | Self::Exists { .. } | Self::StageName { .. } => {
                Exit::Usage
            }
            Self::NoStage { .. } | Self::NoSdk { .. } => Exit::NoInput,
            Self::Stage { .. } | Self::NoComponent { .. } | Self::NoModule { .. } => Exit::No,
            Self::Registry(error) => error.exit(),
            Self::Interface { .. } => Exit::Configuration,
            Self::Compiler { .. } => Exit::No,
            Self::Toml { .. } | Self::Json { .. } | Self::NoSection { .. } => Exit::Configuration,
            Self::Replay(ReplayError::Facts { .. } | ReplayError::Setting(_)) => Exit::Configuration,
            Self::Replay(ReplayError::Run(_)) | Self::Attachment(AttachmentError::Run(_)) => Exit::No,
            Self::Pipeline(error) | Self::Effective(EffectiveError::Pipeline(error)) => pipeline(error),
            Self::Effective(EffectiveError::Wrong(_)) | Self::Mistakes { .. } => Exit::Configuration,
            Self::Read { .. }
            | Self::Write { .. }
            | Self::Output(_)
            | Self::BrokenRecord { .. }
            | Self::Namespace(_)
            | Self::Records(_) => Exit::Io,
            Self::Replay(_) | Self::Effective(_) | Self::Attachment(_) | Self::Preparation(_) => Exit::Io,
        }
    }

    /// True when the reader of the answer went away, as `head` does.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

fn pipeline(error: &PipelineError) -> Exit {
    match error {
        PipelineError::Missing { .. } => Exit::NoInput,
        PipelineError::File(_) | PipelineError::Directory { .. } | PipelineError::NoStage { .. } => Exit::Io,
        PipelineError::Wrong(_) => Exit::Configuration,
    }
}
