//! A network's configuration, run word for word as libcni runs it: every plugin of the list, from a folder.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    command::plugin,
    pod::{Network, Pod, REFERENCE_PLUGINS, begin},
};

/// Versions of the specification in which nobody is asked to CHECK.
const BEFORE_CHECK: [&str; 2] = ["0.3.0", "0.3.1"];

/// A folder as `/opt/cni/bin`: Debian's plugins, the plugin under test, and stand-ins for those that need hardware, a
/// driver or a service that is not here.
#[derive(Debug)]
pub struct Plugins {
    folder: PathBuf,
}

impl Plugins {
    /// Makes the folder, with `spiderpool` in it: address management whose answers the story writes down.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        for entry in fs::read_dir(REFERENCE_PLUGINS)? {
            let entry = entry?;
            symlink(entry.path(), folder.join(entry.file_name()))?;
        }
        symlink(plugin()?, folder.join("coordinator"))?;
        let plugins = Self { folder: folder.to_owned() };
        let answers = folder.display();
        let answer = format!(
            "[ \"$CNI_COMMAND\" = ADD ] || exec cat > /dev/null; cat \"{answers}/.$CNI_CONTAINERID.$CNI_IFNAME.$(sed 's/.*\"cniVersion\":\"\\([^\"]*\\)\".*/\\1/')\""
        );
        plugins.stand_in("spiderpool", &answer)?;
        Ok(plugins)
    }

    /// Puts a shell script into a plugin's place; it is called as the plugin would be, and must read what it is given.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn stand_in(&self, kind: &str, script: &str) -> Result<()> {
        let path = self.folder.join(kind);
        // What is there may be a link to a plugin of the machine.
        if path.symlink_metadata().is_ok() {
            fs::remove_file(&path)?;
        }
        fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
        Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
    }

    /// Puts one of Debian's plugins into another one's place: it gets that one's configuration with its own type, and
    /// with `more`, which is JSON such as `,"master":"ens1"`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn disguise(&self, real: &str, kind: &str, more: &str) -> Result<()> {
        let edit = format!("s/\"type\":\"{kind}\"/\"type\":\"{real}\"{more}/");
        self.stand_in(kind, &format!("sed '{edit}' | exec {REFERENCE_PLUGINS}/{real}"))
    }

    /// Has `spiderpool` give a Pod's interface the addresses of a network.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn give(&self, pod: &Pod, interface: &str, network: &Network) -> Result<()> {
        let is_v6 = |address: &str| address.contains(':');
        for version in ["0.3.1", "0.4.0", "1.0.0"] {
            let ips = network.addresses.iter().map(|(address, gateway)| {
                let family = if is_v6(address) { "6" } else { "4" };
                json!({"version": family, "address": address, "gateway": gateway})
            });
            let routes = network.addresses.iter().map(
                |(address, gateway)| json!({"dst": if is_v6(address) { "::/0" } else { "0.0.0.0/0" }, "gw": gateway}),
            );
            let result = json!({
                "cniVersion": version, "ips": ips.collect::<Vec<_>>(), "routes": routes.collect::<Vec<_>>(),
            });
            let name = format!(".{}.{interface}.{version}", pod.container);
            fs::write(self.folder.join(name), result.to_string())?;
        }
        Ok(())
    }
}

/// A configuration that was read: a list, or one plugin's.
#[derive(Debug, Clone)]
pub struct Chain {
    version: String,
    name: String,
    plugins: Vec<Value>,
}

impl Chain {
    /// Reads the text of a file or of a NetworkAttachmentDefinition.
    ///
    /// # Errors
    /// It is no configuration.
    pub fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text)?;
        let text = |key: &str| value[key].as_str().map(str::to_owned).with_context(|| format!("no {key}: {value}"));
        let plugins = match value["plugins"].as_array() {
            Some(plugins) => plugins.clone(),
            None => vec![value.clone()],
        };
        Ok(Self { version: text("cniVersion")?, name: text("name")?, plugins })
    }

    /// The plugins' types, in their order.
    pub fn types(&self) -> Vec<&str> {
        self.plugins.iter().filter_map(|plugin| plugin["type"].as_str()).collect()
    }

    /// Attaches a Pod; the last plugin's result.
    ///
    /// # Errors
    /// A plugin refuses: the source is then a [`crate::PluginError`].
    pub fn add(&self, plugins: &Plugins, pod: &Pod, interface: &str) -> Result<Value> {
        let mut result = Value::Null;
        for plugin in &self.plugins {
            result = self.call(plugins, pod, interface, "ADD", plugin, &result)?;
        }
        for ip in result["ips"].as_array().into_iter().flatten() {
            let address = ip["address"].as_str().and_then(|it| it.split('/').next()).context("an address")?;
            pod.push_address(address.parse()?);
        }
        pod.host.await_addresses(interface)?;
        pod.host.serve()?;
        Ok(result)
    }

    /// Asks every plugin whether all is as it was made, where the version knows that question; true when it does.
    ///
    /// # Errors
    /// A plugin says no.
    pub fn check(&self, plugins: &Plugins, pod: &Pod, interface: &str, result: &Value) -> Result<bool> {
        if BEFORE_CHECK.contains(&self.version.as_str()) {
            return Ok(false);
        }
        for plugin in &self.plugins {
            self.call(plugins, pod, interface, "CHECK", plugin, result)?;
        }
        Ok(true)
    }

    /// Detaches it, the last plugin first.
    ///
    /// # Errors
    /// A plugin refuses.
    pub fn del(&self, plugins: &Plugins, pod: &Pod, interface: &str, result: &Value) -> Result<()> {
        let result = if BEFORE_CHECK.contains(&self.version.as_str()) { &Value::Null } else { result };
        for plugin in self.plugins.iter().rev() {
            self.call(plugins, pod, interface, "DEL", plugin, result)?;
        }
        Ok(())
    }

    fn call(
        &self,
        plugins: &Plugins,
        pod: &Pod,
        interface: &str,
        command: &str,
        plugin: &Value,
        result: &Value,
    ) -> Result<Value> {
        let mut configuration = plugin.clone();
        configuration["cniVersion"] = json!(self.version);
        configuration["name"] = json!(self.name);
        if !result.is_null() {
            configuration["prevResult"] = result.clone();
        }
        let kind = plugin["type"].as_str().context("a type")?;
        let program = plugins.folder.join(kind);
        ensure!(program.exists(), "there is no plugin {kind}");
        let mut environment = pod.environment(command, interface);
        for (name, value) in &mut environment {
            if *name == "CNI_PATH" {
                *value = plugins.folder.display().to_string();
            }
        }
        begin(&mut std::process::Command::new(program), &environment, &configuration)?.end()
    }
}
