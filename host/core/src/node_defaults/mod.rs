//! The node's defaults for settings: what SpiderCoordinator says, by way of an agent.
//!
//! Our own agent leaves them in a file, so that an ADD asks nobody. Where there is no such file,
//! Spiderpool's agent is asked on its socket: replacing Spiderpool's plugin by ours is then enough.
//! A socket that is not there means that there is no agent, and no defaults; a socket that does not
//! answer is an error, since an ADD without the cluster's CIDRs would make a Pod that looks right
//! and is not.
//!
//! Nothing here checks a value, and nothing is read unless [`read`] is called: a configuration that
//! disables the plugin, a DEL and a VERSION never call it.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::settings::{RootFileError, canonical, read_root_file};

mod agent;
mod pod;

pub use agent::{AgentError, Pod};
pub use pod::{FOLDER as POD_FOLDER, SETTING as POD_SETTING, pod_file, pod_text};

/// The most that defaults may take, bytes.
const LIMIT: u64 = 64 * 1024;

/// Where the node's defaults are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The file that our agent writes.
    pub file: PathBuf,
    /// The socket of Spiderpool's agent.
    pub socket: PathBuf,
}

impl Places {
    /// [`Places::file`] of a real node.
    pub const FILE: &'static str = "/var/lib/coordinator/defaults.json";
    /// [`Places::socket`] of a real node.
    pub const SOCKET: &'static str = "/var/run/spidernet/spiderpool.sock";
}

impl Default for Places {
    fn default() -> Self {
        Self { file: Self::FILE.into(), socket: Self::SOCKET.into() }
    }
}

/// What is said on a node for one Pod's calls, by the names of the CNI configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeDefaults {
    /// What is said for every Pod.
    pub node: Map<String, Value>,
    /// What the Pod's own annotation says.
    pub annotation: Map<String, Value>,
}

/// Why the defaults are not known.
#[derive(Debug, thiserror::Error)]
pub enum NodeDefaultsError {
    /// The file cannot be read or trusted.
    #[error("the node defaults are not usable")]
    File(#[from] RootFileError),
    /// The file is not JSON.
    #[error("the node defaults in {path} are not JSON")]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The file is JSON, but no object.
    #[error("the node defaults in {path} are not a JSON object")]
    Form {
        /// The file.
        path: PathBuf,
    },
    /// Spiderpool's agent is there and does not answer as it should.
    #[error("Spiderpool's agent at {socket} did not give the node defaults")]
    Agent {
        /// Its socket.
        socket: PathBuf,
        /// What it said.
        source: AgentError,
    },
}

/// The node's defaults and the Pod's own choice; both are empty when nobody gives any.
///
/// Spiderpool's agent does not tell the two apart: what a Pod's annotation says stands among its defaults.
///
/// # Errors
/// They are there, but cannot be read, trusted or understood.
pub fn read(places: &Places, pod: Pod<'_>) -> Result<NodeDefaults, NodeDefaultsError> {
    if let Some(text) = read_root_file(&places.file, LIMIT)? {
        let node = parse_file(&places.file, &text)?;
        return Ok(NodeDefaults { node, annotation: pod::read(&places.file, pod)? });
    }
    match agent::ask(&places.socket, pod) {
        Ok(answer) => {
            Ok(NodeDefaults { node: answer.map(without_zeros).unwrap_or_default(), ..NodeDefaults::default() })
        }
        Err(source) => Err(NodeDefaultsError::Agent { socket: places.socket.clone(), source }),
    }
}

fn parse_file(path: &Path, text: &str) -> Result<Map<String, Value>, NodeDefaultsError> {
    match serde_json::from_str(text) {
        Ok(Value::Object(defaults)) => Ok(defaults),
        Ok(_) => Err(NodeDefaultsError::Form { path: path.to_owned() }),
        Err(source) => Err(NodeDefaultsError::Json { path: path.to_owned(), source }),
    }
}

/// What Spiderpool's agent means: without the zero values that a Go structure sends for "not set".
///
/// They would otherwise override a pipeline's `[settings]`. Our own agent writes only what is set,
/// so its file is taken as it stands.
fn without_zeros(mut answer: Map<String, Value>) -> Map<String, Value> {
    answer.retain(|key, value| !is_unset(canonical(key).unwrap_or(key), value));
    answer
}

/// Field by field, since a zero is not always "not set".
fn is_unset(name: &str, value: &Value) -> bool {
    match name {
        // A pointer in Go: false is somebody's choice, null is none.
        "tunePodRoutes" => value.is_null(),
        // 0 is a value of its own, "write 0", and SpiderCoordinator's schema fills it in.
        "podRPFilter" => value.is_null(),
        // Always sent, and its schema fills in 500; 0 is a table that does not exist, and is refused.
        "hostRuleTable" => value.is_null(),
        // Every other field of the agent's answer (mode, the CIDRs, podMACPrefix,
        // podDefaultRouteNIC, vethLinkAddress, vethMTU, txQueueLen, policyRoutes, detectIPConflict,
        // detectGateway, hostRPFilter): the zero is what an unset field of SpiderCoordinator
        // becomes, and says nothing that the built-in default does not.
        _ => is_go_zero(value),
    }
}

fn is_go_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(entries) => entries.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

#[cfg(test)]
mod tests;
