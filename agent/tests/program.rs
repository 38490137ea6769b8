//! The program itself, as a DaemonSet starts it: from nothing to a node that is ready.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::print_stdout,
    reason = "a test fails by a panic"
)]

mod lab;

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use lab::{World, eventually};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A process that ends with this value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(world: &World, folder: &Path, role: &str, port: u16) -> Process {
    let kubeconfig = folder.join("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: \"{}\"}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{}}}}]\n",
        world.proxy.url()
    );
    fs::write(&kubeconfig, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_coordinator-agent"));
    command.arg(role).env_clear().env("KUBECONFIG", &kubeconfig).env("PATH", "/nowhere").stderr(Stdio::inherit());
    for (name, value) in [
        ("COORDINATOR_DEFAULTS", "lib/defaults.json"),
        ("COORDINATOR_SOCKET", "run/agent.sock"),
        ("COORDINATOR_CALLS", "run/calls"),
        ("COORDINATOR_STATE", "state"),
        ("COORDINATOR_NETNS", "netns"),
        ("COORDINATOR_SPIDERPOOL", "spiderpool.sock"),
        ("COORDINATOR_CNI_BIN", "cni"),
        ("COORDINATOR_PIPELINES", "etc/pipelines"),
        ("COORDINATOR_IMAGE", "image"),
    ] {
        command.env(name, folder.join(value));
    }
    command
        .env("COORDINATOR_METRICS", format!("127.0.0.1:{port}"))
        .env("COORDINATOR_NODE", "node-1")
        .env("COORDINATOR_POD", role);
    command.env("COORDINATOR_NAMESPACE", &world.namespace).env("COORDINATOR_SYSTEM_NAMESPACE", &world.namespace);
    command.env("COORDINATOR_CILIUM_NAMESPACE", &world.namespace).env("COORDINATOR_LOG", "warn");
    Process(command.spawn().unwrap())
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

#[tokio::test]
async fn a_node_becomes_ready_when_its_defaults_are() {
    let world = World::start().await;
    world.proxy.faults().hide.push("/servicecidrs");
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    for (path, text) in [("image/bin/coordinator", "#!/bin/sh\n"), ("image/pipelines/gpu.toml", "schema = 1\n")] {
        fs::create_dir_all(at(path).parent().unwrap()).unwrap();
        fs::write(at(path), text).unwrap();
    }
    fs::create_dir(at("cni")).unwrap();
    let (node_port, leader_port) = (free_port(), free_port());
    let _node = start(&world, folder.path(), "node", node_port);
    eventually("the node answers", async || get(node_port, "/healthz").await.filter(|it| it.contains("200 OK"))).await;
    let waiting = get(node_port, "/readyz").await.unwrap();
    assert!(waiting.contains("503") && waiting.contains("no defaults yet"), "{waiting}");
    assert!(!at("cni/coordinator").exists(), "the plugin is there before its defaults are");

    world.kubeadm("10.244.0.0/16", "10.96.0.0/12").await;
    world.coordinator(json!({"podCIDRType": "cluster", "vethMTU": 1400})).await;
    let _leader = start(&world, folder.path(), "lead", leader_port);
    eventually("the node is ready", async || get(node_port, "/readyz").await.filter(|it| it.contains("200 OK"))).await;
    let defaults: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(at("lib/defaults.json")).unwrap()).unwrap();
    assert_eq!(
        defaults,
        json!({"overlayPodCIDR": ["10.244.0.0/16"], "serviceCIDR": ["10.96.0.0/12"], "vethMTU": 1400})
    );
    eventually("the plugin is installed", async || at("cni/coordinator").exists().then_some(())).await;
    assert_eq!(fs::read_to_string(at("etc/pipelines/gpu.toml")).unwrap(), "schema = 1\n");

    // A call of the plugin is counted.
    coordinator_core::tally::Call::new("ADD", None, std::time::Duration::from_millis(2)).note(&at("run/calls"));
    let metrics = eventually("the call is counted", async || {
        get(node_port, "/metrics")
            .await
            .filter(|text| text.contains("coordinator_calls_total{command=\"ADD\",code=\"0\"} 1"))
    })
    .await;
    assert!(metrics.contains("coordinator_defaults_right 1"), "{metrics}");
    assert!(
        metrics.contains("coordinator_api_requests_total{verb=\"watch\",resource=\"spidercoordinators\"}"),
        "{metrics}"
    );
    let metrics = get(leader_port, "/metrics").await.unwrap();
    assert!(metrics.contains("coordinator_leading 1"), "{metrics}");
}

#[test]
fn definitions_are_the_ones_in_deploy() {
    for (argument, file) in [(None, "crds.yaml"), (Some("--before-1.31"), "crds-before-1.31.yaml")] {
        let output = Command::new(env!("CARGO_BIN_EXE_coordinator-agent")).arg("crds").args(argument).output().unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/chart/files").join(file);
        let committed = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), committed, "run `cargo xtask manifests`");
    }
}

#[test]
fn wrong_variables_are_all_named() {
    let output = Command::new(env!("CARGO_BIN_EXE_coordinator-agent"))
        .arg("node")
        .env("COORDINATOR_CARE", "often")
        .env("COORDINATOR_METRICS", "here")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && said.contains("COORDINATOR_CARE") && said.contains("COORDINATOR_METRICS"),
        "{said}"
    );
}
