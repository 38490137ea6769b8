//! For tests of stages: facts in a few lines, and what a decision comes to.
//!
//! ```
//! use coordinator_sdk::{Change, Decision, Facts, Refusal, Side, Stage, Sysctl, testing::{Scenario, plan}};
//!
//! struct LowPorts;
//! impl Stage for LowPorts {
//!     type Options = ();
//!     fn decide(_: &Facts, _: &()) -> Result<Decision, Refusal> {
//!         let key = "net/ipv4/ip_unprivileged_port_start".to_owned();
//!         let sysctl = Sysctl { side: Side::Pod, key, value: "0".to_owned() };
//!         Ok(Decision::default().propose(Change::SetSysctl(sysctl), "low ports are open in Pods"))
//!     }
//! }
//!
//! let facts = Scenario::underlay("eth0", &["10.6.0.7/16"]).of_pod("shop", "web-0").facts();
//! plan::<LowPorts>(&facts, "{}").unwrap().has("ip_unprivileged_port_start = 0").has("low ports are open");
//! ```

use std::{fmt, net::IpAddr};

use ipnet::IpNet;

use crate::{
    Address, AddressFlags, Device, Facts, Family, KnownRoute, Link, LinkFlags, Mac, Mode, NextHop, OtherAttachment,
    Plan, ProjectError, Projection, Refusal, Route, RouteFlags, Side, Source, Stage, TABLE_MAIN,
    options::{self, OptionsProblem},
};

/// `RTPROT_KERNEL`: routes that the kernel makes for addresses.
const BY_KERNEL: u8 = 2;
/// `RTPROT_BOOT`: routes of other plugins.
const BY_OTHERS: u8 = 3;

/// Facts that are being put together. What a test asks for and cannot be is a panic: a test's own fault.
#[derive(Debug, Clone)]
pub struct Scenario {
    facts: Facts,
}

impl Scenario {
    /// A Pod on a node with one network, whose first interface is macvlan and is being attached with these addresses.
    pub fn underlay(interface: &str, addresses: &[&str]) -> Self {
        let mut facts = Facts::default();
        facts.request.container = parsed("0123456789abcdef");
        facts.request.network = "underlay".to_owned();
        facts.request.node = "node-1".to_owned();
        facts.settings.mode = Mode::Underlay;
        facts.settings.pod_default_cni_nic = parsed(interface);
        let mut scenario = Self { facts };
        scenario.add_link(Device::node("ens1"), "", None);
        scenario.add_address(Device::node("ens1"), "10.6.1.10/16", true);
        scenario.with_interface(interface, addresses).attached(interface)
    }

    /// As [`Scenario::underlay`], but the first interface came from an overlay network, and the attached one is a
    /// further macvlan interface.
    pub fn overlay(interface: &str, addresses: &[&str]) -> Self {
        let mut scenario = Self::underlay("eth0", &[]);
        scenario.facts.settings.mode = Mode::Overlay;
        scenario.facts.model.links.retain(|link| link.device != Device::pod("eth0"));
        scenario.add_link(Device::node("cali0"), "veth", None);
        scenario.add_link(Device::pod("eth0"), "veth", Some("cali0"));
        scenario.add_address(Device::pod("eth0"), "10.244.1.7/32", false);
        scenario.add_route(Route {
            next_hops: vec![hop("169.254.1.1", "eth0")],
            link_scope: false,
            ..Route::direct(Side::Pod, TABLE_MAIN, Family::Ipv4.default_prefix(), "eth0")
        });
        scenario.with_interface(interface, addresses).attached(interface)
    }

    /// Adds a macvlan interface to the Pod, with addresses and the routes that the kernel makes for them.
    #[must_use]
    pub fn with_interface(mut self, interface: &str, addresses: &[&str]) -> Self {
        self.add_link(Device::pod(interface), "macvlan", None);
        for address in addresses {
            self.add_address(Device::pod(interface), address, true);
        }
        self
    }

    /// Adds a default route of the Pod by a router.
    #[must_use]
    pub fn with_gateway(mut self, interface: &str, gateway: &str) -> Self {
        let to = Family::of(parsed(gateway)).default_prefix();
        let direct = Route::direct(Side::Pod, TABLE_MAIN, to, interface);
        self.add_route(Route { next_hops: vec![hop(gateway, interface)], link_scope: false, ..direct });
        self
    }

    /// Has the call be about another interface.
    #[must_use]
    pub fn attached(mut self, interface: &str) -> Self {
        self.facts.request.interface = parsed(interface);
        let first = Device::pod(self.facts.settings.pod_default_cni_nic.as_str());
        for link in &mut self.facts.model.links {
            link.flags.attached = link.device == Device::pod(interface);
            link.flags.first = link.device == first;
        }
        self
    }

    /// Adds another attachment of the Pod, made before this one.
    #[must_use]
    pub fn with_other(mut self, interface: &str, network: &str, table: Option<u32>) -> Self {
        let other = OtherAttachment { interface: parsed(interface), network: network.to_owned(), table };
        self.facts.others.push(other);
        for link in self.facts.model.links.iter_mut().filter(|link| link.device == Device::pod(interface)) {
            link.table = table;
        }
        self
    }

    /// Says which Pod it is.
    #[must_use]
    pub fn of_pod(mut self, namespace: &str, name: &str) -> Self {
        namespace.clone_into(&mut self.facts.request.pod_namespace);
        name.clone_into(&mut self.facts.request.pod_name);
        self
    }

    /// Says what the attached network is called.
    #[must_use]
    pub fn in_network(mut self, network: &str) -> Self {
        network.clone_into(&mut self.facts.request.network);
        self
    }

    /// Adds an annotation or label of the Pod.
    #[must_use]
    pub fn with_metadata(mut self, key: &str, value: &str) -> Self {
        self.facts.request.metadata.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Sets a setting, as the CNI configuration would.
    #[must_use]
    #[allow(clippy::panic, reason = "a test's own fault")]
    pub fn with_setting(mut self, name: &str, value: serde_json::Value) -> Self {
        match self.facts.settings.set(name, &value, Source::Configuration) {
            Ok(_) => self,
            Err(problem) => panic!("{problem}"),
        }
    }

    /// Has a look at the facts, and a hand in them.
    #[must_use]
    pub fn with(mut self, edit: impl FnOnce(&mut Facts)) -> Self {
        edit(&mut self.facts);
        self
    }

    /// The facts.
    pub fn facts(self) -> Facts {
        self.facts
    }

    fn add_link(&mut self, device: Device, kind: &str, peer: Option<&str>) {
        let on_node = device.side == Side::Node;
        let mac = Some(Mac::derived(&device.to_string()));
        let link = Link {
            mac,
            permanent_mac: mac,
            max_mtu: 65535,
            transmit_queue: 1000,
            kind: kind.to_owned(),
            parent: (!on_node && kind == "macvlan").then(|| "ens1".to_owned()),
            peer: peer.map(str::to_owned),
            flags: LinkFlags { up: true, carrier: true, ..LinkFlags::default() },
            ..Link::named(device)
        };
        self.facts.model.links.push(link);
    }

    fn add_address(&mut self, device: Device, prefix: &str, from_result: bool) {
        let prefix: IpNet = parsed(prefix);
        let from_result = from_result && device.side == Side::Pod;
        let flags = AddressFlags { from_result, ..AddressFlags::default() };
        if device.side == Side::Pod && prefix.prefix_len() < prefix.max_prefix_len() {
            let route =
                Route { source: Some(prefix.addr()), ..Route::direct(Side::Pod, TABLE_MAIN, prefix, &device.name) };
            self.add_route(route);
            if let Some(known) = self.facts.model.routes.last_mut() {
                (known.protocol, known.flags.connected) = (BY_KERNEL, true);
            }
        }
        self.facts.model.addresses.push(Address { device, prefix, gateway: None, flags });
    }

    fn add_route(&mut self, route: Route) {
        let id = self.facts.model.routes.iter().map(|known| known.id).max().map_or(0, |id| id.saturating_add(1));
        let known = KnownRoute { id, route, protocol: BY_OTHERS, flags: RouteFlags::default() };
        self.facts.model.routes.push(known);
    }
}

fn hop(gateway: &str, interface: &str) -> NextHop {
    NextHop { gateway: Some(parsed::<IpAddr>(gateway)), device: Some(interface.to_owned()), weight: 1, onlink: false }
}

#[allow(clippy::panic, reason = "a test's own fault")]
fn parsed<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no {}", std::any::type_name::<T>()))
}

/// Why a stage comes to no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPlan {
    /// The options are wrong.
    #[error("options: {0}")]
    Options(#[from] OptionsProblem),
    /// The stage refuses.
    #[error("{0}")]
    Refused(Refusal),
    /// A proposal does not fit the facts.
    #[error(transparent)]
    Unfit(#[from] ProjectError),
}

/// What a stage's decision comes to.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The facts as the next stage sees them.
    pub facts: Facts,
    /// What the kernel would be asked to do.
    pub plan: Plan,
    /// What a person would be told.
    pub warnings: Vec<String>,
}

/// Asks a stage, with options in JSON, and projects its decision as the host does.
///
/// # Errors
/// The stage refuses, or what it is given or gives is wrong.
pub fn plan<S: Stage>(facts: &Facts, with: &str) -> Result<Planned, NoPlan> {
    let options = options::parse::<S::Options>(with)?;
    let decision = S::decide(facts, &options).map_err(NoPlan::Refused)?;
    let mut projection = Projection::new(facts.clone());
    projection.project("the stage", decision)?;
    let (plan, warnings) = (projection.plan(), projection.warnings().to_vec());
    Ok(Planned { facts: projection.facts().clone(), plan, warnings })
}

/// Why a stage refuses; for tests that expect it to.
///
/// # Panics
/// It does not refuse.
#[allow(clippy::panic, reason = "it is an assertion")]
pub fn refusal<S: Stage>(facts: &Facts, with: &str) -> Refusal {
    match plan::<S>(facts, with) {
        Err(NoPlan::Refused(refusal)) => refusal,
        Err(other) => panic!("expected a refusal, got: {other}"),
        Ok(planned) => panic!("expected a refusal, got the plan:\n{planned}"),
    }
}

impl Planned {
    /// Asserts that a line of the plan, or a warning, contains a text.
    ///
    /// # Panics
    /// None does.
    #[allow(clippy::panic, reason = "it is an assertion")]
    pub fn has(self, text: &str) -> Self {
        let shown = self.to_string();
        if !shown.lines().any(|line| line.contains(text)) {
            panic!("no line contains {text:?}:\n{shown}");
        }
        self
    }

    /// Asserts that no line of the plan, and no warning, contains a text.
    ///
    /// # Panics
    /// One does.
    #[allow(clippy::panic, reason = "it is an assertion")]
    pub fn lacks(self, text: &str) -> Self {
        let shown = self.to_string();
        if let Some(line) = shown.lines().find(|line| line.contains(text)) {
            panic!("a line contains {text:?}: {line}");
        }
        self
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.plan)?;
        self.warnings.iter().try_for_each(|warning| writeln!(f, "warning: {warning}"))
    }
}
