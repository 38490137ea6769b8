//! A real runtime: podman runs a container on a conflist of the real macvlan plugin and ours.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use coordinator_lab::{Lab, command, difference, plugin, run, tool};
use serde_json::{Value, json};

const REFERENCE_PLUGINS: &str = "/usr/lib/cni";

/// What the container does: asks the node, a service and a host outside for a word.
const QUESTIONS: &str = "for to in 10.6.1.10:8080 10.96.0.10:80 192.0.2.10:8080; do
  echo | nc -w 2 ${to%:*} ${to#*:} | head -n 1 | grep -q . && echo \"$to answers\" || echo \"$to is silent\"
done
exec sleep ${1:-0}";

struct Runtime {
    place: tempfile::TempDir,
}

impl Runtime {
    fn prepare(lab: &Lab) -> Result<Self> {
        let place = tempfile::tempdir()?;
        let path = |name: &str| place.path().join(name);
        for folder in
            ["bin", "networks", "plugins", "root/bin", "root/proc", "root/sys", "root/dev", "root/etc", "root/tmp"]
        {
            fs::create_dir_all(path(folder))?;
        }
        for entry in fs::read_dir(REFERENCE_PLUGINS)? {
            let entry = entry?;
            std::os::unix::fs::symlink(entry.path(), path("plugins").join(entry.file_name()))?;
        }
        fs::copy(plugin()?, path("plugins/coordinator"))?;
        fs::copy("/bin/busybox", path("root/bin/busybox"))?;
        for applet in ["sh", "nc", "head", "grep", "echo", "sleep"] {
            std::os::unix::fs::symlink("busybox", path("root/bin").join(applet))?;
        }
        let mut ours = lab.cluster();
        ours["type"] = json!("coordinator");
        let conflist = json!({"cniVersion": "1.0.0", "name": "underlay", "plugins": [
            {"type": "macvlan", "master": "ens1", "mode": "bridge", "ipam": {
                "type": "host-local", "dataDir": path("addresses"),
                "ranges": [[{"subnet": "10.6.0.0/16", "rangeStart": "10.6.3.1", "rangeEnd": "10.6.3.9", "gateway": "10.6.0.1"}]],
                "routes": [{"dst": "0.0.0.0/0"}]}},
            ours,
        ]});
        fs::write(path("networks/underlay.conflist"), conflist.to_string())?;
        let configuration = format!(
            "[network]\nnetwork_backend = \"cni\"\ncni_plugin_dirs = [{:?}]\nnetwork_config_dir = {:?}\n[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n",
            path("plugins"),
            path("networks")
        );
        fs::write(path("containers.conf"), configuration)?;
        Ok(Self { place })
    }

    fn podman(&self, arguments: &[&str]) -> Result<String> {
        let path = |name: &str| self.place.path().join(name);
        let output = Command::new("podman")
            .env("CONTAINERS_CONF", path("containers.conf"))
            .args(["--runtime", "runc", "--root"])
            .arg(path("storage"))
            .arg("--runroot")
            .arg(path("run"))
            .args(arguments)
            .output()
            .context("cannot start podman")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "podman {}: {said}", arguments.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    }
}

#[test]
fn podman_runs_a_container_that_reaches_everything_and_leaves_nothing() {
    run(|lab| {
        let runtime = Runtime::prepare(lab)?;
        let before = lab.node.snapshot()?;
        let root = runtime.place.path().join("root");
        let root = root.to_str().context("a path of text")?;
        let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
        let mut arguments = vec!["run", "--rm", "--network", "underlay"];
        arguments.extend(limits);
        arguments.extend(["--rootfs", root, "/bin/sh", "-c", QUESTIONS]);
        let said = runtime.podman(&arguments)?;
        assert_eq!(said, "10.6.1.10:8080 answers\n10.96.0.10:80 answers\n192.0.2.10:8080 answers\n");
        // podman opens the firewall for its containers by nftables of its own; ours is in the Pod.
        let left = difference(&before, &lab.node.snapshot()?);
        let ours: Vec<_> = left.iter().filter(|line| !line.contains("nftables")).collect();
        assert!(ours.is_empty(), "{ours:?}");
        let records = Path::new("/run/coordinator");
        assert_eq!(fs::read_dir(records)?.count(), 0, "{}", command("find", &["/run/coordinator"], "")?);
        let log = fs::read_to_string("/var/log/spidernet/coordinator.log")?;
        assert!(log.contains("Planned."), "the plugin was not called");
        Ok(())
    });
}

/// What the runtime remembers of its calls names the container and its configuration.
#[test]
fn a_container_of_podman_is_found_by_its_name() {
    run(|lab| {
        let runtime = Runtime::prepare(lab)?;
        let root = runtime.place.path().join("root");
        let root = root.to_str().context("a path of text")?;
        let mut arguments = vec!["run", "--detach", "--name", "web", "--network", "underlay"];
        arguments.extend(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]);
        arguments.extend(["--rootfs", root, "/bin/sh", "-c", "exec sleep 600"]);
        let id = runtime.podman(&arguments)?;
        let ask = |arguments: &[&str]| -> Result<Value> {
            Ok(serde_json::from_str(&command(&tool()?.display().to_string(), arguments, "")?)?)
        };
        let asked = || -> Result<()> {
            let list = ask(&["list", "--json"])?;
            ensure!(list[0]["container"] == id.trim() && list[0]["podName"] == "web", "{list}");
            // By name: the configuration and the result come from the runtime's memory.
            let plan = ask(&["plan", "web", "--json"])?;
            let edits = plan["plan"].as_array().context("a plan")?;
            ensure!(!edits.is_empty() && edits.iter().all(|edit| edit["present"] == true), "{plan:#}");
            let check = ask(&["check", "web", "--json"])?;
            ensure!(check[0]["drifts"] == json!([]), "{check}");
            let paths = ask(&["path", "web", "--json"])?;
            ensure!(paths.as_array().is_some_and(|paths| paths.len() > 6), "{paths}");
            Ok(())
        };
        let answer = asked();
        runtime.podman(&["rm", "--force", "--time", "0", "web"])?;
        answer
    });
}
