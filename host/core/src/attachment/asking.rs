//! Asking the wire in the middle of an ADD.
//!
//! It takes a tenth of a second and more, so the container is not locked meanwhile. A record stands for the
//! attachment then: it holds what was raised to be able to ask, and a DEL that comes in between takes it away, which
//! the ADD sees. What other calls did to the container's other attachments is seen the same way. The kernel's state
//! may have changed too, as it may between any observation and its plan: apply finds that out.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use coordinator_sdk::{Finding, Key, Link, Model, Probe, Projection, Refusal, diff};
use coordinator_stages::{
    apply::{self, Manner, PodSide, Target},
    kernel::{link, namespace::Inside, netlink::NetlinkError, packet::PacketSocket},
    probe::{self, conversation::Conversation},
    raw_routes::RawRoutes,
    sockets::{NodeSockets, PodSockets},
};
use tracing::debug;

use super::{
    AddCall, AttachmentError,
    add::PATIENCE,
    release::{self, Reason},
};
use crate::{
    record::{ContainerLock, NamespaceIdentity, Record, Sealed, State, Store},
    runner::{RunError, Wire},
};

/// How long an interface that was raised may take until it carries frames.
const CARRIER_PATIENCE: Duration = Duration::from_secs(1);
const CARRIER_INTERVAL: Duration = Duration::from_millis(2);

/// What the wire said to a call, and what the call gives back when it fails.
#[derive(Debug, Default)]
pub(super) struct Asked {
    findings: Vec<Finding>,
    standing: Option<Standing>,
}

/// The record that stands for an attachment while the wire is asked.
#[derive(Debug)]
struct Standing {
    /// What was raised, before and after.
    raised: Record,
    /// The record of an earlier ADD in whose place it stands.
    earlier: Option<Record>,
}

impl Asked {
    /// Brings back what was raised, and the record of an earlier ADD; the lock is held.
    pub(super) fn give_back(
        &mut self,
        call: &AddCall,
        store: &Store,
        lock: &ContainerLock<'_>,
    ) -> Result<(), AttachmentError> {
        let Some(Standing { raised, earlier }) = self.standing.take() else { return Ok(()) };
        let mut others = lock.records()?;
        let before = others.len();
        others.retain(|record| record.interface != raised.interface);
        if before == others.len() {
            // A DEL was faster.
            return Ok(());
        }
        match raised.after.own_keys().is_empty() {
            true => lock.remove(&raised)?,
            false => {
                release::release(store, lock, &raised, &mut others, Some(&call.namespace), Reason::Interrupted)?;
            }
        }
        if let Some(earlier) = earlier {
            lock.update(&earlier)?;
        }
        Ok(())
    }
}

/// The wire of an ADD.
pub(super) struct Asking<'a, 's, 'n> {
    pub(super) call: &'a AddCall,
    pub(super) lock: &'a mut ContainerLock<'s>,
    pub(super) own: Option<&'a Record>,
    pub(super) asked: &'a mut Asked,
    pub(super) pod: &'a Inside<'n>,
    pub(super) sockets: &'a mut PodSockets,
    pub(super) node: &'a mut NodeSockets,
}

impl Wire for Asking<'_, '_, '_> {
    type Error = AttachmentError;

    fn ask(&mut self, projection: &Projection) -> Result<Vec<Finding>, AttachmentError> {
        let probes = &projection.facts().probes;
        let is_new = |probe: &&Probe| !self.asked.findings.iter().any(|finding| finding.answers(probe));
        let open: Vec<Probe> = probes.iter().filter(is_new).cloned().collect();
        if !open.is_empty() {
            let found = self.converse(projection, &open)?;
            for finding in &found {
                debug!("Asked the wire: {finding}.");
            }
            self.asked.findings.extend(found);
        }
        let finding = |probe: &Probe| {
            let known = self.asked.findings.iter().find(|finding| finding.answers(probe))?;
            Some(Finding { probe: probe.clone(), ..known.clone() })
        };
        Ok(probes.iter().filter_map(finding).collect())
    }
}

impl Asking<'_, '_, '_> {
    fn converse(&mut self, projection: &Projection, probes: &[Probe]) -> Result<Vec<Finding>, AttachmentError> {
        let device = projection.facts().attached();
        let refuse = |reason: String| {
            AttachmentError::from(RunError::Refused { stage: "probe".to_owned(), refusal: Refusal::new(reason) })
        };
        if let Some(foreign) = probes.iter().find(|probe| probe.device != device) {
            return Err(refuse(format!("{} cannot be asked on: the call is about {device}", foreign.device)));
        }
        let link = projection.observed().link(&device);
        let link = link.ok_or_else(|| refuse(format!("the pod has no interface {}", device.name)))?;
        // Whatever a stage proposes: an address that nobody could be asked about is not free.
        if link.mac.is_none() || link.flags.noarp {
            return Err(refuse(format!("{} has no neighbours that could be asked", device.name)));
        }
        let mut conversation = Conversation::new(probe::asker(projection.observed(), &device), probes);
        if conversation.is_over() {
            return Ok(conversation.findings());
        }
        if self.own.is_none() || !link.flags.up {
            self.stand_in(projection, link)?;
        }
        if !link.flags.up {
            self.raise(link)?;
        }
        let sockets = self.open_sockets(link, probes)?;
        let records = self.lock.records()?;
        let packets = |source| AttachmentError::Packets { interface: device.name.clone(), source };
        self.lock.released(PATIENCE, || probe::converse(&sockets, &mut conversation))?.map_err(packets)?;
        let now = self.lock.records()?;
        let is_own = |record: &&Record| record.interface == self.call.request.interface;
        match now.iter().find(is_own) {
            None => Err(AttachmentError::Overtaken),
            Some(_) if now != records => {
                self.asked.findings.extend(conversation.findings());
                Err(AttachmentError::Changed)
            }
            Some(_) => Ok(conversation.findings()),
        }
    }

    /// Writes the record that stands for the attachment, with the interface as it is and as it must be to be asked on.
    fn stand_in(&mut self, projection: &Projection, link: &Link) -> Result<(), AttachmentError> {
        let (observed, wanted) = (projection.observed(), &projection.facts().model);
        let mut keys = BTreeSet::new();
        if !link.flags.up {
            let addresses = observed.addresses_of(&link.device).filter(|a| a.ip().is_ipv6() && !a.flags.dynamic);
            keys.extend(addresses.map(|address| Key::Address(address.device.clone(), address.prefix)));
            keys.insert(Key::Link(link.device.clone()));
        }
        let before = observed.restricted(&keys);
        let mut after = before.clone();
        for link in &mut after.links {
            link.flags.up = wanted.link(&link.device).is_some_and(|link| link.flags.up);
        }
        let request = &self.call.request;
        let (device, inode) = self.call.namespace.identity();
        let raised = Record {
            container: request.container.clone(),
            interface: request.interface.clone(),
            network: request.network.clone(),
            state: State::Committed,
            namespace: Some(NamespaceIdentity { path: self.call.namespace.path().to_owned(), device, inode }),
            about: Sealed::default(),
            table: None,
            addresses: Vec::new(),
            route_sources: Vec::new(),
            before,
            after,
            plan: Sealed::default(),
        };
        let mut standing = self.own.cloned().unwrap_or_else(|| raised.clone());
        if self.own.is_some() {
            standing.before = replaced(&standing.before, &raised.before, &standing.after.own_keys());
            standing.after = replaced(&standing.after, &raised.after, &BTreeSet::new());
        }
        self.lock.update(&standing)?;
        // A second attempt stands on the first one's record.
        if self.asked.standing.is_none() {
            self.asked.standing = Some(Standing { raised, earlier: self.own.cloned() });
        }
        Ok(())
    }

    fn raise(&mut self, link: &Link) -> Result<(), AttachmentError> {
        let mut before = Model::default();
        before.links.push(link.clone());
        let mut after = before.clone();
        for link in &mut after.links {
            link.flags.up = true;
        }
        let pod = Some(PodSide { inside: self.pod, sockets: self.sockets });
        let mut target = Target { pod, node: &mut self.node.route, raw_routes: &RawRoutes::default() };
        let outcome = apply::apply(&diff(&before, &after), &mut target, Manner::Strict, None);
        if let Some(failure) = outcome.failures.into_iter().next() {
            return Err(AttachmentError::Apply { stage: "probe".to_owned(), failure });
        }
        Ok(self.await_carrier(&link.device.name)?)
    }

    /// Until then every frame would be lost. One that never comes leaves the questions unanswered.
    fn await_carrier(&mut self, name: &str) -> Result<(), NetlinkError> {
        let begun = Instant::now();
        while begun.elapsed() < CARRIER_PATIENCE {
            if link::by_name(&mut self.sockets.route.netlink, name)?.is_none_or(|link| link.carrier) {
                break;
            }
            std::thread::sleep(CARRIER_INTERVAL);
        }
        Ok(())
    }

    fn open_sockets(&mut self, link: &Link, probes: &[Probe]) -> Result<Vec<PacketSocket>, AttachmentError> {
        let (interest, groups) = (probe::interest(probes), probe::groups(probes));
        let packets = |source| AttachmentError::Packets { interface: link.device.name.clone(), source };
        let index = self.sockets.route.names.index(&link.device.name).unwrap_or_default();
        let mut sockets = vec![PacketSocket::listener(index, &interest, &groups).map_err(packets)?];
        // An ipvlan interface has its parent's hardware address, and the kernel finds the right one by the IP address
        // that is answered (drivers/net/ipvlan/ipvlan_core.c): what answers a question from nobody, the parent gets.
        let parent = link.parent.as_ref().filter(|_| link.kind == "ipvlan");
        if let Some(index) = parent.and_then(|name| self.node.route.names.index(name)) {
            let on_node = self.node.namespace.enter(|_| PacketSocket::listener(index, &interest, &[]))?;
            sockets.push(on_node.map_err(packets)?);
        }
        Ok(sockets)
    }
}

/// A model in which another one's objects take the place of those with their keys, but for the keys to be kept.
fn replaced(model: &Model, by: &Model, kept: &BTreeSet<Key>) -> Model {
    let keys: BTreeSet<Key> = by.own_keys().difference(kept).cloned().collect();
    let mut result = model.without(&keys);
    result.extend(by.restricted(&keys));
    result
}
