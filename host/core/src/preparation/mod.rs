//! Making a node ready for underlay Pods: kernel parameters, and NetworkManager's hands off our links.
//!
//! What differs is a list of steps, each with its reason; nothing else is touched, so preparing twice is as once. What
//! was there before goes into a record beside the defaults, and [`restore`] brings it back where nobody changed it
//! meanwhile. Values are only raised: a node that was tuned already stays as it is.
//!
//! The plugin never does any of this: a Pod's start is no time to change a node.

mod record;
mod wanted;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use record::Record;
pub use wanted::{Liberal, wanted};

/// Where the node's files are: `/`, or a test's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(pub PathBuf);

impl Default for Root {
    fn default() -> Self {
        Self(PathBuf::from("/"))
    }
}

impl Root {
    /// The path of a file of the node.
    pub fn at(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// The path of a kernel parameter, `net.ipv4.ip_forward` being its name; names of interfaces may hold dots, so the
    /// name is written with slashes here.
    fn parameter(&self, key: &str) -> PathBuf {
        self.0.join("proc/sys").join(key)
    }

    /// What a family has parameters for: interfaces, and `all` and `default`.
    fn interfaces(&self, family: &str) -> Vec<String> {
        let folder = self.at(&format!("/proc/sys/net/{family}/conf"));
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        names
    }

    fn read(&self, path: &Path) -> Result<Option<String>, PreparationError> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(PreparationError::Io { what: "read", path: path.to_owned(), source }),
        }
    }
}

/// Why a node cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PreparationError {
    /// The system refuses.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The record of an earlier preparation is of another form.
    #[error("{path} cannot be understood: {source}; without it nothing can be brought back")]
    Record {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
}

/// What is changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Object {
    /// A kernel parameter, its path below `/proc/sys`.
    Parameter(String),
    /// A file, its absolute path.
    File(String),
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Of what.
    pub object: Object,
    /// What is there; absent when nothing is.
    pub before: Option<String>,
    /// What will be there; absent when nothing will.
    pub after: Option<String>,
    /// The reason, in one sentence.
    pub why: String,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { before, after, why, .. } = self;
        match &self.object {
            Object::Parameter(key) => {
                let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
                write!(f, "{key}: {} → {} ({why})", shown(before), shown(after))
            }
            Object::File(path) => {
                let verb = match (before, after) {
                    (None, _) => "write",
                    (_, None) => "remove",
                    _ => "change",
                };
                write!(f, "{verb} {path} ({why})")
            }
        }
    }
}

/// Does the steps, in their order. The record is written before the first one, so a killed call can be brought back.
///
/// # Errors
/// A step fails; what was done before it stays, and is in the record.
pub fn apply(root: &Root, steps: &[Step]) -> Result<(), PreparationError> {
    if steps.is_empty() {
        return Ok(());
    }
    let mut record = Record::read(root)?;
    for step in steps {
        let along = along(root, step)?;
        record.along.extend(along);
        record.note(step);
    }
    record.write(root)?;
    steps.iter().try_for_each(|step| make_so(root, &step.object, step.after.as_deref()))
}

/// The kernel gives every interface what `all/forwarding` gets: those that had it already must have it again when that is
/// taken back.
fn along(root: &Root, step: &Step) -> Result<Vec<(String, String)>, PreparationError> {
    let (Object::Parameter(key), Some(after)) = (&step.object, &step.after) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for family in ["ipv4", "ipv6"].into_iter().filter(|family| *key == format!("net/{family}/conf/all/forwarding")) {
        for interface in root.interfaces(family).into_iter().filter(|interface| interface != "all") {
            let key = format!("net/{family}/conf/{interface}/forwarding");
            if look(root, &Object::Parameter(key.clone()))?.as_ref() == Some(after) {
                found.push((key, after.clone()));
            }
        }
    }
    Ok(found)
}

/// The steps that bring back what was before, and what stays because somebody changed it meanwhile.
///
/// # Errors
/// The record or a value cannot be read.
pub fn restoration(root: &Root) -> Result<(Vec<Step>, Vec<String>), PreparationError> {
    let record = Record::read(root)?;
    let (mut steps, mut stays) = (Vec::new(), Vec::new());
    // The last change first: a parameter may have been changed to allow another one.
    for entry in record.entries.iter().rev() {
        let now = look(root, &entry.object)?;
        if now == entry.before {
            continue;
        }
        if now == entry.after {
            let why = "as it was before".to_owned();
            steps.push(Step { object: entry.object.clone(), before: now, after: entry.before.clone(), why });
        } else {
            let name = match &entry.object {
                Object::Parameter(name) | Object::File(name) => name,
            };
            stays.push(format!("{name} was changed by somebody since: it stays"));
        }
    }
    Ok((steps, stays))
}

/// Brings back what was before, and forgets that the node was prepared.
///
/// # Errors
/// A step fails; the record stays, so that it can be tried again.
pub fn restore(root: &Root, steps: &[Step]) -> Result<(), PreparationError> {
    let mut along = Vec::new();
    for (key, value) in Record::read(root)?.along {
        let object = Object::Parameter(key);
        // Gone with its interface, or changed by somebody since: it stays so.
        if look(root, &object)?.as_ref() == Some(&value) {
            along.push((object, value));
        }
    }
    steps.iter().try_for_each(|step| make_so(root, &step.object, step.after.as_deref()))?;
    along.iter().try_for_each(|(object, value)| make_so(root, object, Some(value)))?;
    Record::remove(root)
}

fn look(root: &Root, object: &Object) -> Result<Option<String>, PreparationError> {
    match object {
        Object::Parameter(key) => Ok(root.read(&root.parameter(key))?.map(|text| text.trim().to_owned())),
        Object::File(path) => root.read(&root.at(path)),
    }
}

fn make_so(root: &Root, object: &Object, text: Option<&str>) -> Result<(), PreparationError> {
    let failed = |what, path: &Path| {
        let path = path.to_owned();
        move |source| PreparationError::Io { what, path, source }
    };
    match (object, text) {
        (Object::Parameter(key), Some(value)) => {
            let path = root.parameter(key);
            fs::write(&path, value).map_err(failed("write", &path))
        }
        (Object::Parameter(_), None) => Ok(()),
        (Object::File(path), Some(text)) => {
            let path = root.at(path);
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(failed("make", folder))?;
            }
            let draft = path.with_extension("draft");
            fs::write(&draft, text).and_then(|()| fs::rename(&draft, &path)).map_err(failed("write", &path))
        }
        (Object::File(path), None) => {
            let path = root.at(path);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path)(error)),
                _ => Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
