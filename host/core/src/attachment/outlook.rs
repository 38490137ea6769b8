//! What an ADD would do: observe, put the facts together, run the pipeline, take the difference.
//!
//! ADD goes on from here, and `plan` ends here: nothing in this file writes.

use std::{collections::BTreeSet, sync::Arc};

use coordinator_sdk::{Claim, Device, Facts, Key, KnownRoute, Model, OtherAttachment, Plan, Projection, Side};
use coordinator_stages::{
    decide::node_veth_name,
    kernel::namespace::Inside,
    observe::{Depth, Observation, Question, observe},
    sockets::NodeSockets,
};

use super::{AddCall, AttachmentError};
use crate::record::{Fingerprint, Moved, Outline, Record, Store};

/// What an ADD stands on.
pub(super) struct Outlook<'a> {
    pub(super) call: &'a AddCall,
    /// The node's records; absent when there are none yet.
    pub(super) store: Option<&'a Store>,
    /// The attachment's own record, of an earlier ADD.
    pub(super) own: Option<Record>,
    /// Those of the container's other attachments, as far as they must be known.
    pub(super) others: Vec<Outline>,
}

/// What is, what is wanted, and the difference.
pub(super) struct Prospect {
    pub(super) projection: Projection,
    /// The keys of all objects that stages asked for.
    pub(super) touched: BTreeSet<Key>,
    pub(super) plan: Plan,
}

impl Outlook<'_> {
    /// What becomes of a run of the pipeline: what an earlier ADD made and no stage asked for is given up.
    pub(super) fn prospect(&self, mut projection: Projection) -> Prospect {
        let touched = projection.touched();
        if let Some(own) = &self.own {
            let raised = own.raised();
            let mut given_up: BTreeSet<Key> = own.after.own_keys().difference(&raised).cloned().collect();
            given_up.retain(|key| !touched.contains(key) && !self.is_claimed_by_others(key));
            // The parameters of an interface that has left went with it.
            given_up.retain(|key| match key {
                Key::Sysctl(side, name) => projection.observed().sysctl(*side, name).is_some(),
                _ => true,
            });
            projection.release(&own.before, &given_up);
        }
        let plan = projection.plan();
        Prospect { projection, touched, plan }
    }

    /// Tables that other attachments have to themselves, which a first ADD neither decides about nor changes: an
    /// interface of a large Pod costs no more than one of a small Pod.
    ///
    /// The tables are looked into by whoever may have to give up what is in them, on behalf of guests, who see the Pod
    /// whole, and when something was there unexpectedly. The first interface's is filled by others too.
    pub(super) fn tables_of_others(&self) -> Vec<u32> {
        if self.own.is_some() || self.call.pipeline.all_guests().next().is_some() {
            return Vec::new();
        }
        let first = &self.call.settings.pod_default_cni_nic;
        let is_aside = |outline: &&Outline| {
            outline.interface() != first && outline.moved().iter().all(|moved| moved.from.route.is_default())
        };
        self.others.iter().filter(is_aside).filter_map(Outline::table).collect()
    }

    /// Reads both sides, but for what is in the tables `aside`. The calling thread is in the Pod's namespace.
    pub(super) fn observe(
        &self,
        pod: &Inside<'_>,
        node: &mut NodeSockets,
        depth: Depth,
        aside: &[u32],
    ) -> Result<Observation, AttachmentError> {
        let request = &self.call.request;
        let node_veth = node_veth_name(&request.container);
        let question = Question {
            container: &request.container,
            attached: request.interface.as_str(),
            first: self.call.settings.pod_default_cni_nic.as_str(),
            node_veth: &node_veth,
            results: &self.call.addresses,
            host_rule_table: self.call.settings.host_rule_table,
            route_sources: self.own.as_ref().map(|own| own.route_sources.as_slice()).unwrap_or_default(),
            lists_neighbours: self.call.may_alter_mac(),
            aside,
            depth,
        };
        Ok(observe(pod, node, &question)?)
    }

    /// What the stages see.
    pub(super) fn facts(&self, observation: &mut Observation) -> Result<Facts, AttachmentError> {
        // Where somebody flushed the rules, the record still knows the interface's table.
        let attached = Device::pod(self.call.request.interface.as_str());
        let model = Arc::make_mut(&mut observation.model);
        if let Some(link) = model.links.iter_mut().find(|link| link.device == attached) {
            link.table = link.table.or(self.own.as_ref().and_then(|own| own.table));
        }
        let other = |outline: &Outline| OtherAttachment {
            interface: outline.interface().clone(),
            network: outline.network().to_owned(),
            table: outline.table(),
        };
        let mut model = Model::clone(&observation.model);
        self.recall(&mut model);
        Ok(Facts {
            request: self.call.request.clone(),
            settings: self.call.settings.clone(),
            others: self.others.iter().map(other).collect(),
            claims: self.claims(&observation.model)?,
            node_next_hops: observation.node_next_hops.clone(),
            model,
            ..Facts::default()
        })
    }

    /// Routes that an ADD of the container moved are wanted where it put them, as it put them: nobody else knows
    /// what they were like. One that is back at its old place is moved anew.
    fn recall(&self, model: &mut Model) {
        let own = self.own.as_ref().map(Record::moved).unwrap_or_default();
        let all = own.iter().chain(self.others.iter().flat_map(Outline::moved));
        let is_away = |moved: &&Moved| !model.routes.iter().any(|known| known.same(&moved.from));
        let images: Vec<KnownRoute> = all.filter(is_away).map(Moved::there).collect();
        model.recall(&images);
    }

    /// Addresses to which the node has a route of ours that leads to another container's link, when
    /// that container has a record. Without one the route is a dead Pod's leftover.
    fn claims(&self, model: &Model) -> Result<Vec<Claim>, AttachmentError> {
        let mut claims = Vec::new();
        let Some(store) = self.store else { return Ok(claims) };
        for known in model.routes_of(Side::Node).filter(|known| known.flags.ours) {
            let link = known
                .route
                .next_hops
                .iter()
                .filter_map(|hop| hop.device.as_ref())
                .find_map(|name| model.link(&Device::node(name)).filter(|link| !link.flags.ours));
            let alias =
                link.and_then(|link| link.alias.as_deref()).and_then(|alias| alias.strip_prefix("coordinator:"));
            let Some((prefix, _)) = alias.and_then(|alias| alias.split_once('/')) else { continue };
            let mut containers = store.containers()?;
            let holder = containers.find(|id| id.prefix(64) == prefix && *id != self.call.request.container);
            claims.extend(holder.map(|container| Claim { ip: known.route.to.addr(), container }));
        }
        Ok(claims)
    }

    fn is_claimed_by_others(&self, key: &Key) -> bool {
        let fingerprint = Fingerprint::of(key);
        self.others.iter().any(|outline| outline.claims(fingerprint))
    }
}
