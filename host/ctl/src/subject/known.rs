//! The attachments that are known on this node: by our records, by what the runtime remembers, or by both.

use std::path::PathBuf;

use coordinator_core::record::{Record, Store, StoreError};
use coordinator_sdk::{ContainerId, InterfaceName};
use serde_json::{Map, Value};

use super::{
    Places,
    cache::{self, Remembered},
};
use crate::failure::Failure;

/// An attachment and what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) container: ContainerId,
    pub(crate) interface: InterfaceName,
    pub(crate) network: String,
    pub(crate) pod_namespace: String,
    pub(crate) pod_name: String,
    /// Our record of it.
    pub(crate) record: Option<Record>,
    /// What the runtime remembers of it.
    pub(crate) remembered: Option<Remembered>,
    /// Why there is a record and it cannot be used.
    pub(crate) broken: Option<String>,
}

impl Known {
    fn of_record(record: Record) -> Self {
        Self {
            container: record.container.clone(),
            interface: record.interface.clone(),
            network: record.network.clone(),
            pod_namespace: record.about.pod_namespace.clone(),
            pod_name: record.about.pod_name.clone(),
            record: Some(record),
            remembered: None,
            broken: None,
        }
    }

    /// An attachment whose record says nothing that could be trusted.
    fn of_broken(container: ContainerId, interface: InterfaceName, reason: String) -> Self {
        Self {
            container,
            interface,
            network: String::new(),
            pod_namespace: String::new(),
            pod_name: String::new(),
            record: None,
            remembered: None,
            broken: Some(reason),
        }
    }

    fn of_cache(remembered: Remembered) -> Self {
        Self {
            container: remembered.container.clone(),
            interface: remembered.interface.clone(),
            network: remembered.network.clone(),
            pod_namespace: remembered.arg("K8S_POD_NAMESPACE").to_owned(),
            pod_name: remembered.arg("K8S_POD_NAME").to_owned(),
            record: None,
            remembered: Some(remembered),
            broken: None,
        }
    }

    /// Where the Pod's namespace was when it was attached.
    pub(crate) fn namespace_path(&self) -> Option<PathBuf> {
        let recorded = self.record.as_ref().and_then(|record| record.namespace.as_ref());
        let remembered = || self.remembered.as_ref().and_then(|remembered| remembered.namespace.clone());
        recorded.map(|namespace| namespace.path.clone()).or_else(remembered)
    }

    /// The Pod, or nothing where nobody named one.
    pub(crate) fn pod(&self) -> String {
        match (self.pod_namespace.as_str(), self.pod_name.as_str()) {
            ("", name) => name.to_owned(),
            (namespace, name) => format!("{namespace}/{name}"),
        }
    }

    /// Which attachment it is, for programs.
    pub(crate) fn to_json(&self) -> Map<String, Value> {
        let fields = [
            ("container", self.container.as_str()),
            ("interface", self.interface.as_str()),
            ("network", &self.network),
            ("podNamespace", &self.pod_namespace),
            ("podName", &self.pod_name),
        ];
        fields.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect()
    }

    /// Why a command that needs our record cannot answer.
    pub(crate) fn not_attached(&self) -> Failure {
        match self.broken.clone() {
            Some(reason) => Failure::BrokenRecord { whom: self.described(), reason },
            None => Failure::NotAttached { whom: self.described() },
        }
    }

    /// Whose attachment it is: the container and, where somebody named it, the Pod.
    pub(crate) fn pod_and_container(&self) -> String {
        let container = self.container.prefix(12);
        match self.pod().as_str() {
            "" => container.to_owned(),
            pod => format!("{container} ({pod})"),
        }
    }

    /// The attachment and, where somebody named it, its Pod.
    pub(crate) fn described(&self) -> String {
        match self.pod().as_str() {
            "" => self.short(),
            pod => format!("{} ({pod})", self.short()),
        }
    }

    /// `CONTAINER/INTERFACE`, the container's id cut to what tells it from others.
    pub(crate) fn short(&self) -> String {
        format!("{}/{}", self.container.prefix(12), self.interface)
    }
}

/// All of them, sorted by container and interface.
///
/// # Errors
/// A record cannot be read or trusted.
pub(crate) fn all(places: &Places) -> Result<Vec<Known>, Failure> {
    let mut known: Vec<Known> = Vec::new();
    if let Some(store) = Store::existing(&places.state)? {
        let mut containers: Vec<ContainerId> = store.containers()?.collect();
        containers.sort();
        for container in containers {
            match store.look(&container) {
                Ok(records) => known.extend(records.into_iter().map(Known::of_record)),
                // One that is broken hides none of another container.
                Err(StoreError::Broken { container, interface, reason }) => {
                    let interface = interface.parse().unwrap_or_else(|_| InterfaceName::first());
                    known.push(Known::of_broken(container, interface, reason));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    for remembered in cache::read(&places.cache) {
        let is_same =
            |it: &&mut Known| (&it.container, &it.interface) == (&remembered.container, &remembered.interface);
        let mut same: Vec<&mut Known> = known.iter_mut().filter(is_same).collect();
        if same.is_empty() {
            known.push(Known::of_cache(remembered));
            continue;
        }
        for it in &mut same {
            let named = Known::of_cache(remembered.clone());
            if it.pod_name.is_empty() {
                (it.pod_namespace, it.pod_name) = (named.pod_namespace, named.pod_name);
            }
            if it.network.is_empty() {
                it.network = named.network;
            }
            it.remembered = named.remembered;
        }
    }
    known.sort_by(|left, right| (&left.container, &left.interface).cmp(&(&right.container, &right.interface)));
    Ok(known)
}
