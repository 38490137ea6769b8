//! Why a guest gave no decision: each with its cause and what to do.

use std::{sync::Arc, time::Duration};

use coordinator_stages::kernel::directory::DirectoryError;

use crate::check::WrongProposal;

/// Why a guest could not run, or ended without a decision. The stage's name stands beside it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GuestError {
    /// The engine does not work here.
    #[error("no guest can run here: {reason}")]
    Engine {
        /// What it says.
        reason: String,
    },
    /// It has not been compiled on this node, or by another version of this program.
    #[error("no artefact of {digest} for this version of coordinator is in {directory}")]
    NotCompiled {
        /// The SHA-256 of the component.
        digest: String,
        /// Where it was looked for.
        directory: String,
    },
    /// The artefacts' directory cannot be trusted or read.
    #[error("the artefacts cannot be used")]
    Directory(#[source] Arc<DirectoryError>),
    /// An artefact is not what was compiled.
    #[error("the artefact of {digest} in {directory} {problem}")]
    Artefact {
        /// The SHA-256 of the component.
        digest: String,
        /// Where it is.
        directory: String,
        /// What is wrong with it.
        problem: String,
    },
    /// It is not a component of the world that this host knows.
    #[error("the component does not fit: {reason}")]
    Interface {
        /// What does not fit, by name.
        reason: String,
    },
    /// Its own check of the options found problems.
    #[error("its options are wrong: {}", .problems.join("; "))]
    Options {
        /// All of them.
        problems: Vec<String>,
    },
    /// It computed for too long.
    #[error("it was ended after {limit:?} of processor time")]
    Time {
        /// What it may use.
        limit: Duration,
    },
    /// It wanted too much memory.
    #[error("it wanted {wanted} bytes of memory, and may have {limit}")]
    Memory {
        /// What it wanted.
        wanted: usize,
        /// What it may have.
        limit: usize,
    },
    /// It called itself too deeply.
    #[error("its stack of {limit} bytes was not enough")]
    Stack {
        /// What it has.
        limit: usize,
    },
    /// It said too much.
    #[error("it said more than {limit} bytes at once")]
    Output {
        /// What it may say.
        limit: usize,
    },
    /// It proposed too many changes.
    #[error("it proposed {number} changes, and may propose {limit}")]
    Changes {
        /// How many.
        number: usize,
        /// How many it may.
        limit: usize,
    },
    /// It trapped.
    #[error("it trapped: {trap}{}", .words.as_deref().map(|words| format!("; its last words: {words}")).unwrap_or_default())]
    Trap {
        /// What the engine says.
        trap: String,
        /// The last error that it logged: a panic's message.
        words: Option<String>,
    },
    /// What it said cannot be read.
    #[error("what it said cannot be read: {reason}")]
    Unreadable {
        /// What is wrong with it.
        reason: String,
    },
    /// It proposed what it must not.
    #[error("{0}")]
    Proposal(Box<WrongProposal>),
}

impl From<DirectoryError> for GuestError {
    fn from(error: DirectoryError) -> Self {
        Self::Directory(Arc::new(error))
    }
}

impl GuestError {
    /// What to do about it, for the stage of this name.
    pub fn remedy(&self, stage: &str) -> String {
        match self {
            Self::Engine { .. } => "run the pipeline without guests on this kind of machine".to_owned(),
            Self::NotCompiled { .. } => {
                format!("on this node, as root, run: coordinatorctl stage compile FILE, with the file of stage {stage}")
            }
            Self::Directory(_) | Self::Artefact { .. } => {
                "the directory must belong to root with mode 0700; run coordinatorctl stage compile again, and find out \
                 who wrote there"
                    .to_owned()
            }
            Self::Interface { .. } => {
                format!("ask who made stage {stage} for one that is built for coordinator:stage@0.1.0")
            }
            Self::Options { .. } => format!("correct [stage.with] of stage {stage} in the pipeline"),
            Self::Time { .. } => format!("mend stage {stage}, or give it more: limits = {{ time = \"50ms\" }}"),
            Self::Memory { .. } => format!("mend stage {stage}, or give it more: limits = {{ memory = \"32MiB\" }}"),
            Self::Output { .. } => format!("mend stage {stage}, or give it more: limits = {{ output = \"2MiB\" }}"),
            Self::Changes { .. } => format!("mend stage {stage}, or give it more: limits = {{ changes = 2000 }}"),
            Self::Stack { .. } | Self::Trap { .. } | Self::Unreadable { .. } => {
                format!("stage {stage} has a fault: report it to who made it, with the facts of this Pod")
            }
            Self::Proposal(wrong) => wrong.remedy(stage),
        }
    }

    /// True when the node lacks something that can be put right without changing the pipeline: the same call may
    /// succeed later.
    pub fn is_curable(&self) -> bool {
        matches!(self, Self::NotCompiled { .. } | Self::Directory(_) | Self::Artefact { .. })
    }
}
