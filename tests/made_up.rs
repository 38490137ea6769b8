//! Pods that nobody thought of: made up by dice, served, and tried as their users would. A story that fails tells its
//! number, by which it is told again; `COORDINATOR_MADE_UP=FROM..TO` tells others than the usual ones.

use std::{env, fmt, ops::Range};

use anyhow::{Context as _, Result, ensure};
use coordinator_lab::{Families, Lab, Network, Overlay, Pod, all_are_well, difference, plugin, tell};
use serde_json::{Value, json};

/// The stories that are told when nobody asks for others.
const USUAL: Range<u64> = 0..12;
/// Names of interfaces; the first is the Pod's first.
const NAMES: [&str; 4] = ["eth0", "net1", "net2", "net3"];

/// SplitMix64: the same number makes the same story.
struct Dice(u64);

impl Dice {
    fn below(&mut self, number: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % number
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()].clone()
    }
}

/// A Pod's life.
struct Story {
    overlay: Option<Overlay>,
    first_families: Families,
    /// The interfaces of ours, each with its network, in the order in which they come.
    interfaces: Vec<(&'static str, Network)>,
    settings: Value,
    /// The order in which they go.
    going: Vec<usize>,
    number: u8,
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { overlay, first_families, settings, going, .. } = self;
        write!(f, "overlay {overlay:?} {first_families:?}, settings {settings}, going {going:?}")?;
        self.interfaces.iter().try_for_each(|(name, network)| {
            write!(f, "\n  {name} on {}: {:?}, routes {}", network.parent, network.addresses, network.has_routes)
        })
    }
}

impl Story {
    fn made_up(lab: &Lab, number: u64) -> Self {
        let mut dice = Dice(number);
        let base = 20 + u8::try_from(number % 20).unwrap() * 5;
        let overlay = (dice.below(3) == 0).then(|| dice.one_of(&Overlay::ALL));
        let first_families = match overlay {
            // Of IPv6 routes that macvlan joins to the overlay's, the kernel shows one MTU, that of the first: whose it is
            // comes out when they are parted, and a repeated ADD corrects it.
            Some(Overlay::Cilium) => Families::V4,
            // Its bridge has an IPv4 address.
            Some(Overlay::Flannel) => dice.one_of(&[Families::V4, Families::Dual]),
            _ => dice.one_of(&Families::ALL),
        };
        // Who has no default route of its own uses the first interface's, if that has one in each family and stays.
        let mut needs_first = false;
        let count = 1 + usize::try_from(dice.below(3)).unwrap();
        let names = if overlay.is_some() { &NAMES[1..] } else { &NAMES[..] };
        let mut interfaces: Vec<(&str, Network)> = Vec::new();
        for (at, name) in names.iter().take(count).enumerate() {
            let is_first = at == 0 && overlay.is_none();
            let families = if is_first { first_families } else { dice.one_of(&Families::ALL) };
            let lan = u8::try_from(1 + dice.below(2)).unwrap();
            let own = base + u8::try_from(at).unwrap();
            let has_routes = is_first || first_families != Families::Dual || dice.below(4) != 0;
            needs_first |= !has_routes;
            interfaces.push((*name, Network { has_routes, ..lab.network(lan, own, families) }));
        }
        // Later ones come in any order.
        let ours = usize::from(overlay.is_none());
        for at in (ours + 1..interfaces.len()).rev() {
            let other = ours + usize::try_from(dice.below((at - ours + 1) as u64)).unwrap();
            interfaces.swap(at, other);
        }
        let mut going: Vec<usize> = (0..interfaces.len()).collect();
        for at in (1..going.len()).rev() {
            going.swap(at, usize::try_from(dice.below(at as u64 + 1)).unwrap());
        }
        if needs_first && overlay.is_none() {
            going.retain(|at| *at != 0);
            going.push(0);
        }
        let settings = settings(lab, &mut dice, overlay.is_some(), &interfaces);
        Self { overlay, first_families, interfaces, settings, going, number: base }
    }

    fn begin(&self, lab: &Lab) -> Result<Pod> {
        match self.overlay {
            Some(shape) => lab.overlay_pod("p1", NAMES[0], self.number, shape, self.first_families),
            None => lab.pod("p1"),
        }
    }

    fn told(&self, lab: &Lab) -> Result<()> {
        let node = lab.node.snapshot()?;
        let pod = self.begin(lab)?;
        let before = (lab.node.snapshot()?, pod.host.snapshot()?);
        for (name, network) in &self.interfaces {
            pod.attach(name, network, &self.settings).with_context(|| format!("ADD of {name}"))?;
        }
        lab.all_is_well(&pod).context("with all interfaces")?;
        self.nothing_drifts(&pod, &[])?;
        let made = (lab.node.snapshot()?, pod.host.snapshot()?);
        for (name, network) in &self.interfaces {
            pod.add(name, network, &self.settings, &pod.result(name))
                .with_context(|| format!("second ADD of {name}"))?;
        }
        let moved = (difference(&made.0, &lab.node.snapshot()?), difference(&made.1, &pod.host.snapshot()?));
        ensure!(moved.0.is_empty() && moved.1.is_empty(), "a repeated ADD changes {moved:#?}");
        for (at, gone) in self.going.iter().enumerate() {
            let (name, network) = &self.interfaces[*gone];
            pod.detach(name, network, &self.settings).with_context(|| format!("DEL of {name}"))?;
            pod.forget(network);
            let gone = &self.going[..=at];
            if !pod.addresses().is_empty() {
                lab.expose(&pod)?;
                let mut checks = lab.checks(&pod);
                // Without its first interface the Pod may ask from another address than the service leads to, and then
                // answers itself past the node.
                checks.retain(|check| !check.name().contains("service (itself)"));
                all_are_well(&checks).with_context(|| format!("without {name}"))?;
            }
            self.nothing_drifts(&pod, gone).with_context(|| format!("without {name}"))?;
        }
        // The lab's own services, and what the kernel keeps by interfaces' names, are not ours.
        let ours =
            |line: &String| !line.contains("nftables") && !NAMES.iter().any(|name| line.contains(&format!("/{name}/")));
        let left: Vec<String> =
            difference(if self.overlay.is_some() { &before.0 } else { &node }, &lab.node.snapshot()?)
                .into_iter()
                .chain(difference(&before.1, &pod.host.snapshot()?))
                .filter(ours)
                .collect();
        ensure!(left.is_empty(), "left behind: {left:#?}");
        Ok(())
    }

    fn nothing_drifts(&self, pod: &Pod, gone: &[usize]) -> Result<()> {
        for (at, (name, network)) in self.interfaces.iter().enumerate() {
            if gone.contains(&at) {
                continue;
            }
            let mut configuration = network.configuration("coordinator", &self.settings);
            configuration["prevResult"] = pod.result(name);
            pod.call(&plugin()?, "CHECK", name, &configuration).with_context(|| format!("CHECK of {name}"))?;
        }
        Ok(())
    }
}

fn settings(lab: &Lab, dice: &mut Dice, is_overlay: bool, interfaces: &[(&str, Network)]) -> Value {
    let mut settings = lab.cluster();
    let with_routes = interfaces.iter().filter(|(_, it)| it.has_routes).map(|(name, _)| *name);
    let with_routes: Vec<&str> = [NAMES[0]].into_iter().chain(with_routes).collect();
    match dice.below(3) {
        0 => settings["podDefaultRouteNic"] = json!(dice.one_of(&with_routes)),
        1 => settings["podDefaultRouteNic"] = json!("net9"),
        _ => {}
    }
    if dice.below(2) == 0 {
        settings["podRPFilter"] = json!(dice.one_of(&[-1, 0, 1, 2]));
    }
    if dice.below(3) == 0 {
        settings["hostRuleTable"] = json!(dice.one_of(&[1_u32, 101, 599, 4_294_967_295]));
    }
    if dice.below(3) == 0 {
        settings["vethLinkAddress"] = json!(dice.one_of(&["169.254.200.1", "fe80::200"]));
    }
    if dice.below(3) == 0 {
        settings["vethMTU"] = json!(dice.one_of(&[1280, 1400, 9000]));
    }
    if dice.below(3) == 0 {
        settings["txQueueLen"] = json!(500);
    }
    if !is_overlay && dice.below(3) == 0 {
        settings["podMACPrefix"] = json!("0a:1b");
    }
    if dice.below(4) == 0 {
        settings["detectIPConflict"] = json!(true);
        settings["detectGateway"] = json!(true);
    }
    if dice.below(3) == 0 {
        settings["hijackCIDR"] = json!(["198.18.0.0/15", " 2001:db8:1::7 "]);
    }
    settings
}

#[test]
fn made_up_pods_work_and_leave_nothing() {
    let range = env::var("COORDINATOR_MADE_UP").ok().map(|text| {
        let (from, to) = text.split_once("..").expect("FROM..TO");
        from.parse().expect("a number")..to.parse().expect("a number")
    });
    let mut failed = Vec::new();
    for number in range.unwrap_or(USUAL) {
        let told = tell(move |lab| {
            let story = Story::made_up(lab, number);
            story.told(lab).with_context(|| format!("story {number}: {story}"))
        });
        if let Err(error) = told {
            failed.push(format!("{error:#}"));
        }
    }
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n\n"));
}
