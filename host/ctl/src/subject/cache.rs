//! What the container runtime remembers of its calls: libcni's cache, one file an attachment.
//!
//! The runtime writes it to repeat a call's configuration in the DEL; it names the Pod, which the kernel does not.
//! Files that are not understood are left alone: other versions of libcni may write others.

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use coordinator_sdk::{ContainerId, InterfaceName};
use serde_json::{Map, Value};

/// Where libcni keeps it, when the runtime names no other place.
pub(crate) const DIRECTORY: &str = "/var/lib/cni";
/// The plugin's type in a network's list.
const PLUGIN: &str = "coordinator";

/// A remembered ADD.
#[derive(Debug, Clone)]
pub(crate) struct Remembered {
    pub(crate) container: ContainerId,
    pub(crate) interface: InterfaceName,
    pub(crate) network: String,
    /// The path of the Pod's namespace: what newer versions say, else the sandbox in the result.
    pub(crate) namespace: Option<PathBuf>,
    /// `CNI_ARGS`, by name.
    pub(crate) args: Vec<(String, String)>,
    /// Our plugin's section of the network's list, its name and the result in it.
    pub(crate) configuration: Map<String, Value>,
}

impl Remembered {
    /// A value of `CNI_ARGS`, or nothing.
    pub(crate) fn arg(&self, name: &str) -> &str {
        self.args.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }
}

/// Every attachment that the runtime remembers and that our plugin takes part in.
pub(crate) fn read(directory: &Path) -> Vec<Remembered> {
    let Ok(files) = fs::read_dir(directory.join("results")) else { return Vec::new() };
    let texts = files.filter_map(|file| fs::read(file.ok()?.path()).ok());
    texts.filter_map(|text| parse(&serde_json::from_slice(&text).ok()?)).collect()
}

fn parse(entry: &Value) -> Option<Remembered> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str);
    let list = STANDARD.decode(text("config")?).ok()?;
    let configuration = section(&serde_json::from_slice(&list).ok()?, entry.get("result"))?;
    let pair = |pair: &Value| Some((pair.get(0)?.as_str()?.to_owned(), pair.get(1)?.as_str()?.to_owned()));
    let args = entry.get("cniArgs").and_then(Value::as_array);
    let interfaces = entry.get("result").and_then(|result| result.get("interfaces")).and_then(Value::as_array);
    let sandbox = |interface: &Value| {
        let path = interface.get("sandbox")?.as_str().filter(|path| !path.is_empty())?;
        (interface.get("name")?.as_str() == text("ifName")).then(|| path.to_owned())
    };
    let sandbox = || interfaces.into_iter().flatten().find_map(sandbox);
    Some(Remembered {
        namespace: text("netns").map(str::to_owned).or_else(sandbox).map(PathBuf::from),
        container: text("containerId")?.parse().ok()?,
        interface: text("ifName")?.parse().ok()?,
        network: text("networkName")?.to_owned(),
        args: args.into_iter().flatten().filter_map(pair).collect(),
        configuration,
    })
}

/// Our plugin's section of a network's list, as it would get it on its standard input; a section alone is itself.
pub(crate) fn section(list: &Value, result: Option<&Value>) -> Option<Map<String, Value>> {
    let is_ours = |section: &&Value| section.get("type").and_then(Value::as_str) == Some(PLUGIN);
    let mut section = match list.get("plugins").and_then(Value::as_array) {
        Some(plugins) => plugins.iter().find(is_ours)?.as_object()?.clone(),
        None => list.as_object().filter(|_| is_ours(&list))?.clone(),
    };
    for key in ["name", "cniVersion"] {
        section.extend(list.get(key).map(|value| (key.to_owned(), value.clone())));
    }
    if !section.contains_key("prevResult") {
        section.extend(result.map(|result| ("prevResult".to_owned(), result.clone())));
    }
    Some(section)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn our_section_is_found_in_what_the_runtime_remembers() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("results")).unwrap();
        let list = json!({"cniVersion": "1.0.0", "name": "underlay", "plugins": [
            {"type": "macvlan"}, {"type": "coordinator", "vethMTU": 1400},
        ]});
        let entry = json!({
            "kind": "cniCacheV1", "containerId": "c1", "ifName": "net1", "networkName": "underlay",
            "config": STANDARD.encode(list.to_string()), "result": {"ips": [], "interfaces": [{"name": "net1", "sandbox": "/run/netns/p"}]},
            "cniArgs": [["K8S_POD_NAMESPACE", "shop"], ["K8S_POD_NAME", "web-0"]],
        });
        fs::write(folder.path().join("results/underlay-c1-net1"), entry.to_string()).unwrap();
        fs::write(folder.path().join("results/broken"), "{").unwrap();
        let found = read(folder.path());
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].arg("K8S_POD_NAME"), found[0].arg("K8S_POD_UID")), ("web-0", ""));
        assert_eq!(found[0].namespace.as_deref(), Some(Path::new("/run/netns/p")));
        let expected = json!({"type": "coordinator", "vethMTU": 1400, "name": "underlay", "cniVersion": "1.0.0", "prevResult": {"ips": [], "interfaces": [{"name": "net1", "sandbox": "/run/netns/p"}]}});
        assert_eq!(Value::Object(found[0].configuration.clone()), expected);
        assert_eq!(section(&json!({"plugins": [{"type": "bridge"}]}), None), None);
    }
}
