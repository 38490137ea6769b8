//! ADD: observe, decide, record the intent, apply; undo and try once more when the kernel moved on.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use coordinator_sdk::{Address, Device, Edit, InterfaceName, Key, Model, POD_VETH, Plan, Projection, VethPair};
use coordinator_stages::{
    announce::announce,
    apply::{self, Fault, Manner, PodSide, Target},
    kernel::namespace::{Inside, NamespaceError},
    observe::{Depth, Observation},
    sockets::NodeSockets,
};
use tracing::{debug, warn};

use super::{
    AddCall, Added, AttachmentError,
    asking::{Asked, Asking},
    outlook::{Outlook, Prospect},
    release::{self, Reason},
};
use crate::{
    conflict_report::ConflictReport,
    process,
    record::{About, ContainerLock, Fingerprint, NamespaceIdentity, Outline, Record, Share, State, Store},
    runner,
};

/// How long another call for the same container, or a DEL that holds the node, is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Adds an attachment; a repeated call changes nothing that is right already.
///
/// # Errors
/// Whatever fails, Pod and node are as they were, unless the error is [`AttachmentError::Undo`].
pub fn add(call: &AddCall) -> Result<Added, AttachmentError> {
    add_with_fault(call, None)
}

/// As [`add`], but the kernel is made to refuse one edit: tests see that everything is undone.
///
/// # Errors
/// As [`add`].
pub fn add_with_fault(call: &AddCall, fault: Option<Fault>) -> Result<Added, AttachmentError> {
    let mut node = NodeSockets::open()?;
    if call.namespace.identity() == node.namespace.identity() {
        return Err(NamespaceError::NotANamespace { path: call.namespace.path().to_owned() }.into());
    }
    let store = Store::open(&call.places.state)?;
    let outcome = Attempt::begin(call, &store)?.run(&mut node, fault);
    if let Err(AttachmentError::Run(error)) = &outcome
        && let Some(report) = ConflictReport::new(&call.request, error.conflicts())
    {
        report.send(&call.places.agent);
    }
    outcome
}

/// Cleans up after calls that were killed and after a namespace that is no more; returns the others.
fn settle_old_records(
    call: &AddCall,
    store: &Store,
    lock: &ContainerLock<'_>,
) -> Result<Vec<Outline>, AttachmentError> {
    let outlines = lock.outlines()?;
    let interrupted = State::interrupted_of(&outlines);
    if !outlines.iter().any(|outline| is_dead(call, &interrupted, outline.interface(), outline.namespace())) {
        return Ok(outlines);
    }
    let mut living = lock.records()?;
    let is_due = |record: &Record| is_dead(call, &interrupted, &record.interface, record.namespace.as_ref());
    while let Some(at) = living.iter().position(is_due) {
        let dead = living.remove(at);
        warn!(interface = %dead.interface, "Cleaning up after an earlier call.");
        release::release(store, lock, &dead, &mut living, Some(&call.namespace), Reason::Interrupted)?;
    }
    Ok(lock.outlines()?)
}

/// Whether a record is of a call that was killed, or of a namespace that is no more.
pub(super) fn is_dead(
    call: &AddCall,
    interrupted: &[InterfaceName],
    interface: &InterfaceName,
    namespace: Option<&NamespaceIdentity>,
) -> bool {
    interrupted.contains(interface) || namespace.is_some_and(|known| !known.is(&call.namespace))
}

/// The attachment's own record, and the outlines of the others.
pub(super) fn split(
    mut outlines: Vec<Outline>,
    call: &AddCall,
) -> Result<(Option<Record>, Vec<Outline>), AttachmentError> {
    let own = outlines.extract_if(.., |outline| *outline.interface() == call.request.interface).next();
    Ok((own.as_ref().map(Outline::record).transpose()?, outlines))
}

struct Attempt<'a> {
    outlook: Outlook<'a>,
    store: &'a Store,
    lock: ContainerLock<'a>,
    asked: Asked,
}

impl<'a> Attempt<'a> {
    /// Takes the container's lock and reads its records.
    fn begin(call: &'a AddCall, store: &'a Store) -> Result<Self, AttachmentError> {
        let lock = store.lock_container(&call.request.container, PATIENCE)?;
        let outlook = Outlook { call, store: Some(store), own: None, others: Vec::new() };
        let mut attempt = Self { outlook, store, lock, asked: Asked::default() };
        attempt.read_records()?;
        Ok(attempt)
    }

    fn read_records(&mut self) -> Result<(), AttachmentError> {
        let call = self.outlook.call;
        let outlines = settle_old_records(call, self.store, &self.lock)?;
        (self.outlook.own, self.outlook.others) = split(outlines, call)?;
        Ok(())
    }

    /// Runs to the end, and gives back what was raised for asking when that is a bad one.
    fn run(mut self, node: &mut NodeSockets, fault: Option<Fault>) -> Result<Added, AttachmentError> {
        let namespace = &self.outlook.call.namespace;
        let mut outcome = namespace.enter(|pod| self.run_in(pod, node, fault))?;
        if matches!(outcome, Err(AttachmentError::Changed)) {
            debug!("Other attachments of the pod changed: beginning anew.");
            outcome = self.read_records().and_then(|()| namespace.enter(|pod| self.run_in(pod, node, None))?);
        }
        let Err(first) = outcome else { return outcome };
        if matches!(first, AttachmentError::Undo { .. }) || !self.lock.is_held() {
            return Err(first);
        }
        match self.asked.give_back(self.outlook.call, self.store, &self.lock) {
            Ok(()) => Err(first),
            Err(AttachmentError::Remaining(rest)) => Err(AttachmentError::Undo { first: Box::new(first), rest }),
            Err(error) => Err(error),
        }
    }

    fn run_in(
        &mut self,
        pod: &Inside<'_>,
        node: &mut NodeSockets,
        fault: Option<Fault>,
    ) -> Result<Added, AttachmentError> {
        match self.run_once(pod, node, Depth::Lookup, fault) {
            Err(AttachmentError::Apply { failure, .. }) if failure.is_stale() => {
                debug!(%failure, "Observing again.");
                match self.run_once(pod, node, Depth::List, None) {
                    Err(AttachmentError::Apply { failure, .. }) if failure.is_stale() => {
                        Err(AttachmentError::Unsteady(failure))
                    }
                    result => result,
                }
            }
            result => result,
        }
    }

    fn run_once(
        &mut self,
        pod: &Inside<'_>,
        node: &mut NodeSockets,
        depth: Depth,
        fault: Option<Fault>,
    ) -> Result<Added, AttachmentError> {
        let aside = if depth == Depth::Lookup { self.outlook.tables_of_others() } else { Vec::new() };
        let mut observation = self.outlook.observe(pod, node, depth, &aside)?;
        let facts = self.outlook.facts(&mut observation)?;
        let mut wire = Asking {
            call: self.outlook.call,
            lock: &mut self.lock,
            own: self.outlook.own.as_ref(),
            asked: &mut self.asked,
            pod,
            sockets: &mut observation.pod,
            node,
        };
        let begun = Projection::onto(Arc::clone(&observation.model), facts);
        let run = runner::run(&self.outlook.call.pipeline, begun, &mut wire)?;
        let Prospect { projection, touched, plan } = self.outlook.prospect(run);
        // One event, however many lines: each is a system call.
        debug!("Planned.\n{plan}");
        let record = self.record(&observation, &projection, &touched, &plan)?;
        {
            let _shared = self.store.lock_node(Share::Shared, PATIENCE)?;
            self.lock.intend(&record)?;
        }
        let raw_routes = &observation.raw_routes;
        let side = Some(PodSide { inside: pod, sockets: &mut observation.pod });
        let mut target = Target { pod: side, node: &mut node.route, raw_routes };
        self.apply(&mut target, &projection, &record, &touched, fault)?;
        self.lock.commit(&record)?;
        let mut added = self.added(&projection);
        let index = observation.pod.route.names.index(self.outlook.call.request.interface.as_str());
        if let (Some(stage), Some(index)) = (&self.outlook.call.pipeline.announce, index)
            && let Err(error) = announce(pod, index, projection.facts())
        {
            added.warnings.push(format!("{stage}: {error}"));
        }
        process::give_back((observation, projection, record, touched, plan));
        Ok(added)
    }

    /// The intent: what is touched, as it was before any attachment of ours and as it is wanted.
    fn record(
        &self,
        seen: &Observation,
        projection: &Projection,
        touched: &BTreeSet<Key>,
        plan: &Plan,
    ) -> Result<Record, AttachmentError> {
        let mut keys = touched.clone();
        let mut before = Model::default();
        // What nobody claims yet is as it was seen; of several who claim an object the last one knows.
        let mut unclaimed: Vec<(Fingerprint, &Key)> = touched.iter().map(|key| (Fingerprint::of(key), key)).collect();
        let keys_of = |part: Vec<(Fingerprint, &Key)>| part.into_iter().map(|(_, key)| key.clone()).collect();
        if let Some(own) = &self.outlook.own {
            let claimed = unclaimed.extract_if(.., |(_, key)| own.after.has_own(key)).collect();
            before.extend(own.before.restricted(&keys_of(claimed)));
        }
        for earlier in self.outlook.others.iter().rev() {
            let claimed: Vec<_> = unclaimed.extract_if(.., |(fingerprint, _)| earlier.claims(*fingerprint)).collect();
            if !claimed.is_empty() {
                before.extend(earlier.before()?.restricted(&keys_of(claimed)));
            }
        }
        before.extend(seen.model.restricted(&keys_of(unclaimed)));
        if let Some(own) = &self.outlook.own {
            // What the first ADD moved is no longer where it was: its record alone knows of it.
            // Not all that has its key: another interface's default gave way to somebody else, who gives it back.
            let lost: Vec<_> = own.lost().filter(|known| !touched.contains(&Key::of_route(known))).cloned().collect();
            keys.extend(lost.iter().map(Key::of_route));
            before.routes.extend(lost);
            // What it raised stays so as long as the attachment does.
            let raised: BTreeSet<Key> = own.raised().difference(touched).cloned().collect();
            before.extend(own.before.restricted(&raised));
            keys.extend(raised);
        }
        let request = &self.outlook.call.request;
        let (device, inode) = self.outlook.call.namespace.identity();
        Ok(Record {
            container: request.container.clone(),
            interface: request.interface.clone(),
            network: request.network.clone(),
            state: State::Intent,
            namespace: Some(NamespaceIdentity { path: self.outlook.call.namespace.path().to_owned(), device, inode }),
            about: About::of(request, &self.outlook.call.pipeline, projection, touched, plan).into(),
            table: projection.facts().attached_link().and_then(|link| link.table),
            addresses: projection.facts().attached_addresses().into_iter().map(Address::ip).collect(),
            route_sources: seen.route_sources.clone(),
            before,
            after: projection.facts().model.restricted(&keys),
            plan: plan.clone().into(),
        })
    }

    fn apply(
        &self,
        target: &mut Target<'_>,
        projection: &Projection,
        record: &Record,
        touched: &BTreeSet<Key>,
        fault: Option<Fault>,
    ) -> Result<(), AttachmentError> {
        let plan = &record.plan;
        let edits: Vec<_> = plan.edits.iter().map(|planned| planned.edit.clone()).collect();
        let outcome = apply::apply(&edits, target, Manner::Strict, fault);
        let Some(failure) = outcome.failures.into_iter().next() else { return Ok(()) };
        let mut undone = touched.clone();
        // The node's rules are not observed; one that the first ADD of this attachment claims stays.
        let claimed = self.outlook.own.as_ref().map(|own| own.after.own_keys()).unwrap_or_default();
        let is_kept = |key: &Key| key.is_shared_on_node() && claimed.contains(key);
        undone.extend(edits.iter().map(Edit::key));
        undone.retain(|key| !outcome.satisfied.contains(key) && !is_kept(key));
        let by_key = |key: &Key| plan.edits.iter().find(|planned| planned.edit.key() == *key);
        let stage = by_key(&failure.edit.key()).map(|planned| planned.stage.clone()).unwrap_or_default();
        let first = AttachmentError::Apply { stage, failure };
        let now = &projection.facts().model;
        let mut wanted = now.clone();
        wanted.restore(projection.observed(), &undone);
        let rest = release::bring_back((self.store, &self.lock), record, now, &wanted, target)?;
        if !rest.is_empty() {
            return Err(AttachmentError::Undo { first: Box::new(first), rest });
        }
        Err(first)
    }

    fn added(&self, projection: &Projection) -> Added {
        let facts = projection.facts();
        let pod = facts.model.link(&Device::pod(POD_VETH)).filter(|link| link.flags.ours);
        let veth = pod.and_then(|pod| {
            let node = facts.model.link(&Device::node(pod.peer.clone()?))?;
            Some(VethPair {
                pod: pod.device.name.clone(),
                node: node.device.name.clone(),
                pod_mac: pod.mac?,
                node_mac: node.mac?,
                mtu: pod.mtu,
            })
        });
        // Whichever stage asked for it, a repeated ADD included.
        let is_touched = facts.attached_link().is_some_and(|link| touches(projection, &link.device));
        let mac = facts.attached_link().and_then(|link| link.mac).filter(|_| is_touched);
        Added { mac, veth, mode: facts.mode(), warnings: projection.warnings().to_vec() }
    }
}

fn touches(projection: &Projection, device: &Device) -> bool {
    projection.touched().contains(&Key::Link(device.clone()))
}
