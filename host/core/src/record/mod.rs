//! What is known of one attachment between two calls: its claims, and how to give them back.
//!
//! A record is written before the first change of the kernel (an intent) and committed after the last, so
//! that a killed call leaves enough for the next one to clean up. The intent of a repeated ADD stands
//! beside the committed record until then. Records are facts about our
//! own objects, and are checked again when they are read: nothing acts on one that could reach further.

mod about;
mod sealed;
mod store;

use std::{collections::BTreeSet, net::IpAddr, path::PathBuf};

use coordinator_sdk::{ContainerId, Device, InterfaceName, Key, KnownRoute, Model, PROTOCOL, Plan};
use serde::{Deserialize, Serialize};

pub use about::{About, Attribution};
pub use coordinator_stages::kernel::directory::Share;
pub use sealed::Sealed;
pub use store::{ContainerLock, Store, StoreError};

/// The version of the form in which records are written.
pub const VERSION: u32 = 1;
/// More objects of one kind than an attachment touches.
const MOST: usize = 8192;

/// How far a call came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// The kernel may have been changed, wholly, partly or not at all.
    #[default]
    Intent,
    /// The attachment is as the record says.
    Committed,
}

impl State {
    /// The interfaces whose call did not end: what it gave up is in the committed record still, so both
    /// their records are cleaned up after.
    pub fn interrupted(records: &[Record]) -> Vec<InterfaceName> {
        let intents = records.iter().filter(|record| record.state == Self::Intent);
        intents.map(|record| record.interface.clone()).collect()
    }
}

/// A network namespace that can be told from another one that has its path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceIdentity {
    /// Where it was.
    pub path: PathBuf,
    /// Device of its file.
    pub device: u64,
    /// Inode of its file.
    pub inode: u64,
}

/// One attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`VERSION`].
    pub version: u32,
    /// Whose.
    pub container: ContainerId,
    /// Which interface.
    pub interface: InterfaceName,
    /// The network's name.
    pub network: String,
    /// How far the call came: the file's name says it, so that a commitment is a rename.
    #[serde(skip)]
    pub state: State,
    /// The Pod's namespace.
    pub namespace: Option<NamespaceIdentity>,
    /// What the call said: the file's second line.
    #[serde(skip)]
    pub about: Sealed<About>,
    /// The table of the interface's own, when it has one.
    pub table: Option<u32>,
    /// The interface's addresses.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// The node's source addresses towards the Pod, seen before our own routes were there.
    pub route_sources: Vec<IpAddr>,
    /// The objects that were touched, as they were before any attachment of the container touched them.
    pub before: Model,
    /// The objects that were touched, as they are wanted: the attachment's claims.
    pub after: Model,
    /// What was done, and why: the file's third line.
    #[serde(skip)]
    pub plan: Sealed<Plan>,
}

impl Record {
    /// Routes of others that the attachment took away or moved: they return with its end.
    pub fn lost(&self) -> impl Iterator<Item = &KnownRoute> {
        let stays = |known: &KnownRoute| self.after.routes.iter().any(|after| after.same(known));
        self.before.routes.iter().filter(move |known| known.protocol != PROTOCOL && !stays(known))
    }

    /// Links that the attachment raised, and what they would lose with the attachment's end.
    pub fn raised(&self) -> BTreeSet<Key> {
        let is_up = |model: &Model, device| model.link(device).map(|link| link.flags.up);
        let links = self.after.links.iter().map(|link| &link.device);
        let raised = links.filter(|it| is_up(&self.before, it) == Some(false) && is_up(&self.after, it) == Some(true));
        let keys = |device: &Device| {
            let addresses = self.before.addresses_of(device);
            let addresses: Vec<Key> = addresses.map(|it| Key::Address(it.device.clone(), it.prefix)).collect();
            addresses.into_iter().chain([Key::Link(device.clone())])
        };
        raised.flat_map(keys).collect()
    }

    /// Stage and reason of an object that the attachment claims.
    pub fn attribution(&self, key: &Key) -> Option<Attribution> {
        let planned = self.plan.edits.iter().find(|planned| about::is_about(&planned.edit, key));
        let planned = planned.map(|planned| (planned.stage.clone(), planned.why.clone()));
        let object = key.to_string();
        let earlier = || self.about.attributions.iter().find(|it| it.object == object).cloned();
        planned.map(|(stage, why)| Attribution { object: object.clone(), stage, why }).or_else(earlier)
    }

    /// The record as its file has it: a line with what calls act on, and two for people.
    fn to_text(&self) -> serde_json::Result<String> {
        let mut text = serde_json::to_string(self)?;
        for line in [self.about.text()?, self.plan.text()?] {
            text.push('\n');
            text.push_str(&line);
        }
        text.push('\n');
        Ok(text)
    }

    /// The inverse of [`Record::to_text`]; the lines for people may be missing.
    fn of_text(text: &str) -> serde_json::Result<Self> {
        let mut lines = text.split('\n');
        let record: Self = serde_json::from_str(lines.next().unwrap_or_default())?;
        let [about, plan] = [lines.next(), lines.next()].map(Option::unwrap_or_default);
        Ok(Self { about: Sealed::of_text(about), plan: Sealed::of_text(plan), ..record })
    }

    /// What is wrong with a record that was read; nothing when it can be acted on.
    fn problem(&self, container: &ContainerId, interface: &str) -> Option<String> {
        if self.version != VERSION {
            return Some(format!("it has version {}, and this program knows version {VERSION}", self.version));
        }
        if self.container != *container || self.interface.as_str() != interface {
            return Some(format!("it is about {}/{}", self.container, self.interface));
        }
        for model in [&self.before, &self.after] {
            let counts = [model.links.len(), model.addresses.len(), model.routes.len(), model.rules.len()];
            if counts.into_iter().chain([model.neighbours.len(), model.sysctls.len()]).any(|count| count > MOST) {
                return Some(format!("it names more than {MOST} objects of one kind"));
            }
            if let Some(sysctl) = model.sysctls.iter().find(|sysctl| !is_ours_to_write(&sysctl.key)) {
                return Some(format!("it names the parameter {:?}, which is none of ours", sysctl.key));
            }
        }
        None
    }
}

/// True for `net/<family>/conf/<interface>/<name>`.
fn is_ours_to_write(key: &str) -> bool {
    let parts: Vec<&str> = key.split('/').collect();
    matches!(parts.as_slice(), ["net", "ipv4" | "ipv6", "conf", interface, _] if interface.parse::<InterfaceName>().is_ok())
}
