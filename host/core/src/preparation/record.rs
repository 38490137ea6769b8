//! What was there before the first preparation: read, added to, removed.

use serde::{Deserialize, Serialize};

use super::{Object, PreparationError, Root, Step, make_so};

/// Where the record is.
const FILE: &str = "/var/lib/coordinator/prepared.json";

/// The record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// In the order in which they were changed.
    pub(super) entries: Vec<Entry>,
    /// Parameters that the kernel sets along with others, and that had these values already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) along: Vec<(String, String)>,
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) object: Object,
    /// Before any preparation.
    pub(super) before: Option<String>,
    /// After the last one.
    pub(super) after: Option<String>,
}

impl Record {
    pub(super) fn read(root: &Root) -> Result<Self, PreparationError> {
        let path = root.at(FILE);
        match root.read(&path)? {
            Some(text) => serde_json::from_str(&text).map_err(|source| PreparationError::Record { path, source }),
            None => Ok(Self::default()),
        }
    }

    /// Adds a step; what was there before an earlier one is kept.
    pub(super) fn note(&mut self, step: &Step) {
        match self.entries.iter_mut().find(|entry| entry.object == step.object) {
            Some(entry) => entry.after.clone_from(&step.after),
            None => self.entries.push(Entry {
                object: step.object.clone(),
                before: step.before.clone(),
                after: step.after.clone(),
            }),
        }
    }

    pub(super) fn write(&self, root: &Root) -> Result<(), PreparationError> {
        let failed = |source| PreparationError::Record { path: root.at(FILE), source };
        let text = serde_json::to_string_pretty(self).map_err(failed)?;
        make_so(root, &Object::File(FILE.to_owned()), Some(&text))
    }

    pub(super) fn remove(root: &Root) -> Result<(), PreparationError> {
        make_so(root, &Object::File(FILE.to_owned()), None)
    }
}
