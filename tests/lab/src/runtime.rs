//! What a container runtime remembers of its calls: libcni's cache, one file an attachment.
//!
//! The lab's Pods are attached without libcni, so a story that needs the memory asks for it.

use std::fs;

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::pod::{Network, Pod};

/// Where libcni keeps it, when the runtime names no other place.
const DIRECTORY: &str = "/var/lib/cni/results";

impl Pod {
    /// Has the runtime remember the ADD of a network whose list is macvlan and the plugin under test, as libcni writes it
    /// down; the result is the macvlan plugin's.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn remember(&self, interface: &str, network: &Network, settings: &Value) -> Result<()> {
        let list = json!({
            "cniVersion": "1.0.0", "name": network.name,
            "plugins": [{"type": "macvlan"}, network.configuration("coordinator", settings)],
        });
        let entry = json!({
            "kind": "cniCacheV1", "containerId": self.container, "ifName": interface, "networkName": network.name,
            "config": STANDARD.encode(list.to_string()), "netns": self.host.path(), "cniArgs": self.args(),
            "result": self.result(interface),
        });
        fs::create_dir_all(DIRECTORY)?;
        Ok(fs::write(format!("{DIRECTORY}/{}-{}-{interface}", network.name, self.container), entry.to_string())?)
    }
}
