//! Looking at a Pod that is attached: all that routing depends on in it, and what of the node belongs to it.

use std::sync::Arc;

use coordinator_sdk::Model;
use coordinator_stages::{
    decide::node_veth_name,
    kernel::namespace::Namespace,
    observe::{Depth, Question, observe},
    sockets::NodeSockets,
};

use super::AttachmentError;
use crate::record::Record;

/// The Pod of a record and its part of the node, as an ADD would see them.
///
/// # Errors
/// The kernel cannot be asked.
pub fn look(record: &Record, namespace: &Namespace) -> Result<Model, AttachmentError> {
    let mut node = NodeSockets::open()?;
    let settings = &record.about.settings;
    let node_veth = node_veth_name(&record.container);
    let question = Question {
        container: &record.container,
        attached: record.interface.as_str(),
        first: settings.pod_default_cni_nic.as_str(),
        node_veth: &node_veth,
        results: &[],
        host_rule_table: settings.host_rule_table,
        route_sources: &record.route_sources,
        lists_neighbours: true,
        aside: &[],
        depth: Depth::List,
    };
    let observation = namespace.enter(|pod| observe(pod, &mut node, &question))??;
    Ok(Arc::unwrap_or_clone(observation.model))
}
