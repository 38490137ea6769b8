//! Which plugin makes the Pods' first interface, as far as a node's CNI configurations tell.
//!
//! `podCIDRType: auto` needs it where a cluster holds objects of two plugins, one of them left over.

use serde_json::Value;

/// A plugin whose pools are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MainCni {
    /// Calico.
    Calico,
    /// Cilium.
    Cilium,
    /// Another one: its Pods' addresses are those of the control plane's arguments.
    Other,
}

/// The plugin that a CNI configuration directory's files name, given as (file name, text).
///
/// The runtime takes the first file by name. A Multus file says which plugin it asks first
/// (`clusterNetwork`, `delegates`), or else leaves that to the files after it.
pub fn main_cni(files: &[(String, String)]) -> Option<MainCni> {
    let mut ordered: Vec<&(String, String)> = files.iter().filter(|(name, _)| is_configuration(name)).collect();
    ordered.sort_unstable();
    let parsed: Vec<Value> = ordered.iter().filter_map(|(_, text)| serde_json::from_str(text).ok()).collect();
    parsed.iter().find_map(|file| named_in(file, &parsed))
}

fn is_configuration(name: &str) -> bool {
    [".conf", ".conflist", ".json"].iter().any(|suffix| name.ends_with(suffix))
}

fn named_in(file: &Value, all: &[Value]) -> Option<MainCni> {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let first = file.get("plugins").and_then(Value::as_array).and_then(|plugins| plugins.first()).unwrap_or(file);
    match text(first, "type").as_str() {
        "calico" => Some(MainCni::Calico),
        "cilium-cni" => Some(MainCni::Cilium),
        "multus" | "multus-shim" => {
            let delegate = first.get("delegates").and_then(Value::as_array).and_then(|delegates| delegates.first());
            if let Some(named) = delegate.and_then(|delegate| named_in(delegate, all)) {
                return Some(named);
            }
            // A file's path, or the name of a network that one of the other files may have.
            let wanted = text(first, "clusterNetwork");
            let wanted = wanted.rsplit('/').next().unwrap_or_default();
            all.iter()
                .filter(|other| text(other, "name") == wanted && *other != file)
                .find_map(|other| named_in(other, &[]))
        }
        "" => None,
        _ => Some(MainCni::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> Option<MainCni> {
        main_cni(&files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect::<Vec<_>>())
    }

    const CALICO: &str = r#"{"name": "k8s-pod-network", "plugins": [{"type": "calico"}, {"type": "portmap"}]}"#;
    const CILIUM: &str = r#"{"name": "cilium", "plugins": [{"type": "cilium-cni"}]}"#;

    #[test]
    fn the_first_file_decides() {
        assert_eq!(of(&[("10-calico.conflist", CALICO), ("05-cilium.conflist", CILIUM)]), Some(MainCni::Cilium));
        assert_eq!(of(&[("10-calico.conflist", CALICO), ("05-cilium.conflist.bak", CILIUM)]), Some(MainCni::Calico));
        assert_eq!(of(&[("10-flannel.conflist", r#"{"plugins": [{"type": "flannel"}]}"#)]), Some(MainCni::Other));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("00.conf", "{"), ("10-calico.conflist", CALICO)]), Some(MainCni::Calico));
    }

    #[test]
    fn behind_multus_stands_another() {
        let by_name = r#"{"type": "multus", "clusterNetwork": "k8s-pod-network"}"#;
        let by_delegate = r#"{"type": "multus", "delegates": [{"plugins": [{"type": "cilium-cni"}]}]}"#;
        let silent = r#"{"cniVersion": "0.3.1", "type": "multus-shim"}"#;
        for (multus, expected) in
            [(by_name, MainCni::Calico), (by_delegate, MainCni::Cilium), (silent, MainCni::Cilium)]
        {
            let files = [("00-multus.conf", multus), ("05-cilium.conflist", CILIUM), ("10-calico.conflist", CALICO)];
            assert_eq!(of(&files), Some(expected), "{multus}");
        }
    }
}
