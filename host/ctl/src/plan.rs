//! `coordinatorctl plan`: what an ADD would do, stage by stage; nothing is written.

use std::{collections::BTreeSet, path::PathBuf};

use clap::Args;
use coordinator_core::{
    attachment::{self, AddCall, AttachmentError, Namespace, Planned},
    effective::{Choice, effective},
    pipeline::Pipeline,
    record::Record,
    replay::{self, ReplayError},
    runner::RunError,
};
use coordinator_sdk::{ContainerId, Facts, InterfaceName, Key, Mode, Plan, PlannedEdit, ProbeKind, Projection, Source};
use ipnet::IpNet;
use serde_json::{Map, Value, json};

use crate::{
    exit::Exit,
    failure::Failure,
    pipeline::given,
    settings_view,
    subject::{self, Places, Told, Whom},
    table,
    terminal::Terminal,
};

const DISABLED: &str = "the mode is disable: the plugin does nothing";

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A Pod as NAME or NAMESPACE/NAME, a container id or its beginning, or a network namespace's path
    #[arg(value_name = "POD", required_unless_present = "facts")]
    whom: Option<String>,
    /// The interface, when the Pod has several attachments
    #[arg(long, short, value_name = "NAME")]
    interface: Option<InterfaceName>,
    /// Recorded facts, in place of a live Pod
    #[arg(long, value_name = "FILE", conflicts_with_all = ["whom", "config", "container", "pod"])]
    facts: Option<PathBuf>,
    #[command(flatten)]
    told: Told,
    /// A pipeline file to try, in place of the one that the settings name
    #[arg(long, value_name = "FILE")]
    pipeline: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    places: Places,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let outcome = match &arguments.facts {
        Some(path) => replayed(path, arguments),
        None => {
            let whom = Whom {
                whom: arguments.whom.clone().unwrap_or_default(),
                interface: arguments.interface.clone(),
                places: arguments.places.clone(),
            };
            live(&whom, arguments)
        }
    };
    let (refusal, exit) = match outcome {
        Ok(answer) => {
            match arguments.json {
                true => terminal.answer_json(&to_json(&answer))?,
                false => terminal.answer(&to_text(&answer))?,
            }
            return Ok(Exit::Success);
        }
        Err(Failure::Attachment(AttachmentError::Run(error)) | Failure::Replay(ReplayError::Run(error))) => {
            (error, Exit::No)
        }
        Err(failure) => return Err(failure),
    };
    match arguments.json {
        true => terminal.answer_json(&refused(&refusal))?,
        false => {
            terminal.answer(&format!("An ADD would fail: {refusal}\n"))?;
            if let RunError::Refused { refusal, .. } = &refusal {
                terminal.answer(&refusal.hint.as_ref().map(|hint| format!("Try: {hint}\n")).unwrap_or_default())?;
            }
        }
    }
    Ok(exit)
}

/// What is answered.
struct Answer {
    container: String,
    interface: String,
    projection: Projection,
    plan: Plan,
    /// Objects that the plan adds though they are there.
    present: BTreeSet<Key>,
    notes: Vec<String>,
}

impl Answer {
    fn is_present(&self, planned: &PlannedEdit) -> bool {
        self.present.contains(&planned.edit.key())
    }
}

fn replayed(path: &std::path::Path, arguments: &Arguments) -> Result<Answer, Failure> {
    let pipeline = match &arguments.pipeline {
        Some(path) => Pipeline::try_from(given::sound(path)?)?,
        None => Pipeline::builtin()?,
    };
    let projection = replay::replay(&pipeline, replay::read_facts(path)?, &Map::new())?;
    let (request, plan) = (&projection.facts().request, projection.plan());
    let mut shared = plan.edits.iter().filter(|planned| planned.edit.key().is_shared_on_node());
    let disabled = (projection.facts().mode() == Mode::Disable).then_some(DISABLED);
    Ok(Answer {
        container: request.container.to_string(),
        interface: request.interface.to_string(),
        notes: shared.next().map(|_| UNSEEN).into_iter().chain(disabled).map(str::to_owned).collect(),
        plan,
        present: BTreeSet::new(),
        projection,
    })
}

fn live(whom: &Whom, arguments: &Arguments) -> Result<Answer, Failure> {
    let (call, hearsay) = call(whom, arguments)?;
    if call.settings.mode == Mode::Disable {
        // The plugin returns before it looks at anything.
        let facts = Facts { request: call.request.clone(), settings: call.settings.clone(), ..Facts::default() };
        return Ok(Answer {
            container: call.request.container.to_string(),
            interface: call.request.interface.to_string(),
            projection: Projection::new(facts),
            plan: Plan::default(),
            present: BTreeSet::new(),
            notes: vec![DISABLED.to_owned()],
        });
    }
    let Planned { projection, plan, present, interrupted, .. } = attachment::plan(&call)?;
    let note =
        |record: &Record| format!("an earlier call for {} did not end: the ADD undoes it first", record.interface);
    let notes = interrupted.iter().map(note).chain(hearsay).collect();
    Ok(Answer {
        container: call.request.container.to_string(),
        interface: call.request.interface.to_string(),
        projection,
        plan,
        present,
        notes,
    })
}

fn call(whom: &Whom, arguments: &Arguments) -> Result<(AddCall, Option<String>), Failure> {
    let pipeline = arguments.pipeline.as_ref().map(|path| Ok::<_, Failure>(Pipeline::try_from(given::sound(path)?)?));
    call_of(whom, &arguments.told, pipeline.transpose()?)
}

const UNSEEN: &str = "facts do not tell whether the rules are there that the node's Pods share: they are in the plan";
const FROM_RECORD: &str = "the runtime remembers no configuration of it: the one that the record tells of is taken";
const FROM_NOWHERE: &str = "no configuration is known: defaults are taken; --config FILE gives one, with prevResult";

/// The ADD as a runtime would make it, with a pipeline in place of the one that the settings name; and what the caller
/// should know of the configuration, where nobody gave one.
pub(crate) fn call_of(
    whom: &Whom,
    told: &Told,
    pipeline: Option<Pipeline>,
) -> Result<(AddCall, Option<String>), Failure> {
    let known = match whom.one() {
        Ok(known) => Some(known),
        // A namespace of which nothing is recorded yet: the caller says the rest.
        Err(Failure::NotFound { .. }) if whom.whom.starts_with('/') => None,
        // One more attachment of a Pod that is known.
        Err(Failure::NoInterface { .. }) if told.config.is_some() => {
            Whom { interface: None, ..whom.clone() }.pod()?.into_iter().next()
        }
        Err(failure) => return Err(failure),
    };
    let remembered = known.as_ref().and_then(|known| known.remembered.as_ref());
    let record = known.as_ref().and_then(|known| known.record.as_ref());
    let (fields, hearsay) = match (&told.config, remembered, record) {
        (Some(path), ..) => (subject::read_configuration(path)?, None),
        (None, Some(remembered), _) => (remembered.configuration.clone(), None),
        (None, None, Some(record)) => (recorded(record), Some(FROM_RECORD.to_owned())),
        (None, None, None) => (Map::new(), Some(FROM_NOWHERE.to_owned())),
    };
    let container = told.container.clone().or_else(|| known.as_ref().map(|known| known.container.clone()));
    let interface = whom.interface.clone().or_else(|| known.as_ref().map(|known| known.interface.clone()));
    let interface = interface.unwrap_or_else(InterfaceName::first);
    let mut request = subject::request(container.unwrap_or_else(ContainerId::unknown), interface, &fields);
    if let Some(known) = &known {
        (request.pod_namespace, request.pod_name) = (known.pod_namespace.clone(), known.pod_name.clone());
    }
    if let Some(pod) = &told.pod {
        (request.pod_namespace, request.pod_name) = (pod.namespace.clone(), pod.name.clone());
    }
    let namespace = match &known {
        Some(known) if !whom.whom.starts_with('/') => subject::namespace(known)?,
        _ => Namespace::open(std::path::Path::new(&whom.whom))?,
    };
    let choice = pipeline.map_or(Choice::Settings, Choice::Given);
    let effective = effective(&fields, &request, choice)?;
    let addresses = subject::addresses(&fields, &request.interface);
    let places = whom.places.of_attachments();
    let (settings, pipeline) = (effective.resolved.settings, effective.pipeline);
    Ok((AddCall { request, settings, namespace, addresses, pipeline, places }, hearsay))
}

/// What the record tells of the configuration that it was made with: the values that it set, and the addresses.
fn recorded(record: &Record) -> Map<String, Value> {
    let settings = settings_view::all(&record.about.settings).into_iter();
    let said = settings.filter(|shown| shown.source == Source::Configuration);
    let ips: Vec<Value> = record.addresses.iter().map(|ip| json!({"address": IpNet::from(*ip)})).collect();
    let others = [("name", json!(record.network)), ("prevResult", json!({"ips": ips}))].into_iter();
    said.map(|shown| (shown.name, shown.value)).chain(others).map(|(key, value)| (key.to_owned(), value)).collect()
}

fn to_text(answer: &Answer) -> String {
    let facts = answer.projection.facts();
    let mode = format!("{:?}", facts.mode()).to_lowercase();
    let mut text = format!("{}/{}, mode {mode}\n\n", answer.container, answer.interface);
    if answer.plan.edits.iter().all(|planned| answer.is_present(planned)) {
        text.push_str("Nothing is to be done: everything is as it is wanted.\n");
    } else {
        let rows = answer.plan.edits.iter().enumerate().map(|(at, planned)| {
            vec![at.saturating_add(1).to_string(), planned.stage.clone(), planned.edit.to_string(), planned.why.clone()]
        });
        text.push_str(&table::render(&["#", "stage", "change", "because"], rows));
    }
    for probe in &facts.probes {
        let question = match probe.kind {
            ProbeKind::Address => format!("whether {} is free", probe.target),
            ProbeKind::Gateway => format!("whether the gateway {} answers", probe.target),
        };
        let (retries, interval, timeout) = (probe.retries, probe.interval_ms, probe.timeout_ms);
        text.push_str(&format!(
            "\nThe wire would be asked on {} {question}: {retries} times, {interval} ms apart, then {timeout} ms of listening\n",
            probe.device
        ));
    }
    for skipped in answer.projection.skipped() {
        text.push_str(&format!("\nStage {} is skipped: {}\n", skipped.stage, skipped.why));
    }
    for warning in answer.projection.warnings().iter().chain(&answer.notes) {
        text.push_str(&format!("\nNote: {warning}\n"));
    }
    text
}

fn to_json(answer: &Answer) -> Value {
    let facts = answer.projection.facts();
    let edit = |planned: &PlannedEdit| {
        json!({
            "stage": planned.stage, "change": planned.edit.to_string(), "why": planned.why,
            "side": planned.edit.side(), "present": answer.is_present(planned), "edit": planned.edit,
        })
    };
    json!({
        "container": answer.container,
        "interface": answer.interface,
        "mode": facts.mode(),
        "plan": answer.plan.edits.iter().map(edit).collect::<Vec<_>>(),
        "probes": facts.probes,
        "skipped": answer.projection.skipped(),
        "warnings": answer.projection.warnings(),
        "notes": answer.notes,
    })
}

fn refused(error: &RunError) -> Value {
    match error {
        RunError::Refused { stage, refusal } => {
            json!({"refused": {"stage": stage, "reason": refusal.reason, "hint": refusal.hint, "retry": refusal.retry}})
        }
        other => json!({"refused": {"reason": other.to_string()}}),
    }
}
