//! What is known of one attachment between two calls: its claims, and how to give them back.
//!
//! A record is written before the first change of the kernel (an intent) and committed after the last, so
//! that a killed call leaves enough for the next one to clean up. The intent of a repeated ADD stands
//! beside the committed record until then. Records are facts about our
//! own objects, and are checked again when they are read: nothing acts on one that could reach further.

mod about;
mod head;
mod outline;
mod sealed;
mod store;

use std::{borrow::Cow, collections::BTreeSet, net::IpAddr, path::PathBuf};

use coordinator_sdk::{ContainerId, Device, InterfaceName, Key, KnownRoute, Model, PROTOCOL, Plan};
use serde::{Deserialize, Serialize};

pub use about::{About, Attribution};
pub use coordinator_stages::kernel::directory::Share;
use coordinator_stages::kernel::namespace::Namespace;
use head::Head;
pub use outline::{Fingerprint, Moved, Outline};
pub use sealed::Sealed;
pub use store::{ContainerLock, Store, StoreError};

/// The version of the form in which records are written.
pub const VERSION: u32 = 2;
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

    /// As [`State::interrupted`], by outlines.
    pub fn interrupted_of(outlines: &[Outline]) -> Vec<InterfaceName> {
        let intents = outlines.iter().filter(|outline| outline.state() == Self::Intent);
        intents.map(|outline| outline.interface().clone()).collect()
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

impl NamespaceIdentity {
    /// True for the namespace that was recorded, not for another one that has its path now.
    pub fn is(&self, namespace: &Namespace) -> bool {
        (self.device, self.inode) == namespace.identity()
    }
}

/// One attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Whose.
    pub container: ContainerId,
    /// Which interface.
    pub interface: InterfaceName,
    /// The network's name.
    pub network: String,
    /// How far the call came: the file's name says it, so that a commitment is a rename.
    pub state: State,
    /// The Pod's namespace.
    pub namespace: Option<NamespaceIdentity>,
    /// What the call said.
    pub about: Sealed<About>,
    /// The table of the interface's own, when it has one.
    pub table: Option<u32>,
    /// The interface's addresses.
    pub addresses: Vec<IpAddr>,
    /// The node's source addresses towards the Pod, seen before our own routes were there.
    pub route_sources: Vec<IpAddr>,
    /// The objects that were touched, as they were before any attachment of the container touched them.
    pub before: Model,
    /// The objects that were touched, as they are wanted: the attachment's claims.
    pub after: Model,
    /// What was done, and why.
    pub plan: Sealed<Plan>,
}

impl Record {
    /// Routes of others that the attachment took away or moved: they return with its end.
    pub fn lost(&self) -> impl Iterator<Item = &KnownRoute> {
        lost(&self.before, &self.after)
    }

    /// Routes of others that the attachment took to other tables, where it still claims them.
    pub fn moved(&self) -> Vec<Moved> {
        moved(&self.before, &self.after)
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

    /// The record as its file has it, a line each: what others must know, what was, what is claimed, and two lines
    /// for people.
    fn to_text(&self) -> serde_json::Result<String> {
        let mut text = serde_json::to_string(&Head::of(self))?;
        let models = [&self.before, &self.after].map(serde_json::to_string);
        let [before, after] = models.map(|text| text.map(Cow::Owned));
        for line in [before, after, self.about.text(), self.plan.text()] {
            text.push('\n');
            text.push_str(&line?);
        }
        text.push('\n');
        Ok(text)
    }

    /// The inverse of [`Record::to_text`], or what is wrong with the text; the lines for people may be missing.
    fn of_text(text: &str, state: State) -> Result<Self, String> {
        let mut lines = text.split('\n');
        let mut head = Head::of_line(lines.next().unwrap_or_default())?;
        let [before, after] = match head.models.take() {
            Some(models) => *models,
            None => {
                let [before, after] = [lines.next(), lines.next()].map(model_in);
                [before?, after?]
            }
        };
        let [about, plan] = [lines.next(), lines.next()].map(Option::unwrap_or_default);
        Ok(Self {
            container: head.container,
            interface: head.interface,
            network: head.network,
            state,
            namespace: head.namespace,
            about: Sealed::of_text(about),
            table: head.table,
            addresses: head.addresses,
            route_sources: head.route_sources,
            before,
            after,
            plan: Sealed::of_text(plan),
        })
    }
}

/// Routes of others that are not there any more.
fn lost<'m>(before: &'m Model, after: &'m Model) -> impl Iterator<Item = &'m KnownRoute> {
    let stays = |known: &KnownRoute| after.routes.iter().any(|after| after.same(known));
    before.routes.iter().filter(move |known| known.protocol != PROTOCOL && !stays(known))
}

/// Those of them that are ours now, elsewhere.
fn moved(before: &Model, after: &Model) -> Vec<Moved> {
    let image = |from: &KnownRoute| {
        let to = after.routes.iter().find(|known| known.protocol == PROTOCOL && known.is_like(from))?;
        Some(Moved { from: from.clone(), table: to.route.table })
    };
    lost(before, after).filter_map(image).collect()
}

/// A model that can be acted on, or what is wrong with it.
fn model_in(line: Option<&str>) -> Result<Model, String> {
    let model: Model = serde_json::from_str(line.unwrap_or_default()).map_err(|error| error.to_string())?;
    checked(model)
}

/// The model, or why nothing may act on it.
fn checked(model: Model) -> Result<Model, String> {
    let counts = [model.links.len(), model.addresses.len(), model.routes.len(), model.rules.len()];
    if counts.into_iter().chain([model.neighbours.len(), model.sysctls.len()]).any(|count| count > MOST) {
        return Err(format!("it names more than {MOST} objects of one kind"));
    }
    match model.sysctls.iter().find(|sysctl| !is_ours_to_write(&sysctl.key)) {
        Some(sysctl) => Err(format!("it names the parameter {:?}, which is none of ours", sysctl.key)),
        None => Ok(model),
    }
}

/// True for `net/<family>/conf/<interface>/<name>`.
fn is_ours_to_write(key: &str) -> bool {
    let parts: Vec<&str> = key.split('/').collect();
    matches!(parts.as_slice(), ["net", "ipv4" | "ipv6", "conf", interface, _] if interface.parse::<InterfaceName>().is_ok())
}
