//! The speed reference: what an ADD and a DEL of the lab's underlay Pod ask of the kernel, hard-coded.
//!
//! The same questions and the same writes in the same datagrams as the plugin's, with addresses,
//! names and numbers as constants. No configuration, model, decision, record, lock or log, and no
//! thread: this process itself enters the Pod's namespace. Nothing can be faster that says the same.
//!
//! `floor add|del NETNS v4|v6|dual [NUMBER [beside]]`, where NUMBER (2 to 250, else 20) tells Pods apart and
//! `beside` says that the node's rules are another Pod's too, so that DEL leaves them; `floor add|del NETNS FAMILIES
//! NUMBER further NTH VETH` for the n-th interface (2 to 8) of a Pod that the plugin serves, whose node's end of the veth
//! pair is called VETH; or `floor nothing` to see what a process costs that does nothing

#[path = "floor/further.rs"]
mod further;
#[path = "floor/world.rs"]
mod world;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    net::IpAddr,
    os::fd::AsFd,
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
// The heap and the copying are the plugin's.
use coordinator_memory as _;
use coordinator_sdk::{Family, POD_VETH, PROTOCOL, Side, is_global};
use coordinator_stages::{
    kernel::{
        address,
        link::{self, KernelLink},
        neighbour,
        netlink::{Netlink, Request},
        nftables::Nftables,
        packet::PacketSocket,
        route, rule,
    },
    probe::frame,
};
use further::Further;
use nix::sched::{CloneFlags, setns};
use world::{ALIAS, World};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == ["nothing"] {
        return Ok(());
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let [command, namespace, families, more @ ..] = arguments.as_slice() else {
        bail!("floor add|del NETNS v4|v6|dual [NUMBER [beside | further NTH VETH]]")
    };
    let families: &[Family] = match *families {
        "v4" => &[Family::Ipv4],
        "v6" => &[Family::Ipv6],
        "dual" => &Family::ALL,
        other => bail!("{other} is none of v4, v6, dual"),
    };
    let open = |path: &str| File::open(path).with_context(|| format!("cannot open {path}"));
    let places = Places { pod: open(namespace)?, node: open("/proc/self/ns/net")? };
    let number = more.first().map_or(Ok(20), |number| number.parse())?;
    let world = || World::new(families, number);
    match (*command, more) {
        ("add", [_, "further", nth, veth]) => Further::new(families, nth.parse()?, number, veth).add(&places),
        ("del", [_, "further", nth, veth]) => Further::new(families, nth.parse()?, number, veth).del(&places),
        ("add", [] | [_] | [_, "beside"]) => add(&places, &world()),
        ("del", [] | [_]) => del(&places, &world(), false),
        ("del", [_, "beside"]) => del(&places, &world(), true),
        (other, more) => bail!("{other} {more:?} is nothing that can be done"),
    }
}

struct Places {
    pod: File,
    node: File,
}

impl Places {
    /// Does something in the Pod's namespace and comes back.
    fn in_pod<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        setns(&self.pod, CloneFlags::CLONE_NEWNET).context("cannot enter the pod")?;
        let result = work();
        setns(&self.node, CloneFlags::CLONE_NEWNET).context("cannot leave the pod")?;
        result
    }
}

fn add(places: &Places, world: &World) -> Result<()> {
    let (mut pod, mut nftables, links) = places.in_pod(|| observe_pod(places, world))?;
    let attached = links.iter().find(|link| link.name == world.attached).context("no attached interface")?;
    let mut node: Netlink = Netlink::open()?;
    observe_node(&mut node, world)?;

    // The pair, its numbers, and both ends claimed and raised.
    let question = Request { message: link::question_by_name(&world.node_veth), flags: 0 };
    let mut answers = node.transact(&[link::create_veth(&world.pair(), places.pod.as_fd()), question])?;
    let end = answers.pop().context("no answer")??.into_iter().find_map(link::parse).context("no veth")?;
    answers.pop().context("no answer")??;
    let (node_end, pod_end) = (end.index, end.lower.context("no peer")?);
    send(&mut node, &link::claim(node_end, ALIAS))?;
    send(&mut pod, &link::claim(pod_end, ALIAS))?;

    places.in_pod(|| {
        fs::write("/proc/sys/net/ipv4/conf/all/src_valid_mark", "1")?;
        fs::write("/proc/sys/net/ipv4/conf/veth0/rp_filter", "0")?;
        if world.families.contains(&Family::Ipv6) {
            fs::write("/proc/sys/net/ipv6/conf/veth0/disable_ipv6", "0")?;
        }
        Ok(())
    })?;

    let mut names = link::LinkNames::default();
    names.insert(pod_end, POD_VETH);
    let mut requests: Vec<Request> =
        world.node_ips.iter().map(|ip| neighbour::set(pod_end, *ip, world.pair().node_mac)).collect();
    for wanted in world.pod_routes() {
        requests.push(route::add(route::message(&wanted, PROTOCOL, &names)?));
    }
    requests.extend(world.pod_rules().iter().map(rule::add));
    send(&mut pod, &requests)?;
    nftables.mark_replies(POD_VETH, 0)?;

    let mut names = link::LinkNames::default();
    names.insert(node_end, &world.node_veth);
    let mut requests: Vec<Request> =
        world.pod_ips.iter().map(|ip| neighbour::set(node_end, *ip, world.pair().pod_mac)).collect();
    for wanted in world.node_routes() {
        requests.push(route::add(route::message(&wanted, PROTOCOL, &names)?));
    }
    let own = requests.len();
    requests.extend(world.node_rules().iter().map(rule::add));
    // Another Pod may have made the rules.
    for answer in node.transact(&requests)?.into_iter().take(own) {
        answer?;
    }
    node.get(link::question_by_name(&world.node_veth))??;
    places.in_pod(|| announce(attached, world))
}

/// Tells the neighbours each of the Pod's addresses.
fn announce(attached: &KernelLink, world: &World) -> Result<()> {
    let mac = attached.mac.context("no hardware address")?;
    let socket = PacketSocket::sender(attached.index)?;
    for ip in &world.pod_ips {
        let told = match ip {
            IpAddr::V4(ip) => frame::arp_announcement(mac, *ip),
            IpAddr::V6(ip) => frame::advertisement(mac, *ip),
        };
        socket.send(&told.context("no frame")?)?;
    }
    Ok(())
}

/// Every question that the plugin asks in the Pod; its links are what the answers are needed for.
fn observe_pod(places: &Places, world: &World) -> Result<(Netlink, Nftables, Vec<KernelLink>)> {
    let mut pod: Netlink = Netlink::open()?;
    let links = link::list(&mut pod)?;
    link::namespace_id(&mut pod, places.node.as_fd())??;
    address::list(&mut pod)?;
    for family in world.families {
        route::list_beside(&mut pod, *family, &world.aside)?;
        rule::list(&mut pod, Side::Pod, *family)?;
    }
    for key in ["all/src_valid_mark", "all/rp_filter", "default/rp_filter"] {
        fs::read(format!("/proc/sys/net/ipv4/conf/{key}"))?;
    }
    let mut nftables = Nftables::open()?;
    nftables.observe()?;
    Ok((pod, nftables, links))
}

/// Every question that the plugin asks on the node; the number of the node's end of the veth pair, when it is there.
fn observe_node(node: &mut Netlink, world: &World) -> Result<Option<u32>> {
    let mut questions = vec![link::question_by_name(&world.node_veth)];
    questions.extend(world.pod_ips.iter().map(|ip| route::way_question(*ip, None)));
    questions.extend(world.far_ips().map(route::match_question));
    let questions: Vec<_> = questions.into_iter().map(|message| Request { message, flags: 0 }).collect();
    let veth = node.transact(&questions)?.into_iter().next().and_then(Result::ok);
    let links: BTreeSet<u32> = address::list(node)?
        .iter()
        .filter(|address| is_global(address.prefix.addr()))
        .map(|address| address.index)
        .collect();
    let question = |index| Request { message: link::question_by_index(index), flags: 0 };
    node.transact(&links.into_iter().map(question).collect::<Vec<_>>())?;
    Ok(veth.and_then(|found| found.into_iter().find_map(link::parse)).map(|link| link.index))
}

fn del(places: &Places, world: &World, shares_rules: bool) -> Result<()> {
    let (mut pod, mut nftables) = places.in_pod(|| Ok((Netlink::open()?, Nftables::open()?)))?;
    let mut node: Netlink = Netlink::open()?;
    if !shares_rules {
        // Another Pod may have removed the rules.
        node.transact(&world.node_rules().iter().map(rule::remove).collect::<Vec<_>>())?;
    }
    send(&mut pod, &world.pod_rules().iter().map(rule::remove).collect::<Vec<_>>())?;
    nftables.unmark_replies(POD_VETH)?;
    let end = link::by_name(&mut node, &world.node_veth)?.context("no veth")?;
    send(&mut node, &[link::delete(end.index)])?;
    places.in_pod(|| Ok(fs::write("/proc/sys/net/ipv4/conf/all/src_valid_mark", "0")?))
}

/// Sends requests that must succeed, in one datagram.
fn send(netlink: &mut Netlink, requests: &[Request]) -> Result<()> {
    for answer in netlink.transact(requests)? {
        answer?;
    }
    Ok(())
}
