//! The objects, their versions, and what happened to them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard},
};

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::{
    apply,
    path::Path,
    rules::{Refused, Rules},
};

/// How many events are remembered; a watch that stands before them is told 410.
const REMEMBERED: usize = 512;

/// A kind that is served.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    pub(crate) kind: String,
    pub(crate) has_status: bool,
    /// As its definition has it.
    schema: Value,
}

/// One change.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) version: u64,
    /// Group and plural.
    pub(crate) of: (String, String),
    /// `ADDED`, `MODIFIED`, `DELETED`.
    pub(crate) what: &'static str,
    pub(crate) object: Value,
}

type Key = ((String, String), String, String);

#[derive(Debug, Default)]
pub(crate) struct Inner {
    pub(crate) version: u64,
    kinds: BTreeMap<(String, String, String), Kind>,
    pub(crate) objects: BTreeMap<Key, Value>,
    pub(crate) history: VecDeque<Event>,
    /// Events up to here are forgotten.
    pub(crate) forgotten: u64,
    /// What each manager applied, by object and subresource.
    applied: BTreeMap<(Key, String), BTreeMap<String, Value>>,
}

/// All objects.
pub struct Store {
    inner: Mutex<Inner>,
    pub(crate) changed: Notify,
    rules: Rules,
}

/// A refusal: status code, reason, message.
#[derive(Debug, Clone)]
pub(crate) struct Refusal(pub(crate) u16, pub(crate) &'static str, pub(crate) String);

/// What to do with an object.
pub(crate) enum Write {
    Create(Value),
    Replace(Value),
    Merge(Value),
    Apply { manager: String, force: bool, config: Value },
    Delete { options: Value },
}

impl Store {
    pub(crate) fn new() -> Self {
        let store = Self { inner: Mutex::default(), changed: Notify::new(), rules: Rules::default() };
        for (group, version, plural, kind) in [
            ("", "v1", "namespaces", "Namespace"),
            ("", "v1", "nodes", "Node"),
            ("", "v1", "pods", "Pod"),
            ("", "v1", "configmaps", "ConfigMap"),
            ("", "v1", "events", "Event"),
            ("coordination.k8s.io", "v1", "leases", "Lease"),
            ("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR"),
            ("", "v1", "serviceaccounts", "ServiceAccount"),
            ("apps", "v1", "daemonsets", "DaemonSet"),
            ("apps", "v1", "deployments", "Deployment"),
            ("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole"),
            ("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding"),
            ("rbac.authorization.k8s.io", "v1", "roles", "Role"),
            ("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding"),
            ("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition"),
        ] {
            let kind = Kind { kind: kind.to_owned(), has_status: false, schema: Value::Null };
            store.serve_kind(group, version, plural, kind);
        }
        store
    }

    fn serve_kind(&self, group: &str, version: &str, plural: &str, kind: Kind) {
        let key = (group.to_owned(), version.to_owned(), plural.to_owned());
        self.lock().kinds.insert(key, kind);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Forgets everything that happened so far, as a compaction does: watches must list anew.
    pub fn forget(&self) {
        let mut inner = self.lock();
        inner.history.clear();
        inner.forgotten = inner.version;
    }

    pub(crate) fn kind(&self, path: &Path) -> Result<Kind, Refusal> {
        let key = (path.group.clone(), path.version.clone(), path.plural.clone());
        let known = self.lock().kinds.get(&key).cloned();
        known.ok_or_else(|| Refusal(404, "NotFound", "the server could not find the requested resource".to_owned()))
    }

    /// Writes one object; returns it as it is then, or as it would be.
    pub(crate) fn write(&self, path: &Path, write: Write, is_dry: bool) -> Result<Value, Refusal> {
        let kind = self.kind(path)?;
        let checked = |object: &Value| self.check(path, &kind, object);
        let mut inner = self.lock();
        let owners = inner.applied.clone();
        let written = inner.write(path, &kind, write, &checked, is_dry);
        if is_dry || written.is_err() {
            // Nothing was written, so nobody owns more than before.
            inner.applied = owners;
            return written;
        }
        drop(inner);
        let written = written?;
        if path.plural == "customresourcedefinitions" {
            self.serve_definition(&written);
        }
        self.changed.notify_waiters();
        Ok(written)
    }

    /// Refuses what the kind's schema does not take.
    fn check(&self, path: &Path, kind: &Kind, object: &Value) -> Result<(), Refusal> {
        let told: Vec<String> = kind.schema["properties"]
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, _)| !object[name.as_str()].is_null())
            .flat_map(|(name, schema)| self.rules.refusals(schema, &object[name.as_str()], name))
            .map(|(path, refused)| match refused {
                Refused::Schema(text) => format!("{path} in body {text}"),
                Refused::Rule(text) => format!("{path}: Invalid value: {text}"),
            })
            .collect();
        if told.is_empty() {
            return Ok(());
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let message = format!("{}.{} \"{name}\" is invalid: [{}]", kind.kind, path.group, told.join(", "));
        Err(Refusal(422, "Invalid", message))
    }

    /// A definition makes its kind's versions known, and says that it did.
    fn serve_definition(&self, definition: &Value) {
        let text = |pointer: &str| definition.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        for version in definition["spec"]["versions"].as_array().into_iter().flatten() {
            let name = version["name"].as_str().unwrap_or_default();
            let has_status = !version["subresources"]["status"].is_null();
            let schema = version["schema"]["openAPIV3Schema"].clone();
            let kind = Kind { kind: text("/spec/names/kind").to_owned(), has_status, schema };
            self.serve_kind(text("/spec/group"), name, text("/spec/names/plural"), kind);
        }
        let key = (
            ("apiextensions.k8s.io".to_owned(), "customresourcedefinitions".to_owned()),
            String::new(),
            text("/metadata/name").to_owned(),
        );
        if let Some(stored) = self.lock().objects.get_mut(&key) {
            stored["status"] = json!({"conditions": [{"type": "Established", "status": "True"}]});
        }
    }
}

impl Inner {
    pub(crate) fn key(path: &Path, name: &str) -> Key {
        ((path.group.clone(), path.plural.clone()), path.namespace.clone(), name.to_owned())
    }

    fn write(
        &mut self,
        path: &Path,
        kind: &Kind,
        write: Write,
        checked: &dyn Fn(&Value) -> Result<(), Refusal>,
        is_dry: bool,
    ) -> Result<Value, Refusal> {
        let given = match &write {
            Write::Create(object) => object["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            _ => path.name.clone(),
        };
        let key = Self::key(path, &given);
        let known = self.objects.get(&key).cloned();
        let missing = || Refusal(404, "NotFound", format!("{} \"{given}\" not found", path.plural));
        let conflict = |what: String| Refusal(409, "Conflict", what);
        let (mut object, expected) = match write {
            Write::Create(_) if known.is_some() => {
                return Err(Refusal(409, "AlreadyExists", format!("{} \"{given}\" already exists", path.plural)));
            }
            Write::Create(object) => (object, Value::Null),
            Write::Replace(object) => {
                known.as_ref().ok_or_else(missing)?;
                let expected = object["metadata"]["resourceVersion"].clone();
                (object, expected)
            }
            Write::Merge(patch) => {
                let mut object = known.clone().ok_or_else(missing)?;
                apply::merge(&mut object, &patch);
                (object, patch["metadata"]["resourceVersion"].clone())
            }
            Write::Apply { manager, force, config } => {
                if known.is_none() && !path.subresource.is_empty() {
                    return Err(missing());
                }
                let expected = config["metadata"]["resourceVersion"].clone();
                let owners = self.applied.entry((key.clone(), path.subresource.clone())).or_default();
                let mut owned = config.clone();
                if let Some(metadata) = owned["metadata"].as_object_mut() {
                    metadata.remove("resourceVersion");
                }
                if !force {
                    let mut found = Vec::new();
                    for (_, theirs) in owners.iter().filter(|(other, _)| **other != manager) {
                        apply::conflicts(&owned, theirs, "", &mut found);
                    }
                    if !found.is_empty() {
                        return Err(conflict(format!(
                            "Apply failed with {} conflicts: {}",
                            found.len(),
                            found.join(", ")
                        )));
                    }
                }
                let before = owners.insert(manager, owned.clone()).unwrap_or_default();
                let mut object = known.clone().unwrap_or_else(|| json!({}));
                apply::apply(&mut object, &before, &owned);
                (object, expected)
            }
            Write::Delete { options } => {
                let object = known.ok_or_else(missing)?;
                let wanted = &options["preconditions"]["uid"];
                if !wanted.is_null() && *wanted != object["metadata"]["uid"] {
                    return Err(conflict("the UID in the precondition does not match".to_owned()));
                }
                self.objects.remove(&key);
                self.applied.retain(|(owned, _), _| *owned != key);
                return Ok(self.happened(path, "DELETED", object));
            }
        };
        if let (Some(known), Some(expected)) = (&known, expected.as_str().filter(|text| !text.is_empty()))
            && known["metadata"]["resourceVersion"] != *expected
        {
            return Err(conflict(
                "the object has been modified; please apply your changes to the latest version".to_owned(),
            ));
        }
        if kind.kind == "Lease" {
            for field in ["acquireTime", "renewTime"] {
                let time = object["spec"][field].as_str();
                if time.is_some_and(|time| !is_micro_time(time)) {
                    return Err(Refusal(
                        400,
                        "BadRequest",
                        format!("spec.{field} is no time with microseconds: {time:?}"),
                    ));
                }
            }
        }
        if kind.has_status {
            // Either the status or everything else is written.
            match (&known, path.subresource.as_str()) {
                (Some(known), "status") => {
                    let status = object["status"].clone();
                    object = known.clone();
                    object["status"] = status;
                }
                (Some(known), _) => object["status"] = known["status"].clone(),
                (None, _) => _ = object.as_object_mut().map(|fields| fields.remove("status")),
            }
        }
        if object["status"].is_null() {
            _ = object.as_object_mut().map(|fields| fields.remove("status"));
        }
        let api = if path.group.is_empty() { path.version.clone() } else { format!("{}/{}", path.group, path.version) };
        object["apiVersion"] = json!(api);
        object["kind"] = json!(kind.kind);
        object["metadata"]["name"] = json!(given);
        if !path.namespace.is_empty() {
            object["metadata"]["namespace"] = json!(path.namespace);
        }
        let metadata = |field: &str| known.as_ref().map(|known| known["metadata"][field].clone());
        object["metadata"]["uid"] = metadata("uid").unwrap_or_else(|| json!(format!("uid-{}", self.version + 1)));
        object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        object["metadata"]["resourceVersion"] = metadata("resourceVersion").unwrap_or_default();
        let generation = metadata("generation").and_then(|it| it.as_u64()).unwrap_or(1);
        object["metadata"]["generation"] = json!(generation);
        checked(&object)?;
        if is_dry || known.as_ref() == Some(&object) {
            return Ok(object);
        }
        if known.as_ref().is_some_and(|known| known["spec"] != object["spec"]) {
            object["metadata"]["generation"] = json!(generation + 1);
        }
        let what = if known.is_some() { "MODIFIED" } else { "ADDED" };
        let object = self.happened(path, what, object);
        self.objects.insert(key, object.clone());
        Ok(object)
    }

    fn happened(&mut self, path: &Path, what: &'static str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let of = (path.group.clone(), path.plural.clone());
        self.history.push_back(Event { version: self.version, of, what, object: object.clone() });
        while self.history.len() > REMEMBERED {
            self.forgotten = self.history.pop_front().map_or(self.forgotten, |event| event.version);
        }
        object
    }
}

/// Kubernetes' `MicroTime` has exactly six digits after the second.
fn is_micro_time(text: &str) -> bool {
    let digits = text.rsplit_once('.').and_then(|(_, rest)| rest.strip_suffix('Z'));
    digits.is_some_and(|digits| digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit()))
}
