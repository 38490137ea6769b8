//! What an ADD would do now, without doing it: no change of the kernel, no record, no lock.

use std::collections::BTreeSet;

use coordinator_sdk::{Facts, Family, Key, Plan, Projection, Side};
use coordinator_stages::{
    kernel::{namespace::NamespaceError, rule},
    observe::Depth,
    sockets::NodeSockets,
};

use super::{
    AddCall, AttachmentError,
    outlook::{Outlook, Prospect},
};
use crate::{
    record::{Record, State, Store},
    runner,
};

/// The outcome of a planned ADD.
#[derive(Debug)]
pub struct Planned {
    /// What the stages saw first; with it the same plan is made anywhere.
    pub facts: Facts,
    /// What they made of it.
    pub projection: Projection,
    /// What would be done, in kernel order.
    pub plan: Plan,
    /// What the plan adds though it is there: the node's shared rules are laid without asking first.
    pub present: BTreeSet<Key>,
    /// Earlier calls for the container that did not end: an ADD undoes them first, and may then find less to do or more.
    pub interrupted: Vec<Record>,
}

/// Plans an ADD.
///
/// # Errors
/// As [`add`](super::add), as far as it goes before its first write.
pub fn plan(call: &AddCall) -> Result<Planned, AttachmentError> {
    let mut node = NodeSockets::open()?;
    if call.namespace.identity() == node.namespace.identity() {
        return Err(NamespaceError::NotANamespace { path: call.namespace.path().to_owned() }.into());
    }
    let store = Store::existing(&call.places.state)?;
    let records = match &store {
        Some(store) => store.look(&call.request.container)?,
        None => Vec::new(),
    };
    let identity = call.namespace.identity();
    let unfinished = State::interrupted(&records);
    let is_dead = |record: &Record| {
        unfinished.contains(&record.interface)
            || record.namespace.as_ref().is_some_and(|known| (known.device, known.inode) != identity)
    };
    let (interrupted, living): (Vec<Record>, Vec<Record>) = records.into_iter().partition(is_dead);
    let (own, others): (Vec<Record>, Vec<Record>) =
        living.into_iter().partition(|record| record.interface == call.request.interface);
    let outlook = Outlook { call, store: store.as_ref(), own: own.into_iter().next(), others };
    let (facts, observation) = call.namespace.enter(|pod| -> Result<_, AttachmentError> {
        let mut observation = outlook.observe(pod, &mut node, Depth::Lookup)?;
        Ok((outlook.facts(&mut observation)?, observation))
    })??;
    let run = runner::run(&call.pipeline, facts.clone(), &mut runner::Recorded)?;
    let Prospect { projection, plan, .. } = outlook.prospect(run, &observation.model);
    let present = present(&plan, &mut node)?;
    Ok(Planned { facts, projection, plan, present, interrupted })
}

fn present(plan: &Plan, node: &mut NodeSockets) -> Result<BTreeSet<Key>, AttachmentError> {
    let shared = plan.edits.iter().map(|planned| planned.edit.key()).filter(Key::is_shared_on_node);
    let shared: BTreeSet<Key> = shared.collect();
    let mut present = BTreeSet::new();
    for family in Family::ALL.into_iter().filter(|_| !shared.is_empty()) {
        let rules = rule::list(&mut node.route.netlink, Side::Node, family)?;
        present.extend(rules.into_iter().map(|known| Key::Rule(known.rule)).filter(|key| shared.contains(key)));
    }
    Ok(present)
}
