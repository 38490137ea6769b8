//! A Pod: a namespace whose interfaces come from a chain of real CNI plugins.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fmt,
    io::Write as _,
    net::IpAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};

use crate::{command::plugin, host::Host, planned::began_anew};

/// Where Debian's package puts the reference plugins.
pub(crate) const REFERENCE_PLUGINS: &str = "/usr/lib/cni";

/// A macvlan network and the addresses that its static IPAM gives.
#[derive(Debug, Clone)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// The node's interface.
    pub parent: String,
    /// Addresses with their prefix lengths, each with its gateway.
    pub addresses: Vec<(String, String)>,
    /// Whether the IPAM gives default routes by the gateways.
    pub has_routes: bool,
}

impl Network {
    /// The configuration of a plugin of this type in the network's chain, with the fields of `settings`.
    pub fn configuration(&self, plugin_type: &str, settings: &Value) -> Value {
        let mut configuration = json!({"cniVersion": "1.0.0", "name": self.name, "type": plugin_type});
        for (key, value) in settings.as_object().into_iter().flatten() {
            configuration[key] = value.clone();
        }
        configuration
    }
}

/// A Pod.
#[derive(Debug)]
pub struct Pod {
    /// Its namespace.
    pub host: Host,
    /// Its container id.
    pub container: String,
    /// Its namespace in Kubernetes; empty for none.
    pub namespace: Mutex<String>,
    /// Its name in Kubernetes, which counts when it has a namespace there.
    name: Mutex<String>,
    addresses: Mutex<Vec<IpAddr>>,
    results: Mutex<BTreeMap<String, Value>>,
}

/// A plugin's refusal: the error object of the CNI specification.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginError(pub Value);

impl fmt::Display for PluginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the plugin refuses: {}", self.0)
    }
}

impl std::error::Error for PluginError {}

/// A plugin that runs.
#[derive(Debug)]
pub struct Call {
    child: Child,
    what: String,
}

impl Call {
    /// Kills it.
    ///
    /// # Errors
    /// It has ended by itself.
    pub fn kill(mut self) -> Result<()> {
        ensure!(self.child.try_wait()?.is_none(), "{} has ended", self.what);
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for its end; what it said.
    ///
    /// # Errors
    /// As [`Pod::attach`].
    pub fn end(self) -> Result<Value> {
        let output = self.child.wait_with_output()?;
        let result = match output.stdout.as_slice() {
            [] => Value::Null,
            text => serde_json::from_slice(text)
                .map_err(|_| anyhow!("{} says {}", self.what, String::from_utf8_lossy(text)))?,
        };
        if output.status.success() {
            return Ok(result);
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(anyhow::Error::new(PluginError(result)).context(format!("{}: {said}", self.what)))
    }
}

impl Pod {
    /// True for an address that an overlay gave: nobody outside of the cluster knows a way to it.
    pub fn is_of_overlay(&self, ip: IpAddr) -> bool {
        ip.to_string().starts_with("10.244.") || ip.to_string().starts_with("fd00:244:")
    }

    pub(crate) fn create(name: &str) -> Result<Self> {
        let host = Host::create(name)?;
        host.without_duplicate_detection()?;
        let container = format!("{name}-0123456789abcdef");
        let name = Mutex::new(name.to_owned());
        let (namespace, addresses, results) = (Mutex::default(), Mutex::default(), Mutex::default());
        Ok(Self { host, container, namespace, name, addresses, results })
    }

    /// Gives it a name in Kubernetes: from now on its runtime tells plugins, by `CNI_ARGS`.
    pub fn named(&self, namespace: &str, name: &str) {
        namespace.clone_into(&mut locked(&self.namespace));
        name.clone_into(&mut locked(&self.name));
    }

    /// What the macvlan plugin said of an interface; null when it was not asked.
    pub fn result(&self, interface: &str) -> Value {
        locked(&self.results).get(interface).cloned().unwrap_or_default()
    }

    /// Forgets the addresses of a network that the Pod has left.
    pub fn forget(&self, network: &Network) {
        let is_of = |ip: &IpAddr| network.addresses.iter().any(|(address, _)| address.starts_with(&format!("{ip}/")));
        locked(&self.addresses).retain(|ip| !is_of(ip));
    }

    /// Adds an address that no chain of ours gave.
    pub(crate) fn push_address(&self, ip: IpAddr) {
        locked(&self.addresses).push(ip);
    }

    /// The addresses that the networks gave, in their order.
    pub fn addresses(&self) -> Vec<IpAddr> {
        locked(&self.addresses).clone()
    }

    /// Attaches the Pod to a network by the macvlan plugin alone; its result.
    ///
    /// # Errors
    /// The plugin refuses.
    pub fn attach_without_us(&self, interface: &str, network: &Network) -> Result<Value> {
        let plugin = format!("{REFERENCE_PLUGINS}/macvlan");
        let result = self.call(Path::new(&plugin), "ADD", interface, &macvlan(network))?;
        for (address, _) in &network.addresses {
            let ip = address.split('/').next().unwrap_or_default();
            locked(&self.addresses).push(ip.parse()?);
        }
        locked(&self.results).insert(interface.to_owned(), result.clone());
        self.host.await_addresses(interface)?;
        self.host.serve()?;
        Ok(result)
    }

    /// Attaches the Pod to a network by the chain of macvlan and the plugin under test, whose
    /// configuration has the fields of `settings`; its result.
    ///
    /// # Errors
    /// A plugin refuses: the source is then a [`PluginError`].
    pub fn attach(&self, interface: &str, network: &Network, settings: &Value) -> Result<Value> {
        let result = self.attach_without_us(interface, network)?;
        self.add(interface, network, settings, &result)
    }

    /// The ADD of the plugin under test, with the result of the plugin before it.
    ///
    /// # Errors
    /// As [`Pod::attach`].
    pub fn add(&self, interface: &str, network: &Network, settings: &Value, prev_result: &Value) -> Result<Value> {
        let mut configuration = network.configuration("coordinator", settings);
        configuration["prevResult"] = prev_result.clone();
        let plan = self.plan_to_compare(interface, &configuration)?;
        let again = plan.as_ref().map_or(0, |_| began_anew());
        let result = self.call(&plugin()?, "ADD", interface, &configuration)?;
        if let Some(plan) = plan {
            self.did_or_began_anew(interface, &plan, again)?;
        }
        Ok(result)
    }

    /// The DEL of the plugin under test.
    ///
    /// # Errors
    /// As [`Pod::attach`].
    pub fn del(&self, interface: &str, network: &Network, settings: &Value) -> Result<()> {
        self.call(&plugin()?, "DEL", interface, &network.configuration("coordinator", settings)).map(drop)
    }

    /// Detaches by the chain in its reverse order.
    ///
    /// # Errors
    /// As [`Pod::attach`].
    pub fn detach(&self, interface: &str, network: &Network, settings: &Value) -> Result<()> {
        self.del(interface, network, settings)?;
        let plugin = format!("{REFERENCE_PLUGINS}/macvlan");
        self.call(Path::new(&plugin), "DEL", interface, &macvlan(network)).map(drop)
    }

    /// Makes an interface by hand, in a namespace other than the story's too, of a kind such as `ipvlan mode l2`; the
    /// result of a plugin that would have made it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn make_interface(&self, node: &Host, kind: &str, interface: &str, network: &Network) -> Result<Value> {
        let (name, parent) = (&self.host.name, &network.parent);
        node.ip(&[&format!("link add link {parent} name {interface} netns {name} type {kind}")])?;
        let is_v6 = |address: &str| address.contains(':');
        let mut lines = vec![format!("link set {interface} up")];
        for (address, gateway) in &network.addresses {
            lines.push(format!("address add {address} dev {interface}{}", if is_v6(address) { " nodad" } else { "" }));
            if network.has_routes {
                lines.push(format!("{}route add default via {gateway}", if is_v6(gateway) { "-6 " } else { "" }));
            }
            locked(&self.addresses).push(address.split('/').next().unwrap_or_default().parse()?);
        }
        self.host.ip(&lines.iter().map(String::as_str).collect::<Vec<_>>())?;
        self.host.await_carrier(interface)?;
        self.host.serve()?;
        let ips = network.addresses.iter();
        let ips = ips.map(|(address, gateway)| json!({"interface": 0, "address": address, "gateway": gateway}));
        let sandbox = self.host.path();
        Ok(json!({
            "cniVersion": "1.0.0",
            "interfaces": [{"name": interface, "mac": self.host.mac(interface)?, "sandbox": sandbox}],
            "ips": ips.collect::<Vec<_>>(),
        }))
    }

    /// Executes a plugin as a runtime does.
    ///
    /// # Errors
    /// As [`Pod::attach`].
    pub fn call(&self, plugin: &Path, command: &str, interface: &str, configuration: &Value) -> Result<Value> {
        let environment = self.environment(command, interface);
        begin(&mut Command::new(plugin), &environment, configuration)?.end()
    }

    /// Begins the ADD of the plugin under test on a node, behind the words of a program that executes another one.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn begin_add(
        &self,
        node: &Host,
        wrapper: &[&str],
        interface: &str,
        network: &Network,
        settings: &Value,
        prev_result: &Value,
    ) -> Result<Call> {
        let mut configuration = network.configuration("coordinator", settings);
        configuration["prevResult"] = prev_result.clone();
        let plugin = plugin()?;
        let mut words = wrapper.iter().map(OsStr::new).chain([plugin.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        let environment = self.environment("ADD", interface);
        node.enter(|| begin(&mut command, &environment, &configuration))?
    }

    /// The environment in which a runtime executes a plugin.
    pub fn environment(&self, command: &str, interface: &str) -> [(&'static str, String); 7] {
        let args: Vec<String> = self.args().iter().map(|(name, value)| format!("{name}={value}")).collect();
        [
            ("CNI_ARGS", args.join(";")),
            ("CNI_COMMAND", command.to_owned()),
            ("CNI_CONTAINERID", self.container.clone()),
            ("CNI_NETNS", self.host.path().display().to_string()),
            ("CNI_IFNAME", interface.to_owned()),
            ("CNI_PATH", REFERENCE_PLUGINS.to_owned()),
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ]
    }

    /// `NAMESPACE/NAME`, when it has them.
    pub(crate) fn whole_name(&self) -> Option<String> {
        let (namespace, name) = (locked(&self.namespace), locked(&self.name));
        (!namespace.is_empty()).then(|| format!("{namespace}/{name}"))
    }

    /// What `CNI_ARGS` says, as containerd, CRI-O and Multus say it of a Pod; nothing of a container that is none.
    pub(crate) fn args(&self) -> Vec<(&'static str, String)> {
        let namespace = locked(&self.namespace).clone();
        if namespace.is_empty() {
            return Vec::new();
        }
        vec![
            ("IgnoreUnknown", "1".to_owned()),
            ("K8S_POD_NAMESPACE", namespace),
            ("K8S_POD_NAME", locked(&self.name).clone()),
            ("K8S_POD_INFRA_CONTAINER_ID", self.container.clone()),
            ("K8S_POD_UID", format!("uid-of-{}", self.host.name)),
        ]
    }
}

/// A test that failed in another thread is no reason to fail here.
fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a plugin with its configuration on standard input.
pub(crate) fn begin(
    program: &mut Command,
    environment: &[(&'static str, String)],
    configuration: &Value,
) -> Result<Call> {
    let shown = environment.iter().filter(|(name, _)| ["CNI_COMMAND", "CNI_IFNAME"].contains(name));
    let shown: Vec<&str> = shown.map(|(_, value)| value.as_str()).collect();
    let what = format!("{} {}", program.get_program().display(), shown.join(" "));
    let mut child = program
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {what}"))?;
    let mut input = child.stdin.take().context("the child has a standard input")?;
    input.write_all(configuration.to_string().as_bytes())?;
    Ok(Call { child, what })
}

fn macvlan(network: &Network) -> Value {
    let addresses: Vec<Value> =
        network.addresses.iter().map(|(address, gateway)| json!({"address": address, "gateway": gateway})).collect();
    let is_v6 = |address: &str| address.contains(':');
    let routes: Vec<Value> = network
        .addresses
        .iter()
        .filter(|_| network.has_routes)
        .map(|(address, gateway)| json!({"dst": if is_v6(address) { "::/0" } else { "0.0.0.0/0" }, "gw": gateway}))
        .collect();
    json!({
        "cniVersion": "1.0.0", "name": network.name, "type": "macvlan", "master": network.parent, "mode": "bridge",
        "ipam": {"type": "static", "addresses": addresses, "routes": routes},
    })
}
