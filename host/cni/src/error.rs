//! The one table of error codes: what went wrong, the number the runtime sees, and what to try.

use coordinator_core::{
    attachment::{AttachmentError, NamespaceError},
    chain::chain,
    effective::EffectiveError,
    guest::GuestError,
    node_defaults::NodeDefaultsError,
    pipeline::PipelineError,
    runner::RunError,
};
use coordinator_sdk::SettingProblem;
use serde_json::{Value, json};

use crate::version::SpecVersion;

/// Codes of the CNI specification (section 2) up to 99, and ours from 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// The configuration's `cniVersion` is none that we speak.
    IncompatibleVersion = 1,
    /// An environment variable is missing or wrong.
    Environment = 4,
    /// A file or socket failed.
    Io = 5,
    /// The configuration is not JSON.
    Decode = 6,
    /// The configuration says something that cannot be.
    Configuration = 7,
    /// The same call may succeed later.
    TryAgain = 11,
    /// STATUS: no ADD would work now.
    NotAvailable = 50,
    /// STATUS: living Pods are cut off from their node.
    Limited = 51,
    /// A stage refused; nothing was changed.
    Refused = 100,
    /// Another host uses an address of the Pod.
    Conflict = 101,
    /// A gateway of the Pod does not answer.
    GatewaySilent = 102,
    /// A guest failed: it met a limit, trapped, or proposed what it must not.
    Guest = 103,
    /// The kernel refused a change; everything was undone.
    Kernel = 104,
    /// CHECK found that an attachment is not as it was made.
    Drift = 105,
    /// A fault of this program.
    Internal = 199,
}

impl Code {
    /// The number.
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::IncompatibleVersion => 1,
            Self::Environment => 4,
            Self::Io => 5,
            Self::Decode => 6,
            Self::Configuration => 7,
            Self::TryAgain => 11,
            Self::NotAvailable => 50,
            Self::Limited => 51,
            Self::Refused => 100,
            Self::Conflict => 101,
            Self::GatewaySilent => 102,
            Self::Guest => 103,
            Self::Kernel => 104,
            Self::Drift => 105,
            Self::Internal => 199,
        }
    }
}

/// An error as the runtime gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CniError {
    /// Its number.
    pub(crate) code: Code,
    /// What went wrong, with names and values.
    pub(crate) message: String,
    /// What to try.
    pub(crate) details: String,
}

impl CniError {
    /// An error without advice.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: String::new() }
    }

    /// Adds what to try.
    pub(crate) fn details(self, details: impl Into<String>) -> Self {
        Self { details: details.into(), ..self }
    }

    /// The error object of the specification.
    pub(crate) fn to_json(&self, version: SpecVersion) -> Value {
        json!({
            "cniVersion": version.as_str(),
            "code": self.code.number(),
            "msg": self.message,
            "details": self.details,
        })
    }
}

/// All wrong values in one error.
pub(crate) fn wrong_values(problems: &[String]) -> CniError {
    CniError::new(Code::Configuration, format!("the configuration is not valid: {}", problems.join("; ")))
        .details("correct the values named in the message; docs/settings.md lists what each may be")
}

/// The problems of settings as texts.
pub(crate) fn texts(problems: &[SettingProblem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

/// A guest that could not run, or failed.
pub(crate) fn failed_guest(stage: &str, failure: &GuestError, message: String) -> CniError {
    let code = if failure.is_curable() { Code::TryAgain } else { Code::Guest };
    CniError::new(code, message).details(failure.remedy(stage))
}

impl From<PipelineError> for CniError {
    fn from(error: PipelineError) -> Self {
        Self::new(Code::Configuration, chain(&error))
            .details("the setting `pipeline` names a file in /etc/coordinator/pipelines, without `.toml`")
    }
}

impl From<NodeDefaultsError> for CniError {
    fn from(error: NodeDefaultsError) -> Self {
        Self::new(Code::TryAgain, chain(&error)).details("see whether the node's agent runs, and what it logs")
    }
}

impl From<EffectiveError> for CniError {
    fn from(error: EffectiveError) -> Self {
        match error {
            EffectiveError::Wrong(problems) => wrong_values(&texts(&problems)),
            EffectiveError::Defaults(error) => error.into(),
            EffectiveError::Pipeline(error) => error.into(),
        }
    }
}

impl From<NamespaceError> for CniError {
    fn from(error: NamespaceError) -> Self {
        Self::new(Code::Environment, chain(&error))
            .details("CNI_NETNS must be the path of the pod's network namespace, not the node's")
    }
}

impl From<AttachmentError> for CniError {
    fn from(error: AttachmentError) -> Self {
        let message = chain(&error);
        match error {
            AttachmentError::Run(RunError::Refused { refusal, .. }) => {
                let code = if refusal.retry { Code::TryAgain } else { Code::Refused };
                Self::new(code, message).details(refusal.hint.unwrap_or_default())
            }
            AttachmentError::Run(error @ RunError::Found { .. }) => match error.conflicts().next() {
                Some(_) => Self::new(Code::Conflict, message)
                    .details("find the host with that MAC, or release the address so that the pod gets another one"),
                None => Self::new(Code::GatewaySilent, message)
                    .details("see whether the gateway lives and the network's VLAN is the right one"),
            },
            AttachmentError::Run(RunError::Guest { stage, failure }) => failed_guest(&stage, &failure, message),
            AttachmentError::Run(RunError::Proposal(_)) => Self::new(Code::Refused, message),
            AttachmentError::Namespace(error) => error.into(),
            AttachmentError::Observe(_) | AttachmentError::Sockets(_) | AttachmentError::Netlink(_) => {
                Self::new(Code::Io, message)
            }
            AttachmentError::Records(error) if error.is_locked() => Self::new(Code::TryAgain, message)
                .details("another call for this container, or one that holds the node, takes very long"),
            AttachmentError::Records(_) => {
                Self::new(Code::Io, message).details("records lie in /run/coordinator, which must belong to root alone")
            }
            AttachmentError::NotAttached { .. } => {
                Self::new(Code::Drift, message).details("an ADD of the attachment must come first")
            }
            AttachmentError::Packets { .. } => Self::new(Code::Io, message),
            AttachmentError::Unsteady(_)
            | AttachmentError::Drifting(_)
            | AttachmentError::Changed
            | AttachmentError::Overtaken => Self::new(Code::TryAgain, message),
            AttachmentError::Apply { .. } => {
                Self::new(Code::Kernel, message).details("nothing was changed: pod and node are as they were")
            }
            AttachmentError::Undo { .. } | AttachmentError::Remaining(_) => {
                Self::new(Code::Kernel, message).details("DEL removes the rest")
            }
        }
    }
}
