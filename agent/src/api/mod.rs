//! The cluster's API, as far as the agent speaks it: one client, watches that heal, Events, the leader's Lease.

mod backoff;
mod event;
mod follow;
mod lease;
mod meter;

use std::{error::Error as _, future::Future, time::Duration};

use coordinator_objects::Kind;
use kube::{
    Api, Client,
    client::ClientBuilder,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};

pub use backoff::{Backoff, spread};
pub(crate) use event::now;
pub use event::{Events, Note, Regarding, Severity};
pub use follow::{Part, Rhythm, Target, Trouble, View, follow};
pub use lease::{Leadership, campaign};
pub use meter::{Meter, Usage, Usages};

/// Who wrote a field, as server-side apply calls it.
pub const MANAGER: &str = "coordinator-agent";
/// How long a request may take that is no watch.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Why the API could not be used, in words that name what happened and where.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// It answered with an error.
    #[error("the API server answers {code} {reason}: {message}")]
    Refused {
        /// The HTTP status.
        code: u16,
        /// One word for programs.
        reason: String,
        /// The server's own words.
        message: String,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// It did not answer, or the connection broke.
    #[error("the API server cannot be reached: {0}")]
    Unreachable(String),
    /// It took too long.
    #[error("the API server did not answer within {} s", .0.as_secs())]
    Late(Duration),
    /// Its answer makes no sense, or the request cannot be made.
    #[error("the API server's answer is not understood: {0}")]
    Senseless(String),
}

impl ApiError {
    /// The HTTP status, where there is one.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// How long the server wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl From<kube::Error> for ApiError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => {
                let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                Self::Refused {
                    code: status.code,
                    reason: status.reason.clone(),
                    message: status.message.clone(),
                    retry_after: (seconds > 0).then(|| Duration::from_secs(u64::from(seconds))),
                }
            }
            kube::Error::HyperError(_) | kube::Error::Service(_) | kube::Error::ReadEvents(_) => {
                // The innermost cause says it best: "connection refused".
                let mut cause = error.source();
                let mut text = error.to_string();
                while let Some(inner) = cause {
                    text = inner.to_string();
                    cause = inner.source();
                }
                Self::Unreachable(text)
            }
            other => Self::Senseless(other.to_string()),
        }
    }
}

/// A client whose requests are counted.
///
/// # Errors
/// The configuration cannot be used: certificates, tokens.
pub fn connect(mut config: kube::Config, meter: &Meter) -> Result<Client, ApiError> {
    // Waiting is ours to decide: a leader's write must not be repeated after its time.
    config.default_retry = false;
    Ok(ClientBuilder::try_from(config)?.with_layer(meter).build())
}

/// A request that ends after [`PATIENCE`].
///
/// # Errors
/// What the API said, or that it said nothing.
pub async fn within<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, ApiError> {
    match tokio::time::timeout(PATIENCE, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(ApiError::Late(PATIENCE)),
    }
}

/// The objects of a kind, in a namespace or in the whole cluster; untyped, so that one which is malformed or of a newer
/// version never hides its neighbours.
pub fn objects(client: &Client, kind: Kind, namespace: Option<&str>) -> Api<DynamicObject> {
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(kind.group, kind.version, kind.kind), kind.plural);
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}
