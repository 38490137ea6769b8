//! Projection: how proposals edit the model, so that each stage sees the world as it will be.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Address, AddressFlags, Change, Decision, Device, Edit, Facts, Key, KnownRule, Link, LinkEdit, LinkFlags, Model,
    PROTOCOL, Plan, PlannedEdit, Route, RouteFlags, Side, VethPair, diff,
};

/// What the kernel gives a new veth pair's ends (`DEFAULT_TX_QUEUE_LEN`), packets.
const VETH_TRANSMIT_QUEUE: u32 = 1000;

/// Why a proposal does not fit the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProjectError {
    /// The link that it is about does not exist.
    #[error("stage {stage} proposes a change to link {device}, which does not exist")]
    NoLink {
        /// Who proposed it.
        stage: String,
        /// The link.
        device: Device,
    },
    /// A link of that name exists and is not ours.
    #[error("stage {stage} proposes link {device}, but a link of that name exists and is not ours")]
    LinkExists {
        /// Who proposed it.
        stage: String,
        /// The link.
        device: Device,
    },
    /// There is no observed route with that id.
    #[error("stage {stage} names route {id}, which was not observed")]
    NoRoute {
        /// Who proposed it.
        stage: String,
        /// The id.
        id: u32,
    },
    /// A route to the same destination exists in the Pod and is not ours.
    #[error("stage {stage} proposes a route to {}, but the Pod has the route {route}", route.to)]
    RouteExists {
        /// Who proposed it.
        stage: String,
        /// The route that is there.
        route: Box<Route>,
    },
    /// A setting's value is wrong.
    #[error("stage {stage} proposes {problem}")]
    Setting {
        /// Who proposed it.
        stage: String,
        /// What is wrong.
        problem: crate::settings::SettingProblem,
    },
}

/// The facts as they will be, and who asked for what.
#[derive(Debug, Clone)]
pub struct Projection {
    observed: Arc<Model>,
    facts: Facts,
    reasons: BTreeMap<Key, (String, String)>,
    restored: BTreeSet<Key>,
    /// What an earlier ADD made and no stage asked for.
    released: BTreeSet<Key>,
    /// The Pod's routes that were moved, by id.
    moved: BTreeSet<u32>,
    warnings: Vec<String>,
    skipped: Vec<Skipped>,
}

/// A stage that did not take part, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Skipped {
    /// Its name in the pipeline.
    pub stage: String,
    /// Why.
    pub why: String,
}

impl Projection {
    /// Begins with what was observed.
    pub fn new(facts: Facts) -> Self {
        let observed = Arc::new(facts.model.clone());
        Self::onto(observed, facts)
    }

    /// Begins with facts that hold something else than the kernel showed.
    pub fn onto(observed: Arc<Model>, facts: Facts) -> Self {
        Self {
            observed,
            facts,
            reasons: BTreeMap::new(),
            restored: BTreeSet::new(),
            released: BTreeSet::new(),
            moved: BTreeSet::new(),
            warnings: Vec::new(),
            skipped: Vec::new(),
        }
    }

    /// The facts for the next stage.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What the kernel showed.
    pub fn observed(&self) -> &Model {
        &self.observed
    }

    /// What was warned about so far, each with its stage.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Notes that a stage did not take part.
    pub fn skip(&mut self, stage: &str, why: String) {
        self.skipped.push(Skipped { stage: stage.to_owned(), why });
    }

    /// The stages that did not take part.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Sets what the wire answered.
    pub fn set_findings(&mut self, findings: Vec<crate::Finding>) {
        self.facts.findings = Some(findings);
    }

    /// Takes in what a stage proposes.
    ///
    /// # Errors
    /// A proposal does not fit the model; the projection is then of no further use.
    pub fn project(&mut self, stage: &str, decision: Decision) -> Result<(), ProjectError> {
        self.warnings.extend(decision.warnings.into_iter().map(|text| format!("{stage}: {text}")));
        for proposal in decision.proposals {
            for object in self.edit(stage, proposal.change)? {
                self.reasons.insert(object, (stage.to_owned(), proposal.why.clone()));
            }
        }
        Ok(())
    }

    /// The difference between what was observed and what is wanted, with reasons.
    pub fn plan(&self) -> Plan {
        let edits = diff(&self.observed, &self.facts.model).into_iter().map(|edit| self.explain(edit)).collect();
        Plan { edits }
    }

    /// Gives up objects that an earlier ADD made and that no stage asked for any more.
    pub fn release(&mut self, before: &Model, keys: &BTreeSet<Key>) {
        self.facts.model.restore(before, keys);
        self.released.extend(keys.iter().cloned());
    }

    /// The keys of all objects that proposals were about, and of those that the kernel would drop by
    /// itself: together with what they were, the claims of the attachment.
    pub fn touched(&self) -> BTreeSet<Key> {
        self.reasons.keys().chain(&self.restored).cloned().collect()
    }

    /// The stage that asked for an object last, and why.
    pub fn reason(&self, key: &Key) -> Option<(&str, &str)> {
        self.reasons.get(key).map(|(stage, why)| (stage.as_str(), why.as_str()))
    }

    fn explain(&self, edit: Edit) -> PlannedEdit {
        let key = edit.key();
        let by_itself = || {
            let why = match self.released.contains(&key) {
                true => "no stage asks for it any more",
                false => "restores what the kernel drops by itself",
            };
            ("projection".to_owned(), why.to_owned())
        };
        let (stage, why) = self.reasons.get(&key).cloned().unwrap_or_else(by_itself);
        PlannedEdit { edit, stage, why }
    }

    fn edit(&mut self, stage: &str, change: Change) -> Result<Vec<Key>, ProjectError> {
        let model = &mut self.facts.model;
        Ok(match change {
            Change::CreateVeth(pair) => return self.create_veth(stage, pair),
            Change::DeleteLink(device) => {
                known_link(model, stage, &device)?;
                model.remove_link(&device);
                vec![Key::Link(device)]
            }
            Change::SetLink(edit) => {
                known_link(model, stage, &edit.device)?;
                let was_up = model.link(&edit.device).is_some_and(|link| link.flags.up);
                model.set_link(&edit);
                if edit.up == Some(true) && !was_up {
                    // Going down again, it would lose its IPv6 addresses.
                    let kept = model.addresses_of(&edit.device).filter(|a| a.ip().is_ipv6() && !a.flags.dynamic);
                    self.restored.extend(kept.map(|a| Key::Address(a.device.clone(), a.prefix)));
                }
                if edit.mac.is_some() {
                    // The kernel flushes the link's neighbours, the permanent ones too (tried).
                    let flushed = model.neighbours.iter().filter(|n| n.device == edit.device);
                    self.restored.extend(flushed.map(|n| Key::Neighbour(n.device.clone(), n.ip)));
                }
                vec![Key::Link(edit.device)]
            }
            Change::AddAddress(edit) => {
                known_link(model, stage, &edit.device)?;
                let object = Key::Address(edit.device.clone(), edit.prefix);
                if model.address(&edit.device, edit.prefix).is_none() {
                    let flags = AddressFlags::default();
                    model.addresses.push(Address { device: edit.device, prefix: edit.prefix, gateway: None, flags });
                }
                vec![object]
            }
            Change::RemoveAddress(edit) => {
                model.addresses.retain(|a| !(a.device == edit.device && a.prefix == edit.prefix));
                vec![Key::Address(edit.device, edit.prefix)]
            }
            Change::AddRoute(route) => {
                known_hops(model, stage, &route)?;
                if let Some(foreign) = foreign_in_the_way(model, &route) {
                    if foreign.next_hops == route.next_hops && foreign.kind == route.kind {
                        return Ok(Vec::new());
                    }
                    let (stage, route) = (stage.to_owned(), Box::new(foreign.clone()));
                    return Err(ProjectError::RouteExists { stage, route });
                }
                let (side, table, to, metric) = route.key();
                model.set_route(route);
                vec![Key::Route(side, table, to, metric)]
            }
            Change::MoveRoute(to) => {
                let Some(at) = model.routes.iter_mut().find(|known| known.id == to.id) else {
                    return Err(ProjectError::NoRoute { stage: stage.to_owned(), id: to.id });
                };
                let from = Key::of_route(at);
                at.route.table = to.table;
                at.protocol = PROTOCOL;
                at.flags = RouteFlags { ours: true, planned: false, ..at.flags };
                let to_key = Key::of_route(at);
                let moved = at.clone();
                // What an earlier ADD moved there makes room: the route has come back since. Of an IPv6 route with
                // several next hops each is moved on its own.
                self.moved.insert(moved.id);
                model.routes.retain(|known| {
                    known.route.side == Side::Pod && self.moved.contains(&known.id)
                        || known.protocol != PROTOCOL
                        || known.route.table != to.table
                        || Key::of_route(known) != to_key
                });
                vec![from, to_key]
            }
            Change::RemoveRoute(id) => {
                let Some(known) = model.route(id) else {
                    return Err(ProjectError::NoRoute { stage: stage.to_owned(), id });
                };
                let (side, table, to, metric) = known.route.key();
                model.routes.retain(|known| known.id != id);
                vec![Key::Route(side, table, to, metric)]
            }
            Change::AddRule(rule) => {
                if !model.has_own_rule(&rule) {
                    model.rules.push(KnownRule { rule: rule.clone(), protocol: PROTOCOL });
                    model.number_tables();
                }
                vec![Key::Rule(rule)]
            }
            Change::RemoveRule(rule) => {
                model.rules.retain(|known| !(known.rule == rule && known.protocol == PROTOCOL));
                vec![Key::Rule(rule)]
            }
            Change::AddNeighbour(entry) => {
                known_link(model, stage, &entry.device)?;
                let object = Key::Neighbour(entry.device.clone(), entry.ip);
                model.set_neighbour(entry);
                vec![object]
            }
            Change::RemoveNeighbour(entry) => {
                model.neighbours.retain(|known| !(known.device == entry.device && known.ip == entry.ip));
                vec![Key::Neighbour(entry.device, entry.ip)]
            }
            Change::SetSysctl(sysctl) => {
                let object = Key::Sysctl(sysctl.side, sysctl.key.clone());
                model.set_sysctl(sysctl);
                vec![object]
            }
            Change::MarkReplies(mark) => {
                known_link(model, stage, &mark.device)?;
                let object = Key::Mark(mark.device.clone());
                if !model.marks.contains(&mark) {
                    model.marks.push(mark);
                }
                vec![object]
            }
            Change::SetSetting(setting) => {
                let source = crate::Source::Stage(stage.to_owned());
                let read = setting.value.read().map_err(|error| crate::SettingProblem {
                    name: setting.name.clone(),
                    value: setting.value.to_string(),
                    reason: error.to_string(),
                });
                let set = read.and_then(|value| self.facts.settings.set(&setting.name, &value, source));
                let warning = set.map_err(|problem| ProjectError::Setting { stage: stage.to_owned(), problem })?;
                self.warnings.extend(warning);
                Vec::new()
            }
            Change::SetProbe(probe) => {
                let same =
                    |p: &crate::Probe| (p.kind, &p.device, p.target) == (probe.kind, &probe.device, probe.target);
                self.facts.probes.retain(|known| !same(known));
                self.facts.probes.push(probe);
                Vec::new()
            }
        })
    }

    fn create_veth(&mut self, stage: &str, pair: VethPair) -> Result<Vec<Key>, ProjectError> {
        let alias = self.facts.request.alias();
        let (pod, node) = (Device::pod(&pair.pod), Device::node(&pair.node));
        let model = &mut self.facts.model;
        if let Some(known) = model.link(&pod) {
            // The pair is there already, from an earlier attachment or an earlier ADD; its MTU is theirs.
            if known.flags.ours && known.peer.as_deref() == Some(&pair.node) {
                for (device, mac) in [(&pod, pair.pod_mac), (&node, pair.node_mac)] {
                    model.set_link(&LinkEdit {
                        up: Some(true),
                        mac: Some(mac),
                        transmit_queue: Some(VETH_TRANSMIT_QUEUE),
                        ..LinkEdit::of(device.clone())
                    });
                }
                return Ok(vec![Key::Link(pod), Key::Link(node)]);
            }
            return Err(ProjectError::LinkExists { stage: stage.to_owned(), device: pod });
        }
        if let Some(known) = model.link(&node) {
            if !known.flags.ours {
                return Err(ProjectError::LinkExists { stage: stage.to_owned(), device: node });
            }
            // The node end of a Pod that is gone: it makes room.
            model.remove_link(&node);
        }
        let end = |device: Device, mac, peer| Link {
            kind: "veth".to_owned(),
            mac: Some(mac),
            mtu: pair.mtu,
            transmit_queue: VETH_TRANSMIT_QUEUE,
            flags: LinkFlags { up: true, carrier: true, ours: true, ..LinkFlags::default() },
            peer,
            alias: Some(alias.clone()),
            ..Link::named(device)
        };
        model.links.push(end(pod.clone(), pair.pod_mac, Some(pair.node)));
        model.links.push(end(node.clone(), pair.node_mac, None));
        Ok(vec![Key::Link(pod), Key::Link(node)])
    }
}

fn known_link(model: &Model, stage: &str, device: &Device) -> Result<(), ProjectError> {
    match model.link(device) {
        Some(_) => Ok(()),
        None => Err(ProjectError::NoLink { stage: stage.to_owned(), device: device.clone() }),
    }
}

/// A route of the Pod that is not ours and that the kernel would take for the same.
fn foreign_in_the_way<'m>(model: &'m Model, route: &Route) -> Option<&'m Route> {
    let mut routes = model.routes_of(Side::Pod).filter(|known| known.protocol != PROTOCOL);
    routes.find(|known| known.route.has_key_of(route)).map(|known| &known.route)
}

fn known_hops(model: &Model, stage: &str, route: &Route) -> Result<(), ProjectError> {
    let is_there =
        |name: &String| model.links.iter().any(|link| link.device.side == route.side && link.device.name == *name);
    let mut hops = route.next_hops.iter().filter_map(|hop| hop.device.as_ref());
    match hops.find(|name| !is_there(name)) {
        Some(name) => known_link(model, stage, &Device { side: route.side, name: name.clone() }),
        None => Ok(()),
    }
}
