//! `coordinatorctl doctor`: known trouble of this node and its Pods, each with its treatment.

use clap::Args;
use coordinator_core::{
    chain::chain,
    doctor::{self, Diagnosis, Gravity},
    record::{Record, State},
};
use serde_json::{Value, json};

use crate::{
    exit::Exit,
    failure::Failure,
    subject::{self, Places, Whom, known, known::Known},
    terminal::Terminal,
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only this Pod, and the node; without it, every Pod that is attached
    #[arg(value_name = "POD")]
    whom: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    places: Places,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut found = doctor::node(&arguments.places.of_attachments())?;
    let attachments = match &arguments.whom {
        Some(whom) => Whom { whom: whom.clone(), interface: None, places: arguments.places.clone() }.pod(),
        None => known::all(&arguments.places),
    };
    let attachments = match attachments {
        // That is among the node's findings.
        Err(Failure::Records(_)) => Vec::new(),
        attachments => attachments?,
    };
    let attached: Vec<&Known> = attachments.iter().filter(|known| known.record.is_some()).collect();
    for pod in attached.chunk_by(|left, right| left.container == right.container) {
        found.extend(of_pod(pod, arguments));
    }
    found.sort_by_key(|diagnosis| std::cmp::Reverse(diagnosis.gravity));
    match arguments.json {
        true => terminal.answer_json(&found.iter().map(to_json).collect::<Vec<_>>().into())?,
        false if found.is_empty() => terminal.answer("Nothing is known to be wrong.\n")?,
        false => found.iter().try_for_each(|diagnosis| terminal.answer(&to_text(diagnosis)))?,
    }
    let is_trouble = found.iter().any(|diagnosis| diagnosis.gravity == Gravity::Trouble);
    Ok(if is_trouble { Exit::No } else { Exit::Success })
}

/// A Pod's findings; one that cannot be looked at is a finding too.
fn of_pod(pod: &[&Known], arguments: &Arguments) -> Vec<Diagnosis> {
    let Some(first) = pod.first() else { return Vec::new() };
    let records = pod.iter().filter_map(|known| known.record.clone());
    let records: Vec<Record> = records.filter(|record| record.state == State::Committed).collect();
    let look = || -> Result<Vec<Diagnosis>, Failure> {
        let namespace = subject::namespace(first)?;
        Ok(doctor::pod(&records, &namespace, &arguments.places.of_attachments())?)
    };
    look().unwrap_or_else(|failure| {
        vec![Diagnosis {
            code: "unreachable-pod",
            gravity: Gravity::Risk,
            subject: first.short(),
            finding: format!("the Pod cannot be looked at: {}", chain(&failure)),
            treatment: "when the Pod is gone, the runtime's next GC removes its record".to_owned(),
        }]
    })
}

fn word(gravity: Gravity) -> &'static str {
    if gravity == Gravity::Trouble { "trouble" } else { "risk" }
}

fn to_text(diagnosis: &Diagnosis) -> String {
    let Diagnosis { code, gravity, subject, finding, treatment } = diagnosis;
    format!("{} [{code}] {subject}\n  {finding}\n  Treatment: {treatment}\n", word(*gravity).to_uppercase())
}

fn to_json(diagnosis: &Diagnosis) -> Value {
    json!({
        "code": diagnosis.code, "gravity": word(diagnosis.gravity), "subject": diagnosis.subject,
        "finding": diagnosis.finding, "treatment": diagnosis.treatment,
    })
}
