//! A call as the runtime makes it: environment and configuration, checked before anything else happens.

use std::{ffi::OsString, path::PathBuf};

use coordinator_sdk::{ContainerId, InterfaceName, Request};
use serde_json::{Map, Value};

use crate::{
    error::{CniError, Code},
    version::SpecVersion,
};

/// What the runtime wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    Add,
    Del,
    Check,
    Gc,
    Status,
    Version,
}

/// The environment variables of the specification, as they are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    command: Option<OsString>,
    container: Option<OsString>,
    namespace: Option<OsString>,
    interface: Option<OsString>,
    args: Option<OsString>,
}

/// Whom an ADD or DEL is about.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) container: ContainerId,
    pub(crate) interface: InterfaceName,
    /// `CNI_NETNS`; only a DEL may lack it.
    pub(crate) namespace: Option<PathBuf>,
    /// `K8S_POD_…` out of `CNI_ARGS`, by name.
    args: Vec<(String, String)>,
}

/// The configuration on stdin.
#[derive(Debug, Clone)]
pub(crate) struct Configuration {
    pub(crate) version: SpecVersion,
    pub(crate) fields: Map<String, Value>,
}

impl Environment {
    /// Of this process.
    pub(crate) fn of_process() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            command: variable("CNI_COMMAND"),
            container: variable("CNI_CONTAINERID"),
            namespace: variable("CNI_NETNS"),
            interface: variable("CNI_IFNAME"),
            args: variable("CNI_ARGS"),
        }
    }

    /// What is wanted.
    ///
    /// # Errors
    /// It is missing or unknown.
    pub(crate) fn command(&self) -> Result<Command, CniError> {
        let Some(command) = &self.command else {
            let error = CniError::new(Code::Environment, "CNI_COMMAND is not set");
            return Err(error.details("this is a CNI plugin: a container runtime executes it"));
        };
        match command.to_string_lossy().as_ref() {
            "ADD" => Ok(Command::Add),
            "DEL" => Ok(Command::Del),
            "VERSION" => Ok(Command::Version),
            "CHECK" => Ok(Command::Check),
            "GC" => Ok(Command::Gc),
            "STATUS" => Ok(Command::Status),
            other => {
                Err(CniError::new(Code::Environment, format!("CNI_COMMAND {other:?} is none of the specification's")))
            }
        }
    }

    /// `CNI_COMMAND` as it is, or empty.
    pub(crate) fn command_text(&self) -> String {
        self.command.as_ref().map(|command| command.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Whom it is about; every wrong variable is named.
    ///
    /// # Errors
    /// A variable is missing or breaks its grammar.
    pub(crate) fn target(&self, command: Command) -> Result<Target, CniError> {
        let mut problems = Vec::new();
        let container = required("CNI_CONTAINERID", self.container.as_ref(), &mut problems);
        let interface = required("CNI_IFNAME", self.interface.as_ref(), &mut problems);
        if matches!(command, Command::Add | Command::Check) && self.namespace.is_none() {
            problems.push("CNI_NETNS is not set".to_owned());
        }
        let (Some(container), Some(interface), true) = (container, interface, problems.is_empty()) else {
            return Err(CniError::new(Code::Environment, problems.join("; ")));
        };
        let args = self.args.as_ref().map(|args| args.to_string_lossy()).unwrap_or_default();
        let pairs = args.split(';').filter_map(|pair| pair.split_once('='));
        let args = pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect();
        Ok(Target { container, interface, namespace: self.namespace.as_ref().map(PathBuf::from), args })
    }
}

fn required<T>(name: &str, value: Option<&OsString>, problems: &mut Vec<String>) -> Option<T>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    let Some(value) = value else {
        problems.push(format!("{name} is not set"));
        return None;
    };
    match value.to_string_lossy().parse() {
        Ok(value) => Some(value),
        Err(error) => {
            problems.push(format!("{name}: {error}"));
            None
        }
    }
}

impl Target {
    /// The request that stages see.
    pub(crate) fn request(&self, configuration: &Map<String, Value>) -> Request {
        let arg = |name: &str| {
            let found = self.args.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        let text = |key: &str| configuration.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let shown = ["runtimeConfig", "args"].into_iter();
        let shown = shown.filter_map(|key| Some((key.to_owned(), configuration.get(key)?.clone())));
        Request {
            container: self.container.clone(),
            interface: self.interface.clone(),
            network: text("name"),
            pod_namespace: arg("K8S_POD_NAMESPACE"),
            pod_name: arg("K8S_POD_NAME"),
            pod_uid: arg("K8S_POD_UID"),
            config: Value::Object(shown.collect()).into(),
            ..Request::default()
        }
    }
}

impl Configuration {
    /// Reads the configuration.
    ///
    /// # Errors
    /// It is not a JSON object, or its version is none that is spoken.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, CniError> {
        let decode = |reason: String| {
            CniError::new(Code::Decode, format!("the configuration on stdin {reason}"))
                .details("a runtime writes the network's configuration to stdin")
        };
        let fields = match serde_json::from_slice(text) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) => return Err(decode("is not a JSON object".to_owned())),
            Err(error) => return Err(decode(format!("is not JSON: {error}"))),
        };
        let given = fields.get("cniVersion");
        let version = given.and_then(Value::as_str).and_then(SpecVersion::parse);
        let Some(version) = version else {
            let shown = given.map_or_else(|| "missing".to_owned(), ToString::to_string);
            let known = SpecVersion::ALL.map(SpecVersion::as_str).join(", ");
            let error = CniError::new(Code::IncompatibleVersion, format!("cniVersion is {shown}"));
            return Err(error.details(format!("supported are {known}")));
        };
        Ok(Self { version, fields })
    }

    /// `mode: disable`: nothing else of the configuration matters then.
    pub(crate) fn is_disabled(&self) -> bool {
        matches!(self.fields.get("mode").and_then(Value::as_str), Some("disable" | "disabled"))
    }
}
