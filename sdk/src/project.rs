//! Projection: how proposals edit the model, so that each stage sees the world as it will be.

use std::collections::BTreeMap;

use crate::{
    Address, AddressFlags, Change, Decision, Device, Edit, Facts, KnownRule, Link, LinkFlags, Model, PROTOCOL, Plan,
    PlannedEdit, Route, RouteFlags, VethPair, diff, diff::Object,
};

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
    observed: Model,
    facts: Facts,
    reasons: BTreeMap<Object, (String, String)>,
    warnings: Vec<String>,
}

impl Projection {
    /// Begins with what was observed.
    pub fn new(facts: Facts) -> Self {
        Self { observed: facts.model.clone(), facts, reasons: BTreeMap::new(), warnings: Vec::new() }
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

    fn explain(&self, edit: Edit) -> PlannedEdit {
        let (stage, why) = self
            .reasons
            .get(&edit.object())
            .cloned()
            .unwrap_or_else(|| ("projection".to_owned(), "restores what the kernel drops by itself".to_owned()));
        PlannedEdit { edit, stage, why }
    }

    fn edit(&mut self, stage: &str, change: Change) -> Result<Vec<Object>, ProjectError> {
        let model = &mut self.facts.model;
        Ok(match change {
            Change::CreateVeth(pair) => return self.create_veth(stage, pair),
            Change::DeleteLink(device) => {
                known_link(model, stage, &device)?;
                model.remove_link(&device);
                vec![Object::Link(device)]
            }
            Change::SetLink(edit) => {
                known_link(model, stage, &edit.device)?;
                if let Some(link) = model.link_mut(&edit.device) {
                    link.flags.up = edit.up.unwrap_or(link.flags.up);
                    link.mac = edit.mac.or(link.mac);
                    link.mtu = edit.mtu.unwrap_or(link.mtu);
                    link.transmit_queue = edit.transmit_queue.unwrap_or(link.transmit_queue);
                }
                vec![Object::Link(edit.device)]
            }
            Change::AddAddress(edit) => {
                known_link(model, stage, &edit.device)?;
                let object = Object::Address(edit.device.clone(), edit.prefix);
                if model.address(&edit.device, edit.prefix).is_none() {
                    let flags = AddressFlags::default();
                    model.addresses.push(Address { device: edit.device, prefix: edit.prefix, gateway: None, flags });
                }
                vec![object]
            }
            Change::RemoveAddress(edit) => {
                model.addresses.retain(|a| !(a.device == edit.device && a.prefix == edit.prefix));
                vec![Object::Address(edit.device, edit.prefix)]
            }
            Change::AddRoute(route) => {
                known_hops(model, stage, &route)?;
                let (side, table, to, metric) = route.key();
                model.set_route(route);
                vec![Object::Route(side, table, to, metric)]
            }
            Change::MoveRoute(to) => {
                let Some(at) = model.routes.iter_mut().find(|known| known.id == to.id) else {
                    return Err(ProjectError::NoRoute { stage: stage.to_owned(), id: to.id });
                };
                at.route.table = to.table;
                at.protocol = PROTOCOL;
                at.flags = RouteFlags { ours: true, planned: false, ..at.flags };
                let (side, table, prefix, metric) = at.route.key();
                vec![Object::Route(side, table, prefix, metric)]
            }
            Change::RemoveRoute(id) => {
                let Some(known) = model.route(id) else {
                    return Err(ProjectError::NoRoute { stage: stage.to_owned(), id });
                };
                let (side, table, to, metric) = known.route.key();
                model.routes.retain(|known| known.id != id);
                vec![Object::Route(side, table, to, metric)]
            }
            Change::AddRule(rule) => {
                if !model.has_own_rule(&rule) {
                    model.rules.push(KnownRule { rule: rule.clone(), protocol: PROTOCOL });
                }
                vec![Object::Rule(rule)]
            }
            Change::RemoveRule(rule) => {
                model.rules.retain(|known| !(known.rule == rule && known.protocol == PROTOCOL));
                vec![Object::Rule(rule)]
            }
            Change::AddNeighbour(entry) => {
                known_link(model, stage, &entry.device)?;
                let object = Object::Neighbour(entry.device.clone(), entry.ip);
                model.set_neighbour(entry);
                vec![object]
            }
            Change::RemoveNeighbour(entry) => {
                model.neighbours.retain(|known| !(known.device == entry.device && known.ip == entry.ip));
                vec![Object::Neighbour(entry.device, entry.ip)]
            }
            Change::SetSysctl(sysctl) => {
                let object = Object::Sysctl(sysctl.side, sysctl.key.clone());
                model.set_sysctl(sysctl);
                vec![object]
            }
            Change::MarkReplies(mark) => {
                known_link(model, stage, &mark.device)?;
                let object = Object::Mark(mark.device.clone());
                if !model.marks.contains(&mark) {
                    model.marks.push(mark);
                }
                vec![object]
            }
            Change::SetSetting(setting) => {
                let source = crate::Source::Stage(stage.to_owned());
                let set = self.facts.settings.set(&setting.name, &setting.value, source);
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

    fn create_veth(&mut self, stage: &str, pair: VethPair) -> Result<Vec<Object>, ProjectError> {
        let alias = self.facts.request.alias();
        let (pod, node) = (Device::pod(&pair.pod), Device::node(&pair.node));
        let model = &mut self.facts.model;
        if let Some(known) = model.link(&pod) {
            // The pair is there already, from an earlier attachment or an earlier ADD.
            if known.flags.ours && known.peer.as_deref() == Some(&pair.node) {
                return Ok(vec![Object::Link(pod)]);
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
            flags: LinkFlags { up: true, carrier: true, ours: true, ..LinkFlags::default() },
            peer,
            alias: Some(alias.clone()),
            ..Link::named(device)
        };
        model.links.push(end(pod.clone(), pair.pod_mac, Some(pair.node)));
        model.links.push(end(node.clone(), pair.node_mac, None));
        Ok(vec![Object::Link(pod), Object::Link(node)])
    }
}

fn known_link(model: &Model, stage: &str, device: &Device) -> Result<(), ProjectError> {
    match model.link(device) {
        Some(_) => Ok(()),
        None => Err(ProjectError::NoLink { stage: stage.to_owned(), device: device.clone() }),
    }
}

fn known_hops(model: &Model, stage: &str, route: &Route) -> Result<(), ProjectError> {
    let hops = route.next_hops.iter().filter_map(|hop| hop.device.as_ref());
    hops.map(|name| Device { side: route.side, name: name.clone() })
        .try_for_each(|device| known_link(model, stage, &device))
}
