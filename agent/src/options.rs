//! What an agent is started with: environment variables, since a DaemonSet sets nothing more easily.
//!
//! Every wrong one is named at once. Paths are those of the node as the container sees them.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use coordinator_core::{attachment::Places as Records, node_defaults::Places, tally};

use crate::{care::Treatment, conflict::SOCKET};

/// All options, each with the value of a node that has everything at its usual place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `COORDINATOR_NODE`: the node's name.
    pub node: String,
    /// `COORDINATOR_POD`: this Pod's name, a candidate's identity.
    pub pod: String,
    /// `COORDINATOR_NAMESPACE`: this Pod's namespace, where the Lease is.
    pub namespace: String,
    /// `COORDINATOR_METRICS`: where metrics and probes are answered.
    pub metrics: SocketAddr,
    /// `COORDINATOR_DEFAULTS`: the defaults file.
    pub defaults: PathBuf,
    /// `COORDINATOR_SOCKET`: where the plugin reports conflicts.
    pub socket: PathBuf,
    /// `COORDINATOR_CALLS`: where the plugin notes its calls.
    pub calls: PathBuf,
    /// `COORDINATOR_STATE`: the plugin's records.
    pub state: PathBuf,
    /// `COORDINATOR_NETNS`: the runtime's network namespaces.
    pub namespaces: PathBuf,
    /// `COORDINATOR_SPIDERPOOL`: the socket of Spiderpool's agent.
    pub spiderpool: PathBuf,
    /// `COORDINATOR_CNI_CONFIGURATIONS`: the node's CNI configurations; empty when they are not mounted.
    pub cni_configurations: PathBuf,
    /// `COORDINATOR_SYSTEM_NAMESPACE`: where kubeadm and the control plane keep their objects.
    pub system_namespace: String,
    /// `COORDINATOR_CILIUM_NAMESPACE`: where `cilium-config` is.
    pub cilium_namespace: String,
    /// `COORDINATOR_CARE`: the time between two rounds; zero is no care.
    pub care: Duration,
    /// `COORDINATOR_REPAIR`: whether what drifted is repaired.
    pub repair: Treatment,
    /// `SPIDERPOOL_ENABLED_RELEASE_CONFLICT_IPS`, by Spiderpool's own name.
    pub is_release_enabled: bool,
    /// `COORDINATOR_GUESTS`: guests in registries, separated by white space.
    pub guests: Vec<String>,
    /// `COORDINATOR_LOG`: debug, info, warn or error.
    pub log: tracing::level_filters::LevelFilter,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            node: String::new(),
            pod: String::new(),
            namespace: "kube-system".to_owned(),
            metrics: SocketAddr::from(([0, 0, 0, 0], 5723)),
            defaults: Places::FILE.into(),
            socket: SOCKET.into(),
            calls: tally::FILE.into(),
            state: Records::default().state,
            namespaces: "/run/netns".into(),
            spiderpool: Places::SOCKET.into(),
            cni_configurations: PathBuf::new(),
            system_namespace: "kube-system".to_owned(),
            cilium_namespace: "kube-system".to_owned(),
            care: Duration::from_secs(300),
            repair: Treatment::Tell,
            is_release_enabled: true,
            guests: Vec::new(),
            log: tracing::level_filters::LevelFilter::INFO,
        }
    }
}

impl Options {
    /// The options that `variable` tells by name.
    ///
    /// # Errors
    /// Every wrong value, with its name.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<String>> {
        let mut options = Self::default();
        let mut wrong = Vec::new();
        let given = |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        for (name, place) in [
            ("COORDINATOR_NODE", &mut options.node),
            ("COORDINATOR_POD", &mut options.pod),
            ("COORDINATOR_NAMESPACE", &mut options.namespace),
            ("COORDINATOR_SYSTEM_NAMESPACE", &mut options.system_namespace),
            ("COORDINATOR_CILIUM_NAMESPACE", &mut options.cilium_namespace),
        ] {
            if let Some(value) = given(name) {
                *place = value;
            }
        }
        for (name, place) in [
            ("COORDINATOR_DEFAULTS", &mut options.defaults),
            ("COORDINATOR_SOCKET", &mut options.socket),
            ("COORDINATOR_CALLS", &mut options.calls),
            ("COORDINATOR_STATE", &mut options.state),
            ("COORDINATOR_NETNS", &mut options.namespaces),
            ("COORDINATOR_SPIDERPOOL", &mut options.spiderpool),
            ("COORDINATOR_CNI_CONFIGURATIONS", &mut options.cni_configurations),
        ] {
            match given(name).map(PathBuf::from) {
                Some(path) if path.is_absolute() => *place = path,
                Some(path) => wrong.push(format!("{name} = {path:?}: expected an absolute path")),
                None => {}
            }
        }
        options.guests =
            given("COORDINATOR_GUESTS").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        if let Some(value) = given("COORDINATOR_METRICS") {
            match value.parse() {
                Ok(address) => options.metrics = address,
                Err(_) => {
                    wrong.push(format!("COORDINATOR_METRICS = {value:?}: expected an address such as 0.0.0.0:5723"))
                }
            }
        }
        if let Some(value) = given("COORDINATOR_CARE") {
            match value.strip_suffix('s').unwrap_or(&value).parse() {
                Ok(seconds) => options.care = Duration::from_secs(seconds),
                Err(_) => wrong.push(format!("COORDINATOR_CARE = {value:?}: expected seconds such as 300, or 0")),
            }
        }
        let mut flag = |name: &str, usual: bool| match given(name).map(|value| value.to_ascii_lowercase()).as_deref() {
            None => usual,
            Some("true" | "1" | "t") => true,
            Some("false" | "0" | "f") => false,
            Some(other) => {
                wrong.push(format!("{name} = {other:?}: expected true or false"));
                usual
            }
        };
        options.is_release_enabled = flag("SPIDERPOOL_ENABLED_RELEASE_CONFLICT_IPS", true);
        options.repair = if flag("COORDINATOR_REPAIR", false) { Treatment::Repair } else { Treatment::Tell };
        if let Some(value) = given("COORDINATOR_LOG") {
            match value.to_ascii_lowercase().parse() {
                Ok(level) => options.log = level,
                Err(_) => wrong.push(format!("COORDINATOR_LOG = {value:?}: expected debug, info, warn or error")),
            }
        }
        if wrong.is_empty() { Ok(options) } else { Err(wrong) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_has_its_usual_place() {
        assert_eq!(Options::read(|_| None).unwrap(), Options::default());
        let given = |name: &str| match name {
            "COORDINATOR_CARE" => Some("60s".to_owned()),
            "COORDINATOR_NETNS" => Some("/host/run/netns".to_owned()),
            "COORDINATOR_GUESTS" => Some(" r.example/a:1\n r.example/b:2".to_owned()),
            "SPIDERPOOL_ENABLED_RELEASE_CONFLICT_IPS" => Some("False".to_owned()),
            _ => Some(" ".to_owned()),
        };
        let options = Options::read(given).unwrap();
        assert_eq!((options.care, options.is_release_enabled), (Duration::from_secs(60), false));
        assert_eq!(options.namespaces, PathBuf::from("/host/run/netns"));
        assert_eq!(options.namespace, "kube-system");
        assert_eq!(options.guests, ["r.example/a:1", "r.example/b:2"]);
    }

    #[test]
    fn every_wrong_value_is_named() {
        let wrong = Options::read(|name| (name != "COORDINATOR_NODE").then(|| "no/such".to_owned())).unwrap_err();
        assert_eq!(wrong.len(), 12, "{wrong:?}");
        assert!(wrong.iter().all(|line| line.contains("expected")), "{wrong:?}");
    }
}
