//! Who runs Spiderpool today replaces one file: its CNI configurations, and a SpiderMultusConfig of each kind, run word
//! for word, with real traffic.
//!
//! macvlan, bridge and tuning are Debian's real plugins. This machine's kernel has no IPvlan, VLAN, SR-IOV, InfiniBand and
//! Open vSwitch, so what a configuration says of those is not tried here: in their place stands the real macvlan (for ovs the
//! real bridge) plugin under their name, which gets their configuration and makes an interface that our plugin then has to
//! serve. `spiderpool`, the address management, is a stand-in whose answers the test writes.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use coordinator_lab::{Chain, Families, Lab, Network, Overlay, Plugins, Pod, command, difference, run, tool};
use serde_json::Value;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/drop_in"))
}

/// A node with the programs of a cluster that runs Spiderpool, and a stand-in for each that this machine cannot have.
struct Node<'l> {
    lab: &'l Lab,
    plugins: Plugins,
    _place: tempfile::TempDir,
}

impl<'l> Node<'l> {
    fn prepare(lab: &'l Lab) -> Result<Self> {
        lab.write_node_defaults(&lab.cluster())?;
        let place = tempfile::tempdir()?;
        let plugins = Plugins::new(&place.path().join("bin"))?;
        for kind in ["ipvlan", "vlan"] {
            plugins.disguise("macvlan", kind, r#","mode":"bridge""#)?;
        }
        for kind in ["sriov", "ib-sriov", "ipoib"] {
            // The last key of a name counts, as in Go; ipoib's own master stands before its type.
            plugins.disguise("macvlan", kind, r#","mode":"bridge","master":"ens1""#)?;
        }
        plugins.disguise("bridge", "ovs", "")?;
        // The bond and VLAN of a chain are there already; both of these pass on what came before them.
        plugins
            .stand_in("ifacer", "cat > /dev/null; [ \"$CNI_COMMAND\" = DEL ] || echo '{\"cniVersion\":\"1.0.0\"}'")?;
        plugins.stand_in(
            "rdma",
            "[ \"$CNI_COMMAND\" = ADD ] || exec cat > /dev/null; sed 's/.*\"prevResult\":\\({.*}\\),\"type\".*/\\1/'",
        )?;
        lab.node.ip(&[
            "link add ens1.100 type veth peer name port100 netns router",
            "link set ens1.100 up",
            "link add ens9 type veth peer name port9 netns router",
            "link add br1 type bridge",
            "link set ens9 master br1 up",
            "link set br1 up",
        ])?;
        lab.router.ip(&["link set port100 master lan1 up", "link set port9 master lan1 up"])?;
        // As the bridge plugin leaves it.
        lab.node.sysctl("net/ipv6/conf/br1/accept_ra", "0")?;
        for wire in ["ens1.100", "ens9"] {
            lab.node.await_carrier(wire)?;
        }
        Ok(Self { lab, plugins, _place: place })
    }

    /// Attaches, asks, looks at the traffic, detaches, and finds everything as before.
    fn serves(
        &self,
        chain: &Chain,
        pod: &Pod,
        interface: &str,
        network: &Network,
        look: impl Fn(&Value) -> Result<()>,
    ) -> Result<()> {
        // The kernel checks link-local addresses of new links for a second.
        while !self.lab.node.run("ip", &["address", "show", "tentative"])?.trim().is_empty() {
            std::thread::sleep(Duration::from_millis(20));
        }
        let before = (self.lab.node.snapshot()?, pod.host.snapshot()?);
        self.plugins.give(pod, interface, network)?;
        let result = chain.add(&self.plugins, pod, interface)?;
        look(&result)?;
        chain.check(&self.plugins, pod, interface, &result)?;
        self.lab.expose(pod)?;
        for check in self.lab.checks(pod) {
            // A bridge's port hears what is flooded on its network too, which may be as much as a conversation: once.
            let outcome = check.run()?;
            ensure!(outcome.is_well() || check.run()?.is_well(), "{check}: {outcome:?}");
        }
        chain.del(&self.plugins, pod, interface, &result)?;
        pod.forget(network);
        let record = Path::new("/run/coordinator").join(&pod.container).join(format!("{interface}.json"));
        ensure!(!record.exists(), "a record stays");
        let left = difference(&before.0, &self.lab.node.snapshot()?);
        let ours: Vec<_> = left.iter().filter(|line| !line.contains("nftables")).collect();
        ensure!(ours.is_empty(), "left on the node: {ours:?}");
        let left = difference(&before.1, &pod.host.snapshot()?);
        ensure!(left.is_empty(), "left in the Pod: {left:?}");
        Ok(())
    }
}

#[test]
fn a_cni_directory_of_the_go_plugin_runs_unchanged() {
    run(|lab| {
        let node = Node::prepare(lab)?;
        let read = |name: &str| -> Result<Chain> {
            Chain::parse(&fs::read_to_string(folder().join("net.d").join(name))?).context(name.to_owned())
        };
        for (number, name) in ["10-every-key", "20-null", "30-empty", "40-other-releases", "50-ipvlan", "60-sriov"]
            .into_iter()
            .enumerate()
        {
            let chain = read(&format!("{name}.conflist"))?;
            let pod = lab.pod(&format!("p{number}"))?;
            let network = lab.underlay(20 + u8::try_from(number)?, Families::Dual);
            let look = |result: &Value| {
                let mac = pod.host.mac("eth0")?;
                let reported = result["interfaces"].as_array().into_iter().flatten();
                let reported = reported.filter(|it| it["name"] == "eth0").map(|it| it["mac"].to_string());
                ensure!(reported.collect::<Vec<_>>() == [format!("\"{mac}\"")], "{result}");
                let prefix = match name {
                    "10-every-key" => "0a:1b:0a:06:02:14",
                    "60-sriov" => "1a:2b:0a:06:02:19",
                    _ => return Ok(()),
                };
                ensure!(mac == prefix, "{mac}");
                Ok(())
            };
            let told = || format!("{name}: {:?}", chain.types());
            node.serves(&chain, &pod, "eth0", &network, look).with_context(told)?;
        }
        let pod = lab.overlay_pod("o1", "eth0", 40, Overlay::Calico, Families::Dual)?;
        let network = lab.network(2, 40, Families::Dual);
        node.serves(&read("70-overlay.conflist")?, &pod, "net1", &network, |_| Ok(()))?;
        let log = fs::read_to_string("/var/log/spidernet/coordinator.log")?;
        ensure!(log.contains("hostRPFilter") && log.contains("multusNicPrefix"), "what has no effect is not told");
        Ok(())
    });
}

/// What the keys of the longest configuration do can be seen.
#[test]
fn every_key_of_the_go_plugin_has_its_effect() {
    run(|lab| {
        let node = Node::prepare(lab)?;
        let pod = lab.pod("p1")?;
        let chain = Chain::parse(&fs::read_to_string(folder().join("net.d/10-every-key.conflist"))?)?;
        node.plugins.give(&pod, "eth0", &lab.underlay(20, Families::Dual))?;
        chain.add(&node.plugins, &pod, "eth0")?;
        let shows = |arguments: &[&str], expected: &str| -> Result<()> {
            let shown = pod.host.run("ip", arguments)?;
            ensure!(shown.contains(expected), "{arguments:?} does not show {expected}: {shown}");
            Ok(())
        };
        shows(&["link", "show", "eth0"], "qlen 2000")?;
        shows(&["link", "show", "veth0"], "mtu 1400")?;
        shows(&["address", "show", "veth0"], "inet 169.254.200.1/32")?;
        for inside in ["169.254.20.10", "10.96.0.9", "10.244.7.7", "fd00:96::9", "fd00:244::7"] {
            shows(&["route", "get", inside], "dev veth0")?;
        }
        shows(&["route", "get", "10.50.1.1"], "via 10.6.0.1 dev eth0")?;
        // The table is the node's: its rule and its route lead to the Pod.
        let rules = lab.node.run("ip", &["rule"])?;
        ensure!(rules.contains("lookup 500"), "{rules}");
        let routes = lab.node.run("ip", &["route", "show", "table", "500"])?;
        ensure!(routes.contains("10.6.2.20"), "{routes}");
        Ok(())
    });
}

#[test]
fn a_disabled_plugin_returns_what_came_before() {
    run(|lab| {
        let node = Node::prepare(lab)?;
        let pod = lab.pod("p1")?;
        let network = lab.underlay(20, Families::Dual);
        let result = pod.attach_without_us("eth0", &network)?;
        let before = (lab.node.snapshot()?, pod.host.snapshot()?);
        let text = fs::read_to_string(folder().join("net.d/80-disabled.conf"))?;
        let mut configuration: Value = serde_json::from_str(&text)?;
        configuration["prevResult"] = result.clone();
        let returned = pod.call(&coordinator_lab::plugin()?, "ADD", "eth0", &configuration)?;
        ensure!(returned["ips"] == result["ips"] && returned["interfaces"] == result["interfaces"], "{returned}");
        ensure!(difference(&before.0, &lab.node.snapshot()?).is_empty(), "the node is changed");
        ensure!(difference(&before.1, &pod.host.snapshot()?).is_empty(), "the Pod is changed");
        drop(node);
        Ok(())
    });
}

/// Open vSwitch's interface is a pair whose other end is on the node, as an overlay's is; but the way to the node is ours.
#[test]
fn a_pod_of_a_bridge_is_served_as_one_of_macvlan_with_further_interfaces_too() {
    run(|lab| {
        let node = Node::prepare(lab)?;
        let pod = lab.pod("p1")?;
        let ours = r#"{"type": "coordinator"}"#;
        let chain = |name: &str, made: &str| {
            Chain::parse(&format!(r#"{{"cniVersion": "1.0.0", "name": "{name}", "plugins": [{made}, {ours}]}}"#))
        };
        let bridge = chain("one", r#"{"type": "ovs", "bridge": "br1", "ipam": {"type": "spiderpool"}}"#)?;
        let macvlan =
            chain("two", r#"{"type": "macvlan", "master": "ens2", "mode": "bridge", "ipam": {"type": "spiderpool"}}"#)?;
        node.plugins.give(&pod, "eth0", &lab.network(1, 20, Families::Dual))?;
        bridge.add(&node.plugins, &pod, "eth0")?;
        node.serves(&macvlan, &pod, "net1", &lab.network(2, 21, Families::Dual), |_| Ok(()))
    });
}

/// Rendered by the code that the agent's leader runs, by way of the tool.
#[test]
fn a_spidermultusconfig_of_each_kind_runs_unchanged() {
    run(|lab| {
        let node = Node::prepare(lab)?;
        let file = folder().join("networks.yaml");
        let file = file.to_str().context("a path of text")?;
        let tool = tool()?.display().to_string();
        command(&tool, &["manifest", "validate", "--deny-warnings", file], "")?;
        let rendered: Value = serde_json::from_str(&command(&tool, &["manifest", "render", "--json", file], "")?)?;
        let definitions = rendered["items"].as_array().context("a list")?;
        let expected: [(&str, &[&str]); 11] = [
            ("macvlan-ens1", &["macvlan", "coordinator"]),
            ("macvlan-vlan100", &["ifacer", "macvlan", "coordinator"]),
            ("ipvlan-ens1", &["ipvlan", "coordinator"]),
            ("vlan200", &["vlan", "coordinator"]),
            ("sriov-rdma", &["sriov", "rdma", "tuning", "coordinator"]),
            ("ib-sriov", &["ib-sriov", "coordinator"]),
            ("ipoib", &["ipoib", "coordinator"]),
            ("ovs", &["ovs", "coordinator"]),
            ("custom", &["macvlan", "coordinator"]),
            ("macvlan-alone", &["macvlan"]),
            ("macvlan-tuned", &["macvlan", "coordinator", "tuning"]),
        ];
        ensure!(definitions.len() == expected.len(), "{rendered:#}");
        for (number, (definition, (name, types))) in definitions.iter().zip(expected).enumerate() {
            ensure!(definition["metadata"]["name"] == name, "{definition}");
            let chain = Chain::parse(definition["spec"]["config"].as_str().context("a configuration")?)?;
            ensure!(chain.types() == types, "{name}: {:?}", chain.types());
            let pod = lab.pod(&format!("p{number}"))?;
            let network = lab.underlay(20 + u8::try_from(number)?, Families::Dual);
            if types.contains(&"coordinator") {
                node.serves(&chain, &pod, "eth0", &network, |_| Ok(())).context(name.to_owned())?;
            } else {
                node.plugins.give(&pod, "eth0", &network)?;
                let result = chain.add(&node.plugins, &pod, "eth0")?;
                ensure!(pod.host.snapshot()?.with("veth0").count() == 0, "{name}: it is served all the same");
                chain.del(&node.plugins, &pod, "eth0", &result)?;
            }
        }
        Ok(())
    });
}
