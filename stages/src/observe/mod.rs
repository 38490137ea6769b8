//! The first phase: reads the Pod's and the node's kernel state once, into one [`Model`].
//!
//! The Pod is read whole, since it is small. Of the node only what this attachment needs is asked,
//! so the cost does not grow with what else the node holds: its addresses are dumped, links are then
//! asked by number, and routes are looked up rather than listed. Nothing here decides anything.

mod known;
mod neighbours;
mod node;
mod pod;

pub use known::observe_known;

use std::{net::IpAddr, sync::Arc};

use coordinator_sdk::{ContainerId, Model, Side};
use ipnet::IpNet;

use crate::{
    kernel::{link::LinkNames, namespace::Inside, netlink::NetlinkError, nftables::NftError, sysctl::SysctlError},
    raw_routes::RawRoutes,
    sockets::{NodeSockets, PodSockets, SocketError},
};

/// Why the kernel's state could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// Route netlink failed on one side.
    #[error("cannot observe the {side}")]
    Netlink {
        /// Where.
        side: Side,
        /// Why.
        source: NetlinkError,
    },
    /// The Pod's nftables could not be read.
    #[error("cannot observe the pod's nftables")]
    Nftables(#[from] NftError),
    /// A socket of the Pod could not be opened.
    #[error("cannot observe the pod")]
    Sockets(#[from] SocketError),
    /// A kernel parameter of the Pod could not be read.
    #[error("cannot observe the pod's sysctls")]
    Sysctl(#[from] SysctlError),
    /// A namespace holds more objects than a Pod has use for.
    #[error("the pod has {found} {what}, more than the {most} that are looked at")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        found: usize,
        /// The bound.
        most: usize,
    },
}

/// An address of the attached interface as `prevResult` gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultAddress {
    /// Address and prefix length.
    pub prefix: IpNet,
    /// Its gateway, when one is named.
    pub gateway: Option<IpAddr>,
}

/// What is asked of the kernel.
#[derive(Debug)]
pub struct Question<'q> {
    /// Whose attachment it is; the ifalias of its links begins with it.
    pub container: &'q ContainerId,
    /// The attached interface.
    pub attached: &'q str,
    /// The Pod's first interface.
    pub first: &'q str,
    /// The node's end of the Pod's veth pair, present or not.
    pub node_veth: &'q str,
    /// The addresses in `prevResult`.
    pub results: &'q [ResultAddress],
    /// The node's table with the routes to Pods.
    pub host_rule_table: u32,
    /// Sources of the node's routes to the Pod that an earlier ADD recorded: once our own route
    /// stands, the kernel no longer shows them.
    pub route_sources: &'q [IpAddr],
    /// Also list the attached interface's neighbours: its hardware address may change, which flushes them.
    pub lists_neighbours: bool,
    /// Tables of the Pod of which only the default routes are looked at: what is in them is other attachments' alone.
    pub aside: &'q [u32],
    /// Also list the node's table and rules, which costs more the more Pods it has.
    pub depth: Depth,
}

/// How much of the node is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What an ADD on a tidy node needs.
    Lookup,
    /// The node's table and its rules too: something unexpected stood in the way.
    List,
}

/// What was read, with what apply needs to act on it.
#[derive(Debug)]
pub struct Observation {
    /// Both sides.
    pub model: Arc<Model>,
    /// The Pod's routes with all their attributes.
    pub raw_routes: RawRoutes,
    /// The sources of the node's routes to the Pod.
    pub route_sources: Vec<IpAddr>,
    /// The routers of the node's default routes.
    pub node_next_hops: Vec<IpAddr>,
    /// The Pod's sockets.
    pub pod: PodSockets,
}

/// Reads both sides. The calling thread is in the Pod's namespace.
///
/// # Errors
/// The kernel refuses, or the Pod holds absurdly many objects.
pub fn observe(pod: &Inside<'_>, node: &mut NodeSockets, question: &Question<'_>) -> Result<Observation, ObserveError> {
    let mut view = pod::read(pod, &node.namespace, question)?;
    let on_node = |source| ObserveError::Netlink { side: Side::Node, source };
    node.route.names = LinkNames::default();
    let seen = node::read(&mut node.route, question, &mut view).map_err(on_node)?;
    let neighbours = neighbours::read(&mut view, &mut node.route, &seen, question)?;
    let mut model = view.model;
    model.extend(seen.model);
    model.neighbours = neighbours;
    model.number_tables();
    Ok(Observation {
        model: Arc::new(model),
        raw_routes: view.raw_routes,
        route_sources: seen.route_sources,
        node_next_hops: seen.next_hops,
        pod: view.sockets,
    })
}

/// The beginning of the ifalias of every link that belongs to a container.
pub fn alias_prefix(container: &ContainerId) -> String {
    format!("coordinator:{}/", container.prefix(64))
}
