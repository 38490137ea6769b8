//! Records as files, and the locks around them: a directory for each container, a file for each
//! interface.
//!
//! The container's lock is taken first, then the node's. A container's directory exists while a record
//! or a call needs it, so the cost of a call does not grow with what the node holds.

mod look;

use std::{ops::ControlFlow, path::Path, time::Duration};

use coordinator_sdk::{ContainerId, InterfaceName, Key};
use coordinator_stages::kernel::directory::{Directory, DirectoryError, Lock, Share};

use super::{Fingerprint, Outline, Record, State};

/// The most that a record may take, bytes.
const LIMIT: u64 = 16 << 20;
const SUFFIX: &str = ".json";

/// Why records cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory or a file in it.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A record cannot be understood or trusted.
    #[error("the record of {container}/{interface} cannot be used: {reason}")]
    Broken {
        /// Whose.
        container: ContainerId,
        /// Which interface.
        interface: String,
        /// Why.
        reason: String,
    },
}

impl StoreError {
    /// True when waiting may help.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Directory(DirectoryError::Locked { .. }))
    }
}

/// The node's records.
#[derive(Debug)]
pub struct Store {
    directory: Directory,
}

/// A container that no other call works on; dropping it lets go and removes what stands empty.
#[derive(Debug)]
pub struct ContainerLock<'s> {
    store: &'s Store,
    container: ContainerId,
    directory: Directory,
    /// None while the lock is let go of.
    lock: Option<Lock>,
}

impl Store {
    /// Opens the directory of records, made when it is missing.
    ///
    /// # Errors
    /// It cannot be opened, or others could write into it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { directory: Directory::open_private(path)? })
    }

    /// Locks a container against other calls.
    ///
    /// # Errors
    /// Another call holds it for longer than `patience`, or the directory cannot be used.
    pub fn lock_container(&self, container: &ContainerId, patience: Duration) -> Result<ContainerLock<'_>, StoreError> {
        loop {
            let directory = self.directory.make_directory(container.as_str())?;
            let lock = directory.lock(Share::Exclusive, patience)?;
            // The call that held it before may have removed the directory: it is made again then.
            if directory.still_exists() {
                return Ok(ContainerLock { store: self, container: container.clone(), directory, lock: Some(lock) });
            }
        }
    }

    /// Locks what the containers of the node share.
    ///
    /// # Errors
    /// Another call holds it for longer than `patience`.
    pub fn lock_node(&self, share: Share, patience: Duration) -> Result<Lock, StoreError> {
        Ok(self.directory.lock(share, patience)?)
    }

    /// The containers that have records.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn containers(&self) -> Result<impl Iterator<Item = ContainerId>, StoreError> {
        Ok(self.directory.names()?.filter_map(|name| name.parse().ok()))
    }

    /// Shows every record of the node.
    ///
    /// # Errors
    /// A record cannot be read: what it claims is not known then.
    pub fn visit(&self, mut visit: impl FnMut(&Record)) -> Result<(), StoreError> {
        self.search(|outline| {
            visit(&outline.record()?);
            Ok(ControlFlow::Continue(()))
        })
    }

    /// True when a record of another attachment claims an object; the first one ends the search.
    ///
    /// # Errors
    /// A record cannot be read: what it claims is not known then.
    pub fn is_claimed_beside(&self, whose: (&ContainerId, &InterfaceName), key: &Key) -> Result<bool, StoreError> {
        let fingerprint = Fingerprint::of(key);
        let mut is_found = false;
        self.search(|outline| {
            let is_another = (outline.container(), outline.interface()) != whose;
            is_found = is_another && outline.claims(fingerprint) && outline.record()?.after.has_own(key);
            Ok(if is_found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(is_found)
    }

    fn search(&self, mut visit: impl FnMut(&Outline) -> Result<ControlFlow<()>, StoreError>) -> Result<(), StoreError> {
        for container in self.containers()? {
            let Some(directory) = self.directory.directory(container.as_str())? else { continue };
            for name in entries(&directory)? {
                if let Some(outline) = open(&directory, &container, &name)?
                    && visit(&outline)?.is_break()
                {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

impl ContainerLock<'_> {
    /// The outlines of the container's records, by interface, a committed one before the intent that is to replace it.
    ///
    /// # Errors
    /// One cannot be read or trusted.
    pub fn outlines(&self) -> Result<Vec<Outline>, StoreError> {
        outlines(&self.directory, &self.container)
    }

    /// The container's records, in the order of [`ContainerLock::outlines`].
    ///
    /// # Errors
    /// One cannot be read or trusted.
    pub fn records(&self) -> Result<Vec<Record>, StoreError> {
        self.outlines()?.iter().map(Outline::record).collect()
    }

    /// As [`ContainerLock::records`], but removes those that cannot be used: what they claimed is not
    /// known any more, and they would stand in the way for ever.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub fn usable_records(&self) -> Result<Vec<Record>, StoreError> {
        for entry in entries(&self.directory)? {
            let outline = open(&self.directory, &self.container, &entry);
            if let Err(error) = outline.and_then(|outline| outline.map(|it| it.record()).transpose()) {
                tracing::error!(%error, "The record is removed.");
                self.directory.remove(&entry.file())?;
            }
        }
        self.records()
    }

    /// Writes a record anew, in one step: what another attachment's end changes in it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn update(&self, record: &Record) -> Result<(), StoreError> {
        self.write(record, record.state)
    }

    /// Writes an intent; a committed record of the attachment stays.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn intend(&self, record: &Record) -> Result<(), StoreError> {
        self.write(record, State::Intent)
    }

    fn write(&self, record: &Record, state: State) -> Result<(), StoreError> {
        let broken = |error: serde_json::Error| StoreError::Broken {
            container: self.container.clone(),
            interface: record.interface.to_string(),
            reason: error.to_string(),
        };
        let text = record.to_text().map_err(broken)?;
        Ok(self.directory.write(&Entry::of(record, state).file(), &text)?)
    }

    /// Puts an attachment's intent into the place of its committed record.
    ///
    /// # Errors
    /// There is no intent, or it cannot be renamed.
    pub fn commit(&self, record: &Record) -> Result<(), StoreError> {
        let [from, to] = [State::Intent, State::Committed].map(|state| Entry::of(record, state).file());
        Ok(self.directory.rename(&from, &to)?)
    }

    /// Lets go of the lock while `work` runs, and takes it again: the records may be others then.
    ///
    /// # Errors
    /// Another call holds it for longer than `patience`: it is not held any more.
    pub fn released<T>(&mut self, patience: Duration, work: impl FnOnce() -> T) -> Result<T, StoreError> {
        self.lock = None;
        let result = work();
        *self = self.store.lock_container(&self.container, patience)?;
        Ok(result)
    }

    /// False after [`ContainerLock::released`] could not take the lock again.
    pub fn is_held(&self) -> bool {
        self.lock.is_some()
    }

    /// Removes a record; the attachment's other one stays.
    ///
    /// # Errors
    /// It is there and cannot be removed.
    pub fn remove(&self, record: &Record) -> Result<(), StoreError> {
        Ok(self.directory.remove(&Entry::of(record, record.state).file())?)
    }
}

impl Drop for ContainerLock<'_> {
    fn drop(&mut self) {
        if self.lock.is_none() {
            return;
        }
        // Under the lock still, so that nobody is between its opening and its first file.
        self.store.directory.remove_empty(self.container.as_str());
    }
}

/// What a record's file name says.
struct Entry {
    interface: String,
    state: State,
}

impl Entry {
    fn of(record: &Record, state: State) -> Self {
        Self { interface: record.interface.to_string(), state }
    }

    fn parse(file: &str) -> Option<Self> {
        let stem = file.strip_suffix(SUFFIX)?;
        let states = [State::Intent, State::Committed].into_iter();
        states
            .filter_map(|state| Some((stem.strip_prefix(prefix(state))?.to_owned(), state)))
            .next()
            .map(|(interface, state)| Self { interface, state })
    }

    fn file(&self) -> String {
        format!("{}{}{SUFFIX}", prefix(self.state), self.interface)
    }
}

/// An interface may be called `.a`; no file in the directory may begin with a dot but drafts.
fn prefix(state: State) -> &'static str {
    match state {
        State::Committed => "if-",
        State::Intent => "intent-",
    }
}

fn entries(directory: &Directory) -> Result<Vec<Entry>, StoreError> {
    Ok(directory.names()?.filter_map(|name| Entry::parse(&name)).collect())
}

fn outlines(directory: &Directory, container: &ContainerId) -> Result<Vec<Outline>, StoreError> {
    let mut names = entries(directory)?;
    names.sort_unstable_by(|left, right| {
        (&left.interface, prefix(left.state)).cmp(&(&right.interface, prefix(right.state)))
    });
    names.iter().filter_map(|name| open(directory, container, name).transpose()).collect()
}

fn open(directory: &Directory, container: &ContainerId, entry: &Entry) -> Result<Option<Outline>, StoreError> {
    let Some(reading) = directory.reading(&entry.file(), LIMIT)? else { return Ok(None) };
    Outline::read(reading, entry.state, (container, &entry.interface)).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Sealed, State};
    use coordinator_sdk::{Family, KnownRule, Model, PROTOCOL, Rule, Side, Sysctl};

    const PATIENCE: Duration = Duration::from_millis(20);

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("state")).unwrap();
        (directory, store)
    }

    fn id(text: &str) -> ContainerId {
        text.parse().unwrap()
    }

    fn record(container: &str, interface: &str) -> Record {
        Record {
            container: id(container),
            interface: interface.parse().unwrap(),
            network: "net".to_owned(),
            state: State::Intent,
            namespace: None,
            about: Sealed::default(),
            table: None,
            addresses: Vec::new(),
            route_sources: Vec::new(),
            before: Model::default(),
            after: Model::default(),
            plan: Sealed::default(),
        }
    }

    #[test]
    fn a_record_comes_back_and_the_last_one_takes_the_directory_along() {
        let (_directory, store) = store();
        let lock = store.lock_container(&id("c1"), PATIENCE).unwrap();
        lock.intend(&record("c1", "net1")).unwrap();
        lock.intend(&record("c1", ".eth0")).unwrap();
        lock.commit(&record("c1", ".eth0")).unwrap();
        lock.intend(&record("c1", ".eth0")).unwrap();
        let committed = Record { state: State::Committed, ..record("c1", ".eth0") };
        assert_eq!(lock.records().unwrap(), [committed.clone(), record("c1", ".eth0"), record("c1", "net1")]);
        lock.remove(&record("c1", ".eth0")).unwrap();
        assert_eq!(lock.records().unwrap(), [committed.clone(), record("c1", "net1")]);
        drop(lock);
        assert_eq!(store.containers().unwrap().collect::<Vec<_>>(), [id("c1")]);
        let lock = store.lock_container(&id("c1"), PATIENCE).unwrap();
        lock.remove(&record("c1", "net1")).unwrap();
        lock.remove(&committed).unwrap();
        drop(lock);
        assert_eq!(store.containers().unwrap().count(), 0);
    }

    #[test]
    fn claims_of_others_are_found_and_ones_own_are_not() {
        let (_directory, store) = store();
        let rule = |table| Rule::all(Side::Node, Family::Ipv4, 1000, table);
        for (container, table) in [("c1", 500), ("c2", 501), ("c3", 501)] {
            let mut record = record(container, "eth0");
            record.after.rules.push(KnownRule { rule: rule(table), protocol: PROTOCOL });
            store.lock_container(&id(container), PATIENCE).unwrap().intend(&record).unwrap();
        }
        let is_claimed_beside = |container, table| {
            let whose = (&id(container), &"eth0".parse().unwrap());
            store.is_claimed_beside(whose, &Key::Rule(rule(table))).unwrap()
        };
        assert!(is_claimed_beside("c1", 501) && is_claimed_beside("c2", 501) && is_claimed_beside("c2", 500));
        assert!(!is_claimed_beside("c1", 500) && !is_claimed_beside("c1", 502));
        let mut seen = Vec::new();
        store.visit(|record| seen.push(record.container.to_string())).unwrap();
        seen.sort_unstable();
        assert_eq!(seen, ["c1", "c2", "c3"]);
    }

    #[test]
    fn a_record_that_could_reach_further_is_broken() {
        let (_directory, store) = store();
        let lock = store.lock_container(&id("c1"), PATIENCE).unwrap();
        let mut far = record("c1", "eth0");
        far.before.sysctls.push(Sysctl {
            side: Side::Pod,
            key: "net/core/somaxconn".to_owned(),
            value: "1".to_owned(),
        });
        lock.intend(&far).unwrap();
        assert!(matches!(lock.outlines().unwrap()[0].before(), Err(StoreError::Broken { .. })));
        assert!(matches!(lock.records(), Err(StoreError::Broken { .. })));
        let fine = record("c1", "eth0").to_text().unwrap();
        let head = fine.lines().next().unwrap();
        let newer = fine.replace("{\"version\":2,", "{\"version\":3,");
        let other = record("c2", "eth0").to_text().unwrap();
        for text in ["{", "", "\n{}\n{}\n", &newer, &other, head, &format!("{head}\n{{}}\n{{\n")] {
            lock.directory.write("intent-eth0.json", text).unwrap();
            assert!(matches!(lock.records(), Err(StoreError::Broken { .. })), "{text:?}");
        }
        lock.intend(&record("c1", "net1")).unwrap();
        assert_eq!(lock.usable_records().unwrap(), [record("c1", "net1")]);
        assert_eq!(lock.records().unwrap().len(), 1);
    }

    #[test]
    fn one_call_at_a_time_works_on_a_container() {
        let (_directory, store) = store();
        let held = store.lock_container(&id("c1"), PATIENCE).unwrap();
        assert!(store.lock_container(&id("c1"), PATIENCE).unwrap_err().is_locked());
        let _other = store.lock_container(&id("c2"), PATIENCE).unwrap();
        let patient = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| store.lock_container(&id("c1"), Duration::from_secs(10)).is_ok());
            std::thread::sleep(PATIENCE);
            // The directory goes with the lock; whoever waits makes it again.
            drop(held);
            waiting.join().unwrap()
        });
        assert!(patient);
    }

    #[test]
    fn a_lock_that_is_let_go_of_is_another_calls_meanwhile() {
        let (_directory, store) = store();
        let mut lock = store.lock_container(&id("c1"), PATIENCE).unwrap();
        lock.released(PATIENCE, || {
            let other = store.lock_container(&id("c1"), PATIENCE).unwrap();
            other.intend(&record("c1", "net1")).unwrap();
        })
        .unwrap();
        assert!(lock.is_held());
        assert_eq!(lock.records().unwrap(), [record("c1", "net1")]);
        assert!(store.lock_container(&id("c1"), PATIENCE).unwrap_err().is_locked());
        let kept = std::cell::RefCell::new(None);
        let lost = lock.released(PATIENCE, || *kept.borrow_mut() = store.lock_container(&id("c1"), PATIENCE).ok());
        assert!(lost.unwrap_err().is_locked() && !lock.is_held());
        drop(lock);
        assert_eq!(store.containers().unwrap().count(), 1, "whoever holds the lock now removes the directory");
    }
}
