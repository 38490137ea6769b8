//! Damages to an attachment: everything that a person or another program could do to an object of ours.

use anyhow::Result;
use coordinator_lab::{Families, Host, Lab, Network, Pod};
use serde_json::{Value, json};

pub const NAMES: [&str; 3] = ["eth0", "net1", "net2"];
/// Our routes' and rules' protocol number.
const PROTOCOL: &str = "66";

/// Something that a person or another program could do to an object of ours.
pub struct Damage<'l> {
    /// The object as CHECK should name it.
    pub object: String,
    pub host: &'l Host,
    pub program: &'static str,
    pub arguments: Vec<String>,
}

impl Damage<'_> {
    pub fn cause(&self) -> Result<()> {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        self.host.run(self.program, &arguments).map(drop)
    }
}

/// A small generator of numbers (xorshift): the same seed gives the same damages.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

pub fn settings(lab: &Lab) -> Value {
    let mut settings = lab.cluster();
    for (key, value) in [
        ("podMACPrefix", json!("0a:1b")),
        ("txQueueLen", json!(777)),
        ("vethLinkAddress", json!("169.254.99.1")),
        ("vethMTU", json!(1450)),
        ("podRPFilter", json!(2)),
        ("hijackCIDR", json!(["169.254.20.10", "fd00:20::/64"])),
    ] {
        settings[key] = value;
    }
    settings
}

/// A Pod with three dual-stack interfaces, two of them in one subnet.
pub fn attached(lab: &Lab, settings: &Value) -> Result<(Pod, Vec<Network>)> {
    let pod = lab.pod("p1")?;
    let networks: Vec<Network> =
        [(1, 20), (2, 21), (2, 22)].map(|(lan, number)| lab.network(lan, number, Families::Dual)).into();
    for (name, network) in NAMES.iter().zip(&networks) {
        pod.attach(name, network, settings)?;
    }
    Ok((pod, networks))
}

fn listed(host: &Host, arguments: &[&str]) -> Result<Vec<Value>> {
    let text = host.run("ip", arguments)?;
    Ok(serde_json::from_str::<Vec<Value>>(if text.trim().is_empty() { "[]" } else { &text })?)
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// Everything of ours that can be damaged, in every way that we know.
pub fn damages<'l>(lab: &'l Lab, pod: &'l Pod) -> Result<Vec<Damage<'l>>> {
    let mut all = Vec::new();
    for (side, host) in [("pod", &pod.host), ("node", &lab.node)] {
        for family in ["4", "6"] {
            routes(side, host, family, &mut all)?;
            rules(side, host, family, &mut all)?;
        }
        for entry in listed(host, &["-j", "neighbour", "show", "nud", "permanent"])? {
            let (ip, device) = (text(&entry, "dst"), text(&entry, "dev"));
            let object = format!("neighbour {ip} on {side}/{device}");
            let mut ip_words = |line: String| {
                all.push(Damage { object: object.clone(), host, program: "ip", arguments: words(&line) });
            };
            ip_words(format!("neighbour del {ip} dev {device}"));
            ip_words(format!("neighbour change {ip} dev {device} lladdr 0a:00:00:00:00:99 nud permanent"));
        }
    }
    links(lab, pod, &mut all);
    parameters(pod, &mut all);
    reply_marks(pod, &mut all)?;
    Ok(all)
}

fn routes<'l>(side: &str, host: &'l Host, family: &str, all: &mut Vec<Damage<'l>>) -> Result<()> {
    let flag = format!("-{family}");
    for route in listed(host, &[&flag, "-j", "-N", "route", "show", "table", "all", "protocol", PROTOCOL])? {
        let table = route["table"].as_str().unwrap_or("254");
        let (length, nothing, usual) = if family == "4" { (32, "0.0.0.0/0", 0) } else { (128, "::/0", 1024) };
        let to = match text(&route, "dst") {
            "default" => nothing.to_owned(),
            to if to.contains('/') => to.to_owned(),
            to => format!("{to}/{length}"),
        };
        let metric = route["metric"].as_u64().unwrap_or(usual);
        let object = format!("{side} route {to} metric {metric} in table {table}");
        let via = route["gateway"].as_str().map(|gateway| format!("via {gateway}")).unwrap_or_default();
        let source = route["prefsrc"].as_str().map(|source| format!("src {source}")).unwrap_or_default();
        let shape = format!("{to} {via} dev {} table {table} metric {metric} protocol {PROTOCOL}", text(&route, "dev"));
        for line in [format!("{flag} route del {shape}"), format!("{flag} route change {shape} {source} mtu 1333")] {
            all.push(Damage { object: object.clone(), host, program: "ip", arguments: words(&line) });
        }
        // One that was moved away is back: the next hop of the interface's own default, in `main`.
        if to == nothing && ["net1", "net2"].contains(&text(&route, "dev")) {
            let object = format!("{side} route {to} metric {metric} in table 254");
            let arguments =
                words(&format!("{flag} route append {to} {via} dev {} metric {metric}", text(&route, "dev")));
            all.push(Damage { object, host, program: "ip", arguments });
        }
    }
    Ok(())
}

fn rules<'l>(side: &str, host: &'l Host, family: &str, all: &mut Vec<Damage<'l>>) -> Result<()> {
    let flag = format!("-{family}");
    for rule in listed(host, &[&flag, "-j", "-N", "rule"])?.iter().filter(|rule| text(rule, "protocol") == PROTOCOL) {
        let (priority, table) = (&rule["priority"], text(rule, "table"));
        let length = if family == "4" { 32 } else { 128 };
        let from = match text(rule, "src") {
            "all" => "all".to_owned(),
            from => format!("{from}/{length}"),
        };
        let mark = match text(rule, "fwmark") {
            "" => String::new(),
            mark => format!(" fwmark {mark}/{}", text(rule, "fwmask")),
        };
        let to = match text(rule, "dst") {
            "" => String::new(),
            network => format!(" to {network}/{}", rule["dstlen"]),
        };
        let what = format!("from {from}{to}{mark} lookup {table}");
        let object = format!("{side} rule ipv{family} {priority}: {what}");
        let line = format!("{flag} rule del priority {priority} {what} protocol {PROTOCOL}");
        all.push(Damage { object, host, program: "ip", arguments: words(&line) });
    }
    Ok(())
}

fn links<'l>(lab: &'l Lab, pod: &'l Pod, all: &mut Vec<Damage<'l>>) {
    let node_end = "vethp1-01234567";
    let mut ip_words = |host: &'l Host, object: &str, line: &str| {
        all.push(Damage { object: object.to_owned(), host, program: "ip", arguments: words(line) });
    };
    for name in NAMES {
        let object = format!("link pod/{name}");
        ip_words(&pod.host, &object, &format!("link set {name} address 0a:00:00:00:00:77"));
        ip_words(&pod.host, &object, &format!("link set {name} txqueuelen 123"));
    }
    for (host, side, name) in [(&pod.host, "pod", "veth0"), (&lab.node, "node", node_end)] {
        let object = format!("link {side}/{name}");
        ip_words(host, &object, &format!("link set {name} address 0a:00:00:00:00:88"));
        ip_words(host, &object, &format!("link set {name} mtu 1300"));
        ip_words(host, &object, &format!("link set {name} txqueuelen 123"));
        ip_words(host, &object, &format!("link set {name} down"));
    }
    ip_words(&pod.host, "address 169.254.99.1/32 on pod/veth0", "address del 169.254.99.1/32 dev veth0");
}

fn parameters<'l>(pod: &'l Pod, all: &mut Vec<Damage<'l>>) {
    let mut set = |key: String, value: &str| {
        let path = format!("/proc/sys/{key}");
        let arguments = vec!["-c".to_owned(), format!("echo {value} > {path}")];
        all.push(Damage { object: format!("pod sysctl {key}"), host: &pod.host, program: "sh", arguments });
    };
    for scope in ["all", "default", "eth0", "net1", "net2", "veth0"] {
        set(format!("net/ipv4/conf/{scope}/rp_filter"), "1");
    }
    set("net/ipv4/conf/all/src_valid_mark".to_owned(), "0");
    for name in ["net1", "net2"] {
        set(format!("net/ipv4/conf/{name}/arp_ignore"), "0");
        set(format!("net/ipv4/conf/{name}/arp_announce"), "0");
    }
    set("net/ipv6/conf/veth0/disable_ipv6".to_owned(), "1");
}

fn reply_marks<'l>(pod: &'l Pod, all: &mut Vec<Damage<'l>>) -> Result<()> {
    let shown: Value =
        serde_json::from_str(&pod.host.run("nft", &["-j", "-a", "list", "table", "inet", "coordinator"])?)?;
    let object = "reply mark of pod/veth0";
    let mut nft = |line: String| {
        all.push(Damage { object: object.to_owned(), host: &pod.host, program: "nft", arguments: vec![line] });
    };
    for rule in shown["nftables"].as_array().into_iter().flatten().filter_map(|entry| entry.get("rule")) {
        let place = format!("rule inet coordinator {} handle {}", text(rule, "chain"), rule["handle"]);
        nft(format!("delete {place}"));
        nft(format!("replace {place} counter comment \"replies 0 veth0\""));
    }
    nft("insert rule inet coordinator output drop".to_owned());
    nft("chain inet coordinator output { policy drop; }".to_owned());
    nft("flush ruleset".to_owned());
    nft("delete table inet coordinator".to_owned());
    Ok(())
}
