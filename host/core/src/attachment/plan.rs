//! What an ADD would do now, without doing it: no change of the kernel, no record, no lock.

use std::{collections::BTreeSet, sync::Arc};

use coordinator_sdk::{Edit, Facts, Family, Key, Model, Plan, Projection, Side};
use coordinator_stages::{
    kernel::{namespace::NamespaceError, rule},
    observe::Depth,
    sockets::NodeSockets,
};

use super::{
    AddCall, AttachmentError,
    add::{is_dead, split},
    outlook::{Outlook, Prospect},
};
use crate::{
    record::{Outline, Record, State, Store},
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
    let outlines = match &store {
        Some(store) => store.outlines_of(&call.request.container)?,
        None => Vec::new(),
    };
    let unfinished = State::interrupted_of(&outlines);
    let is_dead = |outline: &Outline| is_dead(call, &unfinished, outline.interface(), outline.namespace());
    let (dead, living): (Vec<Outline>, Vec<Outline>) = outlines.into_iter().partition(is_dead);
    let interrupted = dead.iter().map(Outline::record).collect::<Result<_, _>>()?;
    let (own, others) = split(living, call)?;
    let outlook = Outlook { call, store: store.as_ref(), own, others };
    let mut see = |depth| {
        call.namespace.enter(|pod| -> Result<_, AttachmentError> {
            let mut observation = outlook.observe(pod, &mut node, depth, &[])?;
            Ok((outlook.facts(&mut observation)?, observation.model))
        })?
    };
    let decide = |facts: &Facts, observed: &Arc<Model>| -> Result<Prospect, AttachmentError> {
        let begun = Projection::onto(Arc::clone(observed), facts.clone());
        Ok(outlook.prospect(runner::run(&call.pipeline, begun, &mut runner::Recorded)?))
    };
    let (mut facts, observed) = see(Depth::Lookup)?;
    let mut prospect = decide(&facts, &observed)?;
    if adds_node_routes(&prospect.plan) {
        // Where the kernel would refuse one, the ADD looks at all of the node's table and decides anew.
        let (all, listed) = see(Depth::List)?;
        if is_refused(&prospect.plan, &listed) {
            prospect = decide(&all, &listed)?;
            facts = all;
        }
    }
    let Prospect { projection, plan, .. } = prospect;
    let present = present(&plan, &mut node)?;
    Ok(Planned { facts, projection, plan, present, interrupted })
}

fn node_routes(plan: &Plan) -> impl Iterator<Item = Key> {
    let edits = plan.edits.iter().map(|planned| &planned.edit);
    let added = edits.filter(|edit| matches!(edit, Edit::AddRoute(known) if known.route.side == Side::Node));
    added.map(Edit::key)
}

fn adds_node_routes(plan: &Plan) -> bool {
    node_routes(plan).next().is_some()
}

/// True when a route that is to be added on the node is there already, however it looks, and is not removed before.
fn is_refused(plan: &Plan, listed: &Model) -> bool {
    let edits = plan.edits.iter().map(|planned| &planned.edit);
    let removed: BTreeSet<Key> = edits.filter(|edit| matches!(edit, Edit::RemoveRoute(_))).map(Edit::key).collect();
    let is_there = |key: &Key| listed.routes_of(Side::Node).any(|known| Key::of_route(known) == *key);
    node_routes(plan).any(|key| is_there(&key) && !removed.contains(&key))
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
