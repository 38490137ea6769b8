//! Why a registry gave or took nothing: each with the registry, the reference, the cause and what to do.

use std::{io, path::PathBuf};

use oci_client::errors::{DigestError, OciDistributionError, OciErrorCode};

use super::{credentials::Credentials, place::Place};
use crate::exit::Exit;

/// What an encrypted connection fails at most often.
const HINT: &str = "; one that speaks plain HTTP needs --plain-http, one whose authority this machine does not know \
                    needs that authority's certificate in SSL_CERT_FILE";

/// Why nothing was pushed or pulled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    /// A reference is none.
    #[error(
        "{text:?} names no stage in a registry: {reason}; write REGISTRY/REPOSITORY:TAG or \
         REGISTRY/REPOSITORY@sha256:DIGEST"
    )]
    Reference {
        /// As it was written.
        text: String,
        /// Why.
        reason: String,
    },
    /// Nothing can be pushed under a digest.
    #[error("{place} is named by its digest, which follows from what is pushed; name a tag")]
    Fixed {
        /// Where.
        place: String,
    },
    /// Docker's file of credentials cannot be used.
    #[error("the credentials in {path} cannot be used: {reason}; mend it, or name another folder in DOCKER_CONFIG")]
    Credentials {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// There is nobody to trust.
    #[error(
        "this machine has no certificates of authorities, by which registries are known; install them (Debian: \
         ca-certificates), or name a file of them in SSL_CERT_FILE"
    )]
    NoCertificates,
    /// The system gives no means to wait.
    #[error("cannot wait for a registry")]
    Runtime(#[source] io::Error),
    /// It does not answer.
    #[error("registry {registry} cannot be asked about {place}; see that it runs and can be reached by {scheme}{hint}")]
    Unreachable {
        /// The registry.
        registry: String,
        /// What it was about.
        place: String,
        /// The scheme.
        scheme: &'static str,
        /// What else may help.
        hint: &'static str,
        /// What happened.
        source: Box<OciDistributionError>,
    },
    /// It does not let us.
    #[error("registry {registry} denies {place} to {who}; sign in with: docker login {registry}")]
    Denied {
        /// The registry.
        registry: String,
        /// What it was about.
        place: String,
        /// Who asked.
        who: String,
    },
    /// It has no such thing.
    #[error("registry {registry} has no {place}; see that repository and tag are right")]
    NotFound {
        /// The registry.
        registry: String,
        /// What was asked for.
        place: String,
    },
    /// It says something else.
    #[error("registry {registry} gives no proper answer about {place}: {reason}; ask who runs it, or try again later")]
    Answer {
        /// The registry.
        registry: String,
        /// What it was about.
        place: String,
        /// What it says.
        reason: String,
    },
    /// It went away in the middle.
    #[error("{place} broke off after {received} of {promised} bytes; try again")]
    Broken {
        /// What was asked for.
        place: String,
        /// How many bytes came.
        received: u64,
        /// How many should have come.
        promised: u64,
        /// What happened.
        source: io::Error,
    },
    /// The bytes are not those that its digest or its manifest promise.
    #[error(
        "{place} is not what it should be: {promised} was promised, and {found} came; do not use it, and tell who runs \
         the registry"
    )]
    Tampered {
        /// What was asked for.
        place: String,
        /// The digest that was promised.
        promised: String,
        /// The digest of what came.
        found: String,
    },
    /// Something else lies there.
    #[error(
        "{place} is no stage but {found}; `coordinatorctl stage push` and `wkg oci push` put stages into registries"
    )]
    NoStage {
        /// Where.
        place: String,
        /// What it is.
        found: String,
    },
}

impl RegistryError {
    /// What an error of the client means to a person.
    pub(super) fn of(error: OciDistributionError, place: &Place, credentials: &Credentials) -> Self {
        let (registry, shown) = (place.registry().to_owned(), place.to_string());
        let denied = || Self::Denied { registry: registry.clone(), place: shown.clone(), who: credentials.who.clone() };
        let not_found = || Self::NotFound { registry: registry.clone(), place: shown.clone() };
        let answer = |reason: String| Self::Answer { registry: registry.clone(), place: shown.clone(), reason };
        match error {
            OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => denied(),
            OciDistributionError::ServerError { code: 401 | 403, .. } => denied(),
            OciDistributionError::ServerError { code: 404, .. } => not_found(),
            OciDistributionError::ServerError { code, message, .. } => answer(format!("{code} {}", one_line(&message))),
            OciDistributionError::RequestError(error) => match error.status().map(|status| status.as_u16()) {
                Some(401 | 403) => denied(),
                Some(status) => answer(format!("{status}")),
                None => Self::Unreachable {
                    scheme: if place.is_plain() { "http" } else { "https" },
                    hint: if place.is_plain() { "" } else { HINT },
                    registry,
                    place: shown,
                    source: Box::new(OciDistributionError::RequestError(error)),
                },
            },
            OciDistributionError::RegistryError { envelope, .. } => {
                let is_one_of =
                    |codes: &[OciErrorCode]| envelope.errors.iter().any(|error| codes.contains(&error.code));
                if is_one_of(&[OciErrorCode::Unauthorized, OciErrorCode::Denied]) {
                    return denied();
                }
                let missing = [OciErrorCode::ManifestUnknown, OciErrorCode::NameUnknown, OciErrorCode::NotFound];
                match is_one_of(&missing) {
                    true => not_found(),
                    false => answer(one_line(&envelope.to_string())),
                }
            }
            OciDistributionError::DigestError(DigestError::VerificationError { expected, actual }) => {
                Self::Tampered { place: shown, promised: expected, found: actual }
            }
            other => answer(one_line(&other.to_string())),
        }
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Reference { .. } | Self::Fixed { .. } => Exit::Usage,
            Self::Credentials { .. } | Self::NoCertificates => Exit::Configuration,
            Self::NotFound { .. } => Exit::NoInput,
            Self::NoStage { .. } | Self::Tampered { .. } => Exit::No,
            Self::Runtime(_)
            | Self::Unreachable { .. }
            | Self::Denied { .. }
            | Self::Answer { .. }
            | Self::Broken { .. } => Exit::Io,
        }
    }
}

/// What a registry says is shown on a terminal: short, and without anything that a terminal would obey.
fn one_line(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    clean.take(300).collect()
}
