//! What a prepared node looks like, and which steps lead there from what it looks like now.

use std::collections::BTreeMap;

use super::{Object, PreparationError, Root, Step, look, record::Record};

/// Parameters for the next start of the machine.
const SYSCTL_FILE: &str = "/etc/sysctl.d/90-coordinator.conf";
/// NetworkManager's folder, where it is installed.
const NETWORK_MANAGER: &str = "/etc/NetworkManager";
/// Our file in it.
const NETWORK_MANAGER_FILE: &str = "/etc/NetworkManager/conf.d/90-coordinator.conf";
const NETWORK_MANAGER_TEXT: &str = "\
# Written by coordinatorctl node prepare: NetworkManager must not touch the Pods' veth pairs.
[keyfile]
unmanaged-devices+=interface-name:veth*
";

/// The parameter that lets half-seen TCP connections through.
const LIBERAL: &str = "net/netfilter/nf_conntrack_tcp_be_liberal";

/// Whether TCP connections that conntrack saw only half of are let through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Liberal {
    /// They are judged as the node judges them now.
    #[default]
    Untouched,
    /// They are: kube-proxy then makes no rule that drops them.
    Yes,
}

/// The neighbour table's sizes: enough for 4,000 Pods and what they talk to.
const THRESHOLDS: [(&str, u64); 3] = [("gc_thresh1", 4096), ("gc_thresh2", 16384), ("gc_thresh3", 32768)];

/// The steps that are left to do; none when the node is prepared.
///
/// # Errors
/// Something of the node cannot be read.
pub fn wanted(root: &Root, liberal: Liberal) -> Result<Vec<Step>, PreparationError> {
    let mut node = Node { root, steps: Vec::new(), values: BTreeMap::new() };
    // The largest first: the kernel wants no order, but a reader of the table does.
    for family in ["ipv4", "ipv6"] {
        for (name, least) in THRESHOLDS.into_iter().rev() {
            node.at_least(
                &format!("net/{family}/neigh/default/{name}"),
                least,
                "each Pod is a neighbour: a full table drops packets of all",
            )?;
        }
    }
    for interface in ["all", "default"] {
        let key = format!("net/ipv4/conf/{interface}/arp_notify");
        node.at_least(&key, 1, "neighbours learn at once when an address moves to the node")?;
    }
    node.forwarding()?;
    node.reverse_path()?;
    if liberal == Liberal::Yes || node.is_liberal_by_us()? {
        let why = "packets whose other direction takes another way are not dropped as invalid";
        node.at_least(LIBERAL, 1, why)?;
    }
    node.files()?;
    Ok(node.steps)
}

/// True for links of the node itself: a Pod's link must never be listened to for routes.
fn is_of_the_node(interface: &str) -> bool {
    let foreign =
        ["veth", "cali", "cilium", "lxc", "cni", "flannel", "docker", "cbr", "dummy", "virbr", "kube-ipvs", "vx-"];
    !matches!(interface, "all" | "default" | "lo") && !foreign.iter().any(|prefix| interface.starts_with(prefix))
}

struct Node<'r> {
    root: &'r Root,
    steps: Vec<Step>,
    /// What the machine must have again after its next start.
    values: BTreeMap<String, String>,
}

impl Node<'_> {
    fn value(&self, key: &str) -> Result<Option<String>, PreparationError> {
        look(self.root, &Object::Parameter(key.to_owned()))
    }

    /// An earlier preparation was asked for it: it stays so, also after the machine's next start.
    fn is_liberal_by_us(&self) -> Result<bool, PreparationError> {
        let object = Object::Parameter(LIBERAL.to_owned());
        let is_noted = Record::read(self.root)?.entries.iter().any(|entry| entry.object == object);
        Ok(is_noted && self.value(LIBERAL)?.as_deref() == Some("1"))
    }

    /// A parameter that the kernel does not have (no IPv6, a module that is not loaded) is left out.
    fn set(&mut self, key: &str, before: String, after: String, why: &str) {
        self.values.insert(key.to_owned(), after.clone());
        if before != after {
            let object = Object::Parameter(key.to_owned());
            self.steps.push(Step { object, before: Some(before), after: Some(after), why: why.to_owned() });
        }
    }

    fn at_least(&mut self, key: &str, least: u64, why: &str) -> Result<(), PreparationError> {
        if let Some(before) = self.value(key)? {
            let after = before.parse::<u64>().unwrap_or_default().max(least).to_string();
            self.set(key, before, after, why);
        }
        Ok(())
    }

    /// A node that forwards IPv6 does not listen to router advertisements any more, and loses the default route that it
    /// has from one, unless `accept_ra` is 2 by then.
    fn forwarding(&mut self) -> Result<(), PreparationError> {
        let why = "the node forwards between its Pods and their networks";
        self.at_least("net/ipv4/conf/all/forwarding", 1, why)?;
        let key = "net/ipv6/conf/all/forwarding";
        let forwards = self.value(key)?.as_deref() != Some("0");
        for interface in self.root.interfaces("ipv6").into_iter().filter(|name| is_of_the_node(name)) {
            let key = format!("net/ipv6/conf/{interface}/accept_ra");
            let before = self.value(&key)?.unwrap_or_default();
            // One that has 2 already keeps it over a restart.
            if before == "2" || before == "1" && !forwards {
                self.set(&key, before, "2".to_owned(), "router advertisements are heard although the node forwards");
            }
        }
        self.at_least(key, 1, why)
    }

    /// The strict filter drops what comes in by another interface than answers would leave by; the loose one drops only
    /// what has no way back at all. `all` and an interface's own value: the larger one counts, so `all` is enough.
    fn reverse_path(&mut self) -> Result<(), PreparationError> {
        let mut is_strict = false;
        for interface in self.root.interfaces("ipv4") {
            is_strict |= self.value(&format!("net/ipv4/conf/{interface}/rp_filter"))?.as_deref() == Some("1");
        }
        let key = "net/ipv4/conf/all/rp_filter";
        match self.value(key)? {
            Some(before) if is_strict || before == "2" => {
                self.set(key, before, "2".to_owned(), "Pods' packets may come in where answers do not leave");
            }
            _ => {}
        }
        Ok(())
    }

    fn files(&mut self) -> Result<(), PreparationError> {
        let mut text =
            "# Written by coordinatorctl node prepare: what a node of underlay Pods needs at its start.\n".to_owned();
        for (key, value) in &self.values {
            // sysctl.d takes slashes, so that a dot may be part of an interface's name.
            text.push_str(&format!("{key} = {value}\n"));
        }
        self.file(SYSCTL_FILE, text, "so that it is the same after a restart")?;
        if self.root.at(NETWORK_MANAGER).is_dir() {
            let why = "NetworkManager leaves veth pairs alone once it is reloaded: systemctl reload NetworkManager";
            self.file(NETWORK_MANAGER_FILE, NETWORK_MANAGER_TEXT.to_owned(), why)?;
        }
        Ok(())
    }

    fn file(&mut self, path: &str, text: String, why: &str) -> Result<(), PreparationError> {
        let object = Object::File(path.to_owned());
        let before = look(self.root, &object)?;
        if before.as_ref() != Some(&text) {
            self.steps.push(Step { object, before, after: Some(text), why: why.to_owned() });
        }
        Ok(())
    }
}
