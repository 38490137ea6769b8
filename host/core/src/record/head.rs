//! The first line of a record's file: whose it is, and what other attachments must know of it.

use std::net::IpAddr;

use coordinator_sdk::{ContainerId, InterfaceName, Model};
use serde::{Deserialize, Serialize};

use super::{Moved, NamespaceIdentity, Record, StoreError, VERSION, checked, moved, outline::Claims};

/// The oldest version that is understood: its first line holds the models too, and no claims beside them.
const FIRST_VERSION: u32 = 1;

/// What the line holds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    version: u32,
    pub(super) container: ContainerId,
    pub(super) interface: InterfaceName,
    pub(super) network: String,
    pub(super) namespace: Option<NamespaceIdentity>,
    pub(super) table: Option<u32>,
    #[serde(default)]
    pub(super) addresses: Vec<IpAddr>,
    pub(super) route_sources: Vec<IpAddr>,
    /// What is claimed.
    #[serde(default)]
    pub(super) claims: Claims,
    #[serde(default)]
    pub(super) moved: Vec<Moved>,
    #[serde(default, skip_serializing)]
    before: Option<Model>,
    #[serde(default, skip_serializing)]
    after: Option<Model>,
    /// Before and after, of a record of the first version.
    #[serde(skip)]
    pub(super) models: Option<Box<[Model; 2]>>,
}

impl Head {
    /// The first line of this record.
    pub(super) fn of(record: &Record) -> Self {
        Self {
            version: VERSION,
            container: record.container.clone(),
            interface: record.interface.clone(),
            network: record.network.clone(),
            namespace: record.namespace.clone(),
            table: record.table,
            addresses: record.addresses.clone(),
            route_sources: record.route_sources.clone(),
            claims: Claims::of(&record.after),
            moved: record.moved(),
            before: None,
            after: None,
            models: None,
        }
    }

    /// The inverse, or what is wrong with the line.
    pub(super) fn of_line(line: &str) -> Result<Self, String> {
        let mut head: Self = serde_json::from_str(line).map_err(|error| error.to_string())?;
        if !(FIRST_VERSION..=VERSION).contains(&head.version) {
            let known = format!("{FIRST_VERSION} to {VERSION}");
            return Err(format!("it has version {}, and this program knows versions {known}", head.version));
        }
        if head.version == FIRST_VERSION {
            let missing = || format!("it has version {FIRST_VERSION} and lacks what was before or after");
            let (before, after) = head.before.take().zip(head.after.take()).ok_or_else(missing)?;
            head.claims = Claims::of(&after);
            head.moved = moved(&before, &after);
            head.models = Some(Box::new([checked(before)?, checked(after)?]));
        }
        Ok(head)
    }

    /// The error that says that the record cannot be used.
    pub(super) fn broken(&self, reason: String) -> StoreError {
        StoreError::Broken { container: self.container.clone(), interface: self.interface.to_string(), reason }
    }
}
