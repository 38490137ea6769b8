//! Whom a command is about: a Pod by name, a container by id, or a namespace by path; and which attachment of it.

pub(crate) mod cache;
pub(crate) mod known;
mod told;

use std::{
    collections::BTreeSet,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use clap::Args;
use coordinator_core::{
    attachment::{self, Namespace, ResultAddress},
    settings::nearest,
};
use coordinator_sdk::{ContainerId, InterfaceName, Request};
use serde_json::{Map, Value};

use crate::failure::Failure;
use known::Known;
pub(crate) use told::Told;

/// How much of a container's id names it, at the least.
const SHORTEST: usize = 4;

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
    /// The attachments of the one Pod or container that this names; with an interface, that one.
    ///
    /// # Errors
    /// There is none, several Pods bear the name, or records cannot be read.
    pub(crate) fn pod(&self) -> Result<Vec<Known>, Failure> {
        let all = known::all(&self.places)?;
        let mut found = match self.whom.starts_with('/') {
            true => at(&all, Namespace::open(Path::new(&self.whom))?.identity()),
            false => by_name(&all, &self.whom),
        };
        let Some(first) = found.first().cloned() else { return Err(self.nobody(&all)) };
        if found.iter().any(|other| other.container != first.container) {
            found.dedup_by(|later, first| later.container == first.container);
            let names = found.iter().map(Known::pod_and_container).collect::<Vec<_>>().join(", ");
            return Err(Failure::SeveralPods { whom: self.whom.clone(), names });
        }
        if let Some(interface) = &self.interface {
            let has: BTreeSet<String> = found.iter().map(|known| known.interface.to_string()).collect();
            found.retain(|known| known.interface == *interface);
            if found.is_empty() {
                let has = has.into_iter().collect::<Vec<_>>().join(", ");
                let (whom, interface) = (first.pod_and_container(), interface.clone());
                return Err(Failure::NoInterface { whom, interface, has });
            }
        }
        Ok(found)
    }

    /// As [`Whom::pod`], the attachments of which there is a record: the first, and the others.
    ///
    /// # Errors
    /// As [`Whom::pod`], and when there is a record of none.
    pub(crate) fn attached(&self) -> Result<(Known, Vec<Known>), Failure> {
        let found = self.pod()?;
        let unrecorded = found.first().map(Known::not_attached);
        let mut recorded = found.into_iter().filter(|known| known.record.is_some());
        let first = recorded.next().ok_or_else(|| unrecorded.unwrap_or_else(|| self.nobody(&[])))?;
        Ok((first, recorded.collect()))
    }

    /// The one attachment that this names; a record that a killed call left is not asked for by anybody.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub(crate) fn one(&self) -> Result<Known, Failure> {
        let mut found = self.pod()?;
        found.dedup_by(|later, first| later.interface == first.interface);
        let names = found.iter().map(|known| known.interface.to_string()).collect::<Vec<_>>().join(", ");
        match <[Known; 1]>::try_from(found) {
            Ok([known]) => Ok(known),
            Err(_) => Err(Failure::Ambiguous { whom: self.whom.clone(), names }),
        }
    }

    /// Nobody bears the name; perhaps somebody bears one like it.
    fn nobody(&self, all: &[Known]) -> Failure {
        let names = all.iter().flat_map(|known| [known.pod(), known.pod_name.clone()]).collect::<Vec<_>>();
        let names = names.iter().map(String::as_str).filter(|name| !name.is_empty());
        let advice = match nearest(&self.whom, names) {
            Some(name) => format!("did you mean {name}?"),
            None => "`coordinatorctl list` shows those that are".to_owned(),
        };
        Failure::NotFound { whom: self.whom.clone(), advice }
    }
}

/// The attachments of the Pod in a namespace.
fn at(all: &[Known], identity: (u64, u64)) -> Vec<Known> {
    let is_there = |known: &&Known| match known.record.as_ref().and_then(|record| record.namespace.as_ref()) {
        Some(recorded) => (recorded.device, recorded.inode) == identity,
        None => namespace(known).is_ok_and(|namespace| namespace.identity() == identity),
    };
    all.iter().filter(is_there).cloned().collect()
}

/// The attachments that a name means: a whole one before a part of one.
fn by_name(all: &[Known], name: &str) -> Vec<Known> {
    let meanings: [&dyn Fn(&Known) -> bool; 4] = [
        &|known| known.container.as_str() == name,
        &|known| known.pod() == name,
        &|known| known.pod_name == name,
        &|known| name.len() >= SHORTEST && known.container.as_str().starts_with(name),
    ];
    if name.is_empty() {
        return Vec::new();
    }
    let named = |is_meant: &dyn Fn(&Known) -> bool| all.iter().filter(|known| is_meant(known)).cloned().collect();
    meanings.into_iter().map(named).find(|found: &Vec<Known>| !found.is_empty()).unwrap_or_default()
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
        config: Value::Object(shown.collect()).into(),
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
