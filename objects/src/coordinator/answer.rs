//! What a search for prefixes came to; the agent's discovery gives it, the status tells it.

use ipnet::IpNet;

/// An answer to the question which prefixes there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// These.
    Found {
        /// The prefixes, sorted.
        prefixes: Vec<IpNet>,
        /// Who says so, in words.
        origin: String,
    },
    /// Something has not been read yet.
    Waiting(String),
    /// Nobody says it, or what is said makes no sense.
    Unknown(String),
}
