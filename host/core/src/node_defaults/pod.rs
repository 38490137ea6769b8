//! What a Pod's own annotation says, as the node's agent left it in a file: where its default route stays.
//!
//! Spiderpool's agent answers for a Pod with the annotation's value in the place of the default; our agent's file for
//! all Pods cannot, so a Pod that has the annotation gets a file of its own beside it.

use std::path::{Path, PathBuf};

use coordinator_sdk::InterfaceName;
use serde_json::{Map, Value, json};

use super::{NodeDefaultsError, Pod, parse_file};
use crate::settings::read_root_file;

/// The folder of Pods' files, beside the file for all.
pub const FOLDER: &str = "pods";
/// The only setting that an annotation has.
pub const SETTING: &str = "podDefaultRouteNic";
/// The most that such a file may hold, bytes.
const LIMIT: u64 = 4096;

/// The file of a Pod, `defaults` being the file for all; nothing for names that no Pod can have.
///
/// A namespace has no dot, so that the first one ends it.
pub fn pod_file(defaults: &Path, namespace: &str, name: &str) -> Option<PathBuf> {
    let is_label = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let is_name = name.len() <= 253 && name.split('.').all(is_label);
    (is_label(namespace) && namespace.len() <= 63 && is_name)
        .then(|| defaults.with_file_name(FOLDER).join(format!("{namespace}.{name}")))
}

/// What the file of a Pod says that chooses this interface.
pub fn pod_text(interface: &InterfaceName) -> String {
    format!("{}\n", json!({SETTING: interface.as_str()}))
}

/// What the Pod's file says of the one setting that it may say something of.
pub(super) fn read(defaults: &Path, pod: Pod<'_>) -> Result<Map<String, Value>, NodeDefaultsError> {
    let Some(path) = pod_file(defaults, pod.namespace, pod.name) else { return Ok(Map::new()) };
    let Some(text) = read_root_file(&path, LIMIT)? else { return Ok(Map::new()) };
    Ok(parse_file(&path, &text)?.remove_entry(SETTING).into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let file = |namespace, name| pod_file(Path::new("/var/lib/coordinator/defaults.json"), namespace, name);
        assert_eq!(file("default", "web-0.x").unwrap(), Path::new("/var/lib/coordinator/pods/default.web-0.x"));
        for (namespace, name) in
            [("", "p"), ("ns", ""), ("..", "p"), ("ns", "../p"), ("n.s", "p"), ("ns", "a/b"), ("ns", "a..b")]
        {
            assert_eq!(file(namespace, name), None, "{namespace}/{name}");
        }
    }
}
