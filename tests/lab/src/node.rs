//! The lab's world: the node with its interfaces, two LANs behind a router, an outside host, and a Pod
//! of the overlay.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use crate::{
    host::{Host, PORT},
    pod::{Network, Pod},
    service::{self, NODE_PORT, NODE_PORT_LOCAL, SERVICE_NODE, SERVICE_OVERLAY, SERVICE_POD},
    traffic::Check,
};

/// The node's address on the first LAN, its management address, the router's, the outside host's and
/// the overlay Pod's: IPv4, then IPv6.
const NODE: [&str; 2] = ["10.6.1.10", "fd00:10:6::110"];
const MANAGEMENT: [&str; 2] = ["172.20.0.10", "fd00:172:20::10"];
pub(crate) const ROUTER: [&str; 2] = ["10.6.0.1", "fd00:10:6::1"];
/// The router's addresses on the second LAN.
const SECOND: [&str; 2] = ["10.7.0.1", "fd00:10:7::1"];
const OUTSIDE: [&str; 2] = ["192.0.2.10", "2001:db8::10"];
const OVERLAY: [&str; 2] = ["10.244.1.100", "fd00:244::100"];

/// The cluster's service networks, as a configuration names them.
const SERVICE_CIDR: [&str; 2] = ["10.96.0.0/16", "fd00:96::/112"];
const POD_CIDR: [&str; 2] = ["10.244.0.0/16", "fd00:244::/64"];

/// How long the kernel may take to notice that the lab's wires are plugged in.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which addresses an interface gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Families {
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
    /// Both.
    Dual,
}

impl Families {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::V4, Self::V6, Self::Dual];

    pub(crate) fn has_v4(self) -> bool {
        self != Self::V6
    }

    pub(crate) fn has_v6(self) -> bool {
        self != Self::V4
    }
}

/// The world of one story.
#[derive(Debug)]
pub struct Lab {
    /// The node: the story's own thread is in it.
    pub node: Host,
    /// A host behind the router.
    pub outside: Host,
    /// A Pod that an overlay CNI made.
    pub overlay: Host,
    /// Both LANs' router.
    pub router: Host,
}

/// Builds the lab, tells the story and takes everything away. A story that fails, fails the test.
pub fn run(story: impl FnOnce(&Lab) -> Result<()> + Send + 'static) {
    if let Err(error) = tell(story) {
        panic!("{error:?}");
    }
}

/// As [`run`], for a program that says itself what went wrong.
///
/// # Errors
/// The lab cannot be built, or what the story says.
pub fn tell(story: impl FnOnce(&Lab) -> Result<()> + Send + 'static) -> Result<()> {
    let told = std::thread::spawn(|| {
        isolate().context("the lab needs root, or `unshare -Urn`")?;
        let lab = Lab::build().context("cannot build the lab")?;
        story(&lab)
    });
    told.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Namespaces for this thread alone, and empty directories where the plugin keeps its state.
fn isolate() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    for place in ["/run", "/var/log", "/var/lib"] {
        mount(Some("lab"), place, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    }
    // What is written into /etc stays in the lab; what is read is the machine's.
    for layer in ["/run/lab/etc", "/run/lab/work"] {
        fs::create_dir_all(layer)?;
    }
    let layers = "lowerdir=/etc,upperdir=/run/lab/etc,workdir=/run/lab/work,userxattr";
    mount(Some("lab"), "/etc", Some("overlay"), MsFlags::empty(), Some(layers))?;
    fs::create_dir_all("/var/log/spidernet")?;
    Ok(())
}

/// Writes a file of the story's own node, and the folders above it.
fn put(path: &str, text: &str) -> Result<()> {
    let path = Path::new(path);
    fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
    Ok(fs::write(path, text)?)
}

impl Lab {
    /// Has what the node keeps at `place` lie in a folder of the machine's disk, as on a real node, and not in memory.
    ///
    /// # Errors
    /// It cannot be mounted there.
    pub fn keep_on_disk(&self, place: &Path, folder: &Path) -> Result<()> {
        fs::create_dir_all(place)?;
        mount(Some(folder), place, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .with_context(|| format!("cannot mount {} at {}", folder.display(), place.display()))
    }

    fn build() -> Result<Self> {
        let lab = Self {
            node: Host::current("node")?,
            outside: Host::create("outside")?,
            overlay: Host::create("overlay")?,
            router: Host::create("router")?,
        };
        for host in [&lab.node, &lab.outside, &lab.overlay, &lab.router] {
            host.without_duplicate_detection()?;
        }
        for host in [&lab.node, &lab.router] {
            host.sysctl("net/ipv4/ip_forward", "1")?;
            host.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        }
        lab.build_node()?;
        lab.build_router()?;
        lab.build_overlay()?;
        for host in [&lab.node, &lab.outside, &lab.overlay, &lab.router] {
            host.serve()?;
        }
        service::serve(&lab.node, OVERLAY, NODE, [None, None])?;
        lab.settle()?;
        Ok(lab)
    }

    /// Waits until every wire of the lab carries: the kernel takes up to a second to notice a carrier, and a bridge
    /// drops what comes before.
    fn settle(&self) -> Result<()> {
        let wires = [
            (&self.node, ["ens1", "ens2", "mgmt0"].as_slice()),
            (&self.router, &["lan1", "lan2", "port1", "port2", "port3", "wan"]),
            (&self.outside, &["eth0"]),
        ];
        let begun = Instant::now();
        for (host, names) in wires {
            for name in names {
                while !host.run("ip", &["-oneline", "link", "show", "dev", name])?.contains("state UP") {
                    ensure!(begun.elapsed() < PATIENCE, "{name} on {} does not come up", host.name);
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        }
        Ok(())
    }

    fn build_node(&self) -> Result<()> {
        self.node.ip(&[
            "link set lo up",
            "link add ens1 type veth peer name port1 netns router",
            "link add ens2 type veth peer name port2 netns router",
            "link add mgmt0 type veth peer name port3 netns router",
            "address add 10.6.1.10/16 dev ens1",
            "address add fd00:10:6::110/64 dev ens1 nodad",
            "address add 10.7.1.10/16 dev ens2",
            "address add fd00:10:7::110/64 dev ens2 nodad",
            "address add 172.20.0.10/24 dev mgmt0",
            "address add fd00:172:20::10/64 dev mgmt0 nodad",
            "link add docker0 type bridge",
            "address add 172.17.0.1/16 dev docker0",
            "link set ens1 up",
            "link set ens2 up",
            "link set mgmt0 up",
            "link set docker0 up",
            "route add default via 10.6.0.1",
            "-6 route add default via fd00:10:6::1",
        ])
    }

    fn build_router(&self) -> Result<()> {
        self.router.ip(&[
            "link add lan1 type bridge",
            "link add lan2 type bridge",
            "link set port1 master lan1 up",
            "link set port2 master lan2 up",
            "link set port3 up",
            "address add 10.6.0.1/16 dev lan1",
            "address add fd00:10:6::1/64 dev lan1 nodad",
            "address add 10.7.0.1/16 dev lan2",
            "address add fd00:10:7::1/64 dev lan2 nodad",
            "link set lan1 up",
            "link set lan2 up",
            "link add wan type veth peer name eth0 netns outside",
            "address add 192.0.2.1/24 dev wan",
            "address add 2001:db8::1/64 dev wan nodad",
            "link set wan up",
        ])?;
        self.outside.ip(&[
            "address add 192.0.2.10/24 dev eth0",
            "address add 2001:db8::10/64 dev eth0 nodad",
            "link set eth0 up",
            "route add default via 192.0.2.1",
            "-6 route add default via 2001:db8::1",
        ])
    }

    /// As Calico does it: a host address, a link-local router that the node plays by proxy ARP.
    fn build_overlay(&self) -> Result<()> {
        self.node.ip(&[
            "link add cali0 address ee:ee:ee:ee:ee:ee type veth peer name eth0 netns overlay",
            "link set cali0 up",
            "address add fe80::1/64 dev cali0 nodad",
            "route add 10.244.1.100/32 dev cali0",
            "-6 route add fd00:244::100/128 dev cali0",
        ])?;
        self.node.sysctl("net/ipv4/conf/cali0/proxy_arp", "1")?;
        self.overlay.ip(&[
            "link set eth0 up",
            "address add 10.244.1.100/32 dev eth0",
            "address add fd00:244::100/128 dev eth0 nodad",
            "route add 169.254.1.1 dev eth0 scope link",
            "route add default via 169.254.1.1",
            "-6 route add default via fe80::1 dev eth0",
        ])
    }

    /// A Pod without interfaces yet.
    ///
    /// # Errors
    /// A Pod of that name exists.
    pub fn pod(&self, name: &str) -> Result<Pod> {
        Pod::create(name)
    }

    /// The Pod `p1` with `eth0` on the first LAN, made by the macvlan plugin alone; its network, and what the plugin said.
    ///
    /// # Errors
    /// A Pod of that name exists, or the plugin refuses.
    pub fn unserved_pod(&self, families: Families) -> Result<(Pod, Network, serde_json::Value)> {
        let (pod, network) = (self.pod("p1")?, self.underlay(20, families));
        let result = pod.attach_without_us("eth0", &network)?;
        Ok((pod, network, result))
    }

    /// A macvlan network on the first LAN; `number` (2 to 250) tells its Pods' addresses apart.
    pub fn underlay(&self, number: u8, families: Families) -> Network {
        self.network(1, number, families)
    }

    /// A macvlan network on the first or second LAN.
    pub fn network(&self, lan: u8, number: u8, families: Families) -> Network {
        let third = 5 + u16::from(lan);
        let mut addresses = Vec::new();
        if families.has_v4() {
            addresses.push((format!("10.{third}.2.{number}/16"), format!("10.{third}.0.1")));
        }
        if families.has_v6() {
            addresses.push((format!("fd00:10:{third}::2:{number:x}/64"), format!("fd00:10:{third}::1")));
        }
        Network { name: "underlay".to_owned(), parent: format!("ens{lan}"), addresses, has_routes: true }
    }

    /// The configuration that names the cluster's networks, as node defaults would.
    pub fn cluster(&self) -> serde_json::Value {
        serde_json::json!({"serviceCIDR": SERVICE_CIDR, "overlayPodCIDR": POD_CIDR})
    }

    /// As [`Lab::cluster`], with these fields, too.
    pub fn cluster_with(&self, more: serde_json::Value) -> serde_json::Value {
        let mut settings = self.cluster();
        for (key, value) in more.as_object().into_iter().flatten() {
            settings[key] = value.clone();
        }
        settings
    }

    /// As [`Lab::cluster_with`], and the wire is asked for conflicts and gateways.
    pub fn asking(&self, more: serde_json::Value) -> serde_json::Value {
        let mut settings = self.cluster_with(serde_json::json!({"detectIPConflict": true, "detectGateway": true}));
        for (key, value) in more.as_object().into_iter().flatten() {
            settings[key] = value.clone();
        }
        settings
    }

    /// Puts a named pipeline where the plugin looks for it; the machine's own `/etc` is not touched.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_pipeline(&self, name: &str, text: &str) -> Result<()> {
        put(&format!("/etc/coordinator/pipelines/{name}.toml"), text)
    }

    /// Puts the node's defaults where the plugin looks for them, as an agent does.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn write_node_defaults(&self, defaults: &serde_json::Value) -> Result<()> {
        put("/var/lib/coordinator/defaults.json", &defaults.to_string())
    }

    /// Puts a Pod's own choice of an interface, or anything else, where the plugin looks for it, as an agent does.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_pod_choice(&self, namespace: &str, name: &str, text: &str) -> Result<()> {
        put(&format!("/var/lib/coordinator/pods/{namespace}.{name}"), text)
    }

    /// Points services and node ports to a Pod.
    ///
    /// # Errors
    /// nftables refuses.
    pub fn expose(&self, pod: &Pod) -> Result<()> {
        let addresses: Vec<String> = pod.addresses().iter().map(ToString::to_string).collect();
        let first = |is_v6: bool| addresses.iter().map(String::as_str).find(|ip| ip.contains(':') == is_v6);
        service::serve(&self.node, OVERLAY, NODE, [first(false), first(true)])
    }

    /// Everything that a user of the Pod would try, for each of its addresses.
    pub fn checks<'l>(&'l self, pod: &'l Pod) -> Vec<Check<'l>> {
        let mut checks = Vec::new();
        let mut families = Vec::new();
        for ip in pod.addresses() {
            let at = usize::from(ip.is_ipv6());
            let family = if ip.is_ipv6() { "v6" } else { "v4" };
            let is_first = !families.contains(&family);
            families.push(family);
            let host = &pod.host;
            let mut check = |name: String, from: &'l Host, source: Option<IpAddr>, to: &str, port: u16| {
                // Addresses of this file and of Pods: they all parse.
                let Ok(to) = to.parse::<IpAddr>() else { return };
                checks.push(Check { name, from, source, to: SocketAddr::new(to, port), watch: host });
            };
            let mut sources = vec![("pod".to_owned(), None)];
            if families.len() > 1 || !is_first {
                sources.push((format!("pod[{ip}]"), Some(ip)));
            }
            for (asker, source) in sources.into_iter().skip(usize::from(!is_first)) {
                let mut ask =
                    |whom: &str, to: &str, port| check(format!("{family} {asker} > {whom}"), host, source, to, port);
                ask("node", NODE[at], PORT);
                ask("node's other address", MANAGEMENT[at], PORT);
                ask("router", ROUTER[at], PORT);
                ask("outside", OUTSIDE[at], PORT);
                ask("overlay pod", OVERLAY[at], PORT);
                ask("service (overlay pod)", SERVICE_OVERLAY[at], 80);
                ask("service (node)", SERVICE_NODE[at], 80);
                if is_first {
                    ask("service (itself)", SERVICE_POD[at], 80);
                }
            }
            let whom = if is_first { "pod".to_owned() } else { format!("pod[{ip}]") };
            let pod_ip = ip.to_string();
            check(format!("{family} node > {whom}"), &self.node, None, &pod_ip, PORT);
            check(format!("{family} overlay pod > {whom}"), &self.overlay, None, &pod_ip, PORT);
            if !pod.is_of_overlay(ip) {
                check(format!("{family} outside > {whom}"), &self.outside, None, &pod_ip, PORT);
                // What a host of either LAN would ask, on whichever the Pod's address is.
                for lan in [ROUTER[at], SECOND[at]] {
                    check(format!("{family} {lan} > {whom}"), &self.router, lan.parse().ok(), &pod_ip, PORT);
                }
            }
            if is_first {
                check(format!("{family} outside > nodePort (Cluster)"), &self.outside, None, NODE[at], NODE_PORT);
                check(format!("{family} outside > nodePort (Local)"), &self.outside, None, NODE[at], NODE_PORT_LOCAL);
            }
        }
        checks
    }
}
