//! Whom a command is about: a Pod by name, a container by id, or a namespace by path; and which attachment of it.

pub(crate) mod cache;
pub(crate) mod known;

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use clap::Args;
use coordinator_core::attachment::{self, Namespace, ResultAddress};
use coordinator_sdk::{ContainerId, InterfaceName, Request};
use serde_json::{Map, Value};

use crate::failure::Failure;
use known::Known;

/// Where records and the runtime's memory lie.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Places")]
pub(crate) struct Places {
    /// The directory of coordinator's records
    #[arg(long, value_name = "DIR", default_value = "/run/coordinator")]
    pub(crate) state: PathBuf,
    /// The directory in which the container runtime remembers its CNI calls
    #[arg(long = "cni-cache", value_name = "DIR", default_value = cache::DIRECTORY)]
    pub(crate) cache: PathBuf,
}

impl Places {
    /// Where the plugin's own code looks for records.
    pub(crate) fn of_attachments(&self) -> attachment::Places {
        attachment::Places { state: self.state.clone(), ..attachment::Places::default() }
    }
}

/// An attachment, as a person names it.
#[derive(Debug, Clone, Args)]
pub(crate) struct Whom {
    /// A Pod as NAME or NAMESPACE/NAME, a container id or its beginning, or a network namespace's path
    #[arg(value_name = "POD")]
    pub(crate) whom: String,
    /// The interface, when the Pod has several attachments
    #[arg(long, short, value_name = "NAME")]
    pub(crate) interface: Option<InterfaceName>,
    #[command(flatten)]
    pub(crate) places: Places,
}

impl Whom {
    /// The attachments that this names.
    ///
    /// # Errors
    /// There is none, or records cannot be read.
    pub(crate) fn all(&self) -> Result<Vec<Known>, Failure> {
        let is_path = self.whom.starts_with('/');
        let namespace = if is_path { Some(Namespace::open(Path::new(&self.whom))?) } else { None };
        let identity = namespace.map(|namespace| namespace.identity());
        let is_meant = |known: &Known| match identity {
            Some(identity) => {
                let recorded = known.record.as_ref().and_then(|record| record.namespace.as_ref());
                recorded.is_some_and(|recorded| (recorded.device, recorded.inode) == identity)
            }
            None => {
                known.pod() == self.whom
                    || !known.pod_name.is_empty() && known.pod_name == self.whom
                    || self.whom.len() >= 4 && known.container.as_str().starts_with(&self.whom)
                    || known.container.as_str() == self.whom
            }
        };
        let mut found = known::all(&self.places)?;
        found.retain(|known| is_meant(known) && self.interface.as_ref().is_none_or(|name| *name == known.interface));
        if found.is_empty() {
            return Err(Failure::NotFound { whom: self.shown() });
        }
        Ok(found)
    }

    /// The one attachment that this names; a record that a killed call left is not asked for by anybody.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub(crate) fn one(&self) -> Result<Known, Failure> {
        let mut found = self.all()?;
        found.dedup_by(|later, first| (&later.container, &later.interface) == (&first.container, &first.interface));
        let names = found.iter().map(Known::short).collect::<Vec<_>>().join(", ");
        match <[Known; 1]>::try_from(found) {
            Ok([known]) => Ok(known),
            Err(_) => Err(Failure::Ambiguous { whom: self.shown(), names }),
        }
    }

    fn shown(&self) -> String {
        match &self.interface {
            Some(interface) => format!("{:?}, interface {interface}", self.whom),
            None => format!("{:?}", self.whom),
        }
    }
}

/// The namespace of an attachment: where its record says, or where the caller says.
pub(crate) fn namespace(known: &Known) -> Result<Namespace, Failure> {
    let path = known.namespace_path().ok_or_else(|| Failure::NoNamespace { whom: known.short() })?;
    Ok(Namespace::open(&path)?)
}

/// What a runtime would say of an attachment that is not made yet.
pub(crate) fn request(container: ContainerId, interface: InterfaceName, fields: &Map<String, Value>) -> Request {
    let text = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let shown = ["runtimeConfig", "args"].into_iter();
    let shown = shown.filter_map(|key| Some((key.to_owned(), fields.get(key)?.clone())));
    Request {
        container,
        interface,
        network: text("name"),
        config: Value::Object(shown.collect()),
        ..Request::default()
    }
}

/// Reads a CNI configuration: a plugin's, or a network's list of which ours is a part.
///
/// # Errors
/// It cannot be read, is no JSON, or has no section of ours.
pub(crate) fn read_configuration(path: &Path) -> Result<Map<String, Value>, Failure> {
    let read = |source| Failure::Read { path: path.to_owned(), source };
    let text = match path.to_str() {
        Some("-") => io::read_to_string(io::stdin()).map_err(read)?,
        _ => fs::read_to_string(path).map_err(read)?,
    };
    let list: Value = serde_json::from_str(&text).map_err(|source| Failure::Json { path: path.to_owned(), source })?;
    cache::section(&list, None).ok_or_else(|| Failure::NoSection { path: path.to_owned() })
}

/// The addresses that a result gives an interface.
pub(crate) fn addresses(fields: &Map<String, Value>, interface: &InterfaceName) -> Vec<ResultAddress> {
    let list = |key: &str| {
        let found = fields.get("prevResult").and_then(|result| result.get(key)).and_then(Value::as_array);
        found.map(Vec::as_slice).unwrap_or_default()
    };
    let interfaces = list("interfaces");
    let is_ours = |ip: &&Value| {
        let at = ip.get("interface").and_then(Value::as_u64).and_then(|at| usize::try_from(at).ok());
        let name = at.and_then(|at| interfaces.get(at)).and_then(|entry| entry.get("name")).and_then(Value::as_str);
        name.is_none_or(|name| name == interface.as_str())
    };
    let address = |ip: &Value| {
        let gateway = ip.get("gateway").and_then(Value::as_str).and_then(|text| text.parse::<IpAddr>().ok());
        Some(ResultAddress { prefix: ip.get("address")?.as_str()?.parse().ok()?, gateway })
    };
    list("ips").iter().filter(is_ours).filter_map(address).collect()
}
