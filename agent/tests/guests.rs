//! From a ConfigMap to a Pod: the agent's program lays guests, pipelines and the plugin down and has the guests compiled,
//! and the plugin that it put there runs them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout,
    reason = "a test fails by a panic"
)]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};
use coordinator_core::guest::{Artefacts, DIRECTORY, Digest};
use coordinator_guests::{component, root};
use coordinator_lab::{Families, Lab, Network, PluginError, Pod, plugin, run, tool};
use serde_json::Value;

/// A node with the image's files, as the container sees them.
struct Node {
    place: tempfile::TempDir,
}

impl Node {
    fn new() -> Result<Self> {
        let place = tempfile::tempdir()?;
        let node = Self { place };
        for folder in ["image/bin", "image/stages", "cni"] {
            fs::create_dir_all(node.at(folder))?;
        }
        fs::copy(plugin()?, node.at("image/bin/coordinator"))?;
        symlink(tool()?, node.at("image/bin/coordinatorctl"))?;
        // Where artefacts are; the lab's own.
        fs::create_dir_all(Path::new(DIRECTORY).join(".."))?;
        Ok(node)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.place.path().join(path)
    }

    /// Mounts a ConfigMap as the kubelet does: a folder of a version, and links that a change swaps.
    fn mount(&self, at: &str, version: &str, files: &[(&str, &[u8])]) -> Result<()> {
        let folder = self.at(at);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join(format!("..{version}")))?;
        symlink(format!("..{version}"), folder.join("..data"))?;
        for (name, bytes) in files {
            fs::write(folder.join(format!("..{version}")).join(name), bytes)?;
            symlink(format!("..data/{name}"), folder.join(name))?;
        }
        Ok(())
    }

    fn agent(&self, role: &str) -> Result<(bool, String)> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coordinator-agent"));
        command.arg(role).env_clear();
        for (name, path) in [
            ("COORDINATOR_IMAGE", "image"),
            ("COORDINATOR_CNI_BIN", "cni"),
            ("COORDINATOR_STAGES", "stages"),
            ("COORDINATOR_PULLED", "pulled"),
            ("COORDINATOR_SOCKET", "agent.sock"),
            ("COORDINATOR_CALLS", "calls"),
        ] {
            command.env(name, self.at(path));
        }
        let output = command.output()?;
        Ok((output.status.success(), String::from_utf8(output.stderr)?))
    }

    /// The ADD of the plugin that the agent put there, with the pipeline that it put there.
    fn add(&self, lab: &Lab, pod: &Pod, network: &Network) -> Result<Value> {
        let mut settings = lab.cluster();
        settings["pipeline"] = "tenants".into();
        settings["prevResult"] = pod.result("eth0");
        pod.call(&self.at("cni/coordinator"), "ADD", "eth0", &network.configuration("coordinator", &settings))
    }
}

fn pipeline(digest: Digest, gold: u8) -> String {
    let text = fs::read_to_string(root().join("sdk/examples/vendor-mac/pipeline.toml")).unwrap();
    let uses = "use = \"wasm:vendor-mac.wasm\"";
    text.replace(uses, &format!("use = \"wasm:/opt/coordinator/stages/vendor-mac.wasm\"\nsha256 = \"{digest}\""))
        .replace("gold = 7", &format!("gold = {gold}"))
}

fn mac(result: &Value) -> String {
    let entries = result["interfaces"].as_array().unwrap();
    let eth0 = entries.iter().find(|entry| entry["name"] == "eth0" && entry["sandbox"].is_string()).unwrap();
    eth0["mac"].as_str().unwrap().to_owned()
}

fn pod(lab: &Lab, name: &str, network: &Network) -> Result<Pod> {
    let pod = lab.pod(name)?;
    *pod.namespace.lock().unwrap() = "gold".to_owned();
    pod.attach_without_us("eth0", network)?;
    Ok(pod)
}

#[test]
fn a_guest_of_a_config_map_serves_the_next_pod() {
    run(|lab| {
        let node = Node::new()?;
        let guest = component("vendor-mac", &[])?;
        let digest = Digest::of(&guest);
        node.mount("image/stages/map-0", "1", &[("vendor-mac.wasm", &guest)])?;
        node.mount("image/pipelines", "1", &[("tenants.toml", pipeline(digest, 7).as_bytes())])?;
        let (done, said) = node.agent("install")?;
        ensure!(done, "{said}");

        let networks = [20, 21, 22, 23].map(|number| lab.underlay(number, Families::Dual));
        let one = pod(lab, "p1", &networks[0])?;
        ensure!(mac(&node.add(lab, &one, &networks[0])?) == "02:42:10:07:02:14", "the guest is not asked");
        lab.expose(&one)?;
        for check in lab.checks(&one) {
            let outcome = check.run()?;
            ensure!(outcome.is_well(), "{check}: {outcome:?}");
        }

        // The pipeline changes; then comes a guest that is none: what runs goes on.
        node.mount("image/pipelines", "2", &[("tenants.toml", pipeline(digest, 9).as_bytes())])?;
        ensure!(node.agent("install")?.0, "the change is not taken");
        let two = pod(lab, "p2", &networks[1])?;
        ensure!(mac(&node.add(lab, &two, &networks[1])?) == "02:42:10:09:02:15", "the old pipeline runs");
        node.mount("image/stages/map-0", "2", &[("vendor-mac.wasm", b"\0asm")])?;
        node.mount("image/pipelines", "3", &[("tenants.toml", pipeline(Digest::of(b"\0asm"), 7).as_bytes())])?;
        let (done, said) = node.agent("install")?;
        ensure!(!done && said.contains("vendor-mac.wasm cannot be compiled: "), "{said}");
        let three = pod(lab, "p3", &networks[2])?;
        ensure!(mac(&node.add(lab, &three, &networks[2])?) == "02:42:10:09:02:16", "a wrong guest hurts");

        // Another version of the image has another engine: its artefacts are made when it starts.
        node.mount("image/stages/map-0", "4", &[("vendor-mac.wasm", &guest)])?;
        node.mount("image/pipelines", "4", &[("tenants.toml", pipeline(digest, 7).as_bytes())])?;
        for entry in fs::read_dir(DIRECTORY)? {
            fs::remove_file(entry?.path())?;
        }
        let four = pod(lab, "p4", &networks[3])?;
        let refused = node.add(lab, &four, &networks[3]).unwrap_err();
        let refused = &refused.downcast_ref::<PluginError>().unwrap().0;
        ensure!(refused["code"] == 11, "{refused}");
        fs::write(Path::new(DIRECTORY).join("0.0123456789abcdef.cwasm"), "of another version")?;
        let (done, said) = node.agent("install")?;
        ensure!(done, "{said}");
        ensure!(mac(&node.add(lab, &four, &networks[3])?) == "02:42:10:07:02:17", "it is not compiled anew");
        let left = fs::read_dir(DIRECTORY)?.filter_map(|it| it.ok()?.file_name().into_string().ok());
        ensure!(left.filter(|name| !name.starts_with('.')).count() == 2, "artefacts of other versions stay");
        let artefacts = Artefacts::open(Path::new(DIRECTORY))?.unwrap();
        artefacts.verify(digest)?;

        // What it put there, it takes away; while Pods need it, it does not.
        let (done, said) = node.agent("uninstall")?;
        ensure!(!done && said.contains("4 containers have attachments"), "{said}");
        for (pod, network) in [&one, &two, &three, &four].into_iter().zip(&networks) {
            pod.del("eth0", network, &lab.cluster())?;
        }
        let (done, said) = node.agent("uninstall")?;
        ensure!(done, "{said}");
        for gone in [DIRECTORY, "/etc/coordinator/pipelines/tenants.toml"] {
            ensure!(!Path::new(gone).exists(), "{gone} stays");
        }
        for folder in ["cni", "stages"] {
            ensure!(fs::read_dir(node.at(folder))?.count() == 0, "something stays in {folder}");
        }
        Ok(())
    });
}
