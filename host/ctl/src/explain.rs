//! `coordinatorctl explain`: why an attachment has what it has: which stage, which setting, from which source.

use std::net::IpAddr;

use clap::Args;
use coordinator_core::{record::Record, settings::nearest};
use coordinator_sdk::{Key, Settings, Side};
use serde_json::{Value, json};

use crate::{
    exit::Exit,
    failure::Failure,
    settings_view::{self, Shown},
    subject::Whom,
    terminal::Terminal,
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    whom: Whom,
    /// A setting's name; or an object: a route's or rule's prefix or address, a sysctl, a link, or any part of what
    /// `show` says of it
    #[arg(value_name = "WHAT")]
    what: String,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// An object and why it is there.
pub(crate) struct Explained {
    pub(crate) object: String,
    pub(crate) state: String,
    pub(crate) stage: String,
    /// What the stage uses, when its name does not say it: `native:NAME` or `wasm:PATH`.
    pub(crate) uses: Option<String>,
    pub(crate) why: String,
    pub(crate) settings: Vec<Shown>,
}

impl Explained {
    /// The stage as a person reads it.
    pub(crate) fn stage(&self) -> String {
        match &self.uses {
            Some(uses) => format!("{} ({uses})", self.stage),
            None => self.stage.clone(),
        }
    }
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let known = arguments.whom.one()?;
    let record = known.record.as_ref().ok_or_else(|| known.not_attached())?;
    if let Some(shown) = settings_view::one(&record.about.settings, &arguments.what) {
        let objects = of_setting(record, shown.name);
        match arguments.json {
            true => {
                let mut answer = shown.to_json();
                if let Some(fields) = answer.as_object_mut() {
                    let objects: Vec<Value> = objects.iter().map(to_json).collect();
                    fields.insert("objects".to_owned(), objects.into());
                }
                terminal.answer_json(&answer)?;
            }
            false => {
                terminal.answer(&format!("{}\n", shown.line()))?;
                for explained in &objects {
                    terminal.answer(&format!("  stage {}: {}\n", explained.stage(), explained.state))?;
                }
            }
        }
        return Ok(Exit::Success);
    }
    let found: Vec<Explained> = objects(record).into_iter().filter(|it| is_meant(it, &arguments.what)).collect();
    if found.is_empty() {
        let (what, whom) = (arguments.what.clone(), known.described());
        return Err(Failure::NoObject { advice: advice(&what, &arguments.whom.whom), what, whom });
    }
    match arguments.json {
        true => terminal.answer_json(&found.iter().map(to_json).collect::<Vec<_>>().into())?,
        false => found.iter().try_for_each(|explained| terminal.answer(&to_text(explained)))?,
    }
    Ok(Exit::Success)
}

/// Every object that the attachment claims.
pub(crate) fn objects(record: &Record) -> Vec<Explained> {
    let explain = |key: &Key| {
        let (stage, why) = match record.attribution(key) {
            Some(attribution) => (attribution.stage, attribution.why),
            None => ("projection".to_owned(), "kept as it was: the kernel would drop it by itself".to_owned()),
        };
        let uses = record.about.uses(&stage);
        let native = uses.strip_prefix("native:").unwrap_or_default();
        let settings = responsible(native, key, &record.about.settings);
        let settings = settings.iter().filter_map(|name| settings_view::one(&record.about.settings, name)).collect();
        let uses = (native != stage).then_some(uses);
        Explained { object: key.to_string(), state: state(record, key), stage, uses, why, settings }
    };
    record.after.own_keys().iter().map(explain).collect()
}

/// The objects that a setting is responsible for.
fn of_setting(record: &Record, name: &str) -> Vec<Explained> {
    let is_due = |explained: &Explained| explained.settings.iter().any(|shown| shown.name == name);
    objects(record).into_iter().filter(is_due).collect()
}

fn is_meant(explained: &Explained, what: &str) -> bool {
    let is_part = |what: &str| explained.object.contains(what) || explained.state.contains(what);
    match what {
        // As `ip route` says it.
        "default" => is_part(" 0.0.0.0/0 ") || is_part(" ::/0 "),
        what => is_part(what),
    }
}

/// What somebody may try who asked for what is not there.
fn advice(what: &str, whom: &str) -> String {
    match (nearest(what, Settings::NAMES), what.parse::<IpAddr>()) {
        (Some(name), _) => format!("did you mean {name}?"),
        (None, Ok(ip)) => format!("`coordinatorctl path {whom} --to {ip}` says which route leads there"),
        (None, Err(_)) => "`coordinatorctl show` lists what it has".to_owned(),
    }
}

/// The object as it is wanted.
fn state(record: &Record, key: &Key) -> String {
    let routes = record.after.routes.iter().filter(|known| Key::of_route(known) == *key);
    let text = match key {
        Key::Route(side, ..) => routes.map(|known| format!("{side} route {}", known.route)).next(),
        Key::Neighbour(device, ip) => {
            record.after.neighbour(device, *ip).map(|entry| format!("neighbour {ip} on {device} at {}", entry.mac))
        }
        Key::Sysctl(side, name) => {
            record.after.sysctl(*side, name).map(|value| format!("{side} sysctl {name} = {value}"))
        }
        Key::Link(device) => record.after.link(device).map(|link| {
            let mac = link.mac.map(|mac| format!(", MAC {mac}")).unwrap_or_default();
            format!("link {device}{mac}, mtu {}, transmit queue {}", link.mtu, link.transmit_queue)
        }),
        _ => None,
    };
    text.unwrap_or_else(|| key.to_string())
}

/// The settings on which the wish of a built-in stage, whatever a pipeline calls it, for an object stands.
fn responsible(native: &str, key: &Key, settings: &Settings) -> Vec<&'static str> {
    match (native, key) {
        ("pod-routes" | "interface-routes", Key::Route(Side::Pod, _, to, _)) => {
            let lists = [
                ("serviceCIDR", &settings.service_cidr),
                ("overlayPodCIDR", &settings.overlay_pod_cidr),
                ("hijackCIDR", &settings.hijack_cidr),
            ];
            let mut names: Vec<&'static str> =
                lists.into_iter().filter(|(_, list)| list.contains(to)).map(|(name, _)| name).collect();
            if native == "interface-routes" {
                names.push("tunePodRoutes");
                if to.prefix_len() == 0 {
                    names.push("podDefaultRouteNic");
                }
            }
            names
        }
        ("interface-routes", _) => vec!["tunePodRoutes"],
        ("policy-routes", _) => vec!["policyRoutes"],
        ("node-routes", _) => vec!["hostRuleTable"],
        ("sysctls", Key::Sysctl(_, name)) if name.ends_with("rp_filter") => vec!["podRPFilter"],
        ("mac-prefix", _) => vec!["podMACPrefix"],
        ("transmit-queue", _) => vec!["txQueueLen"],
        ("veth", Key::Address(..)) => vec!["vethLinkAddress"],
        ("veth", Key::Link(_)) => vec!["vethMTU", "mode"],
        ("reply-mark", _) => vec!["mode"],
        _ => Vec::new(),
    }
}

fn to_text(explained: &Explained) -> String {
    let mut text = format!("{}\n  stage {}, because {}\n", explained.state, explained.stage(), explained.why);
    explained.settings.iter().for_each(|shown| text.push_str(&format!("  {}\n", shown.line())));
    text
}

pub(crate) fn to_json(explained: &Explained) -> Value {
    json!({
        "object": explained.object, "state": explained.state, "stage": explained.stage,
        "use": explained.uses.clone().unwrap_or_else(|| format!("native:{}", explained.stage)), "why": explained.why,
        "settings": explained.settings.iter().map(Shown::to_json).collect::<Vec<_>>(),
    })
}
