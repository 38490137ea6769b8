//! `coordinatorctl check`: whether attachments are as they were made; `--repair` makes them so.

use clap::Args;
use coordinator_core::{
    attachment::{self, CheckCall},
    chain::chain,
};
use coordinator_sdk::Drift;
use serde_json::{Map, Value, json};

use crate::{
    exit::Exit,
    failure::Failure,
    subject::{self, Places, Whom, known, known::Known},
    terminal::Terminal,
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A Pod as NAME or NAMESPACE/NAME, a container id or its beginning, or a network namespace's path; without it,
    /// every attachment of this node
    #[arg(value_name = "POD")]
    whom: Option<String>,
    /// One interface only
    #[arg(long, short, value_name = "NAME")]
    interface: Option<coordinator_sdk::InterfaceName>,
    /// Make what drifted as it was made
    #[arg(long)]
    repair: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    places: Places,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let attachments = match &arguments.whom {
        Some(whom) => {
            let (interface, places) = (arguments.interface.clone(), arguments.places.clone());
            let (first, rest) = Whom { whom: whom.clone(), interface, places }.attached()?;
            std::iter::once(first).chain(rest).collect()
        }
        None => known::all(&arguments.places)?,
    };
    let mut answers = Vec::new();
    let mut exit = Exit::Success;
    for known in attachments.iter().filter(|known| known.record.is_some() || known.broken.is_some()) {
        let outcome = one(known, arguments);
        let is_well = matches!(&outcome, Ok((drifts, _)) if drifts.is_empty() || arguments.repair);
        if !is_well {
            exit = Exit::No;
        }
        if !arguments.json {
            terminal.answer(&to_text(known, &outcome, arguments.repair))?;
        }
        answers.push(to_json(known, &outcome));
    }
    if arguments.json {
        terminal.answer_json(&answers.into())?;
    }
    Ok(exit)
}

/// What drifted, and what was done about it.
type Outcome = Result<(Vec<Drift>, Vec<String>), Failure>;

fn one(known: &Known, arguments: &Arguments) -> Outcome {
    if known.record.is_none() {
        return Err(known.not_attached());
    }
    let request = subject::request(known.container.clone(), known.interface.clone(), &Map::new());
    let call = CheckCall { request, namespace: subject::namespace(known)?, places: arguments.places.of_attachments() };
    if !arguments.repair {
        return Ok((attachment::check(&call)?, Vec::new()));
    }
    let repaired = attachment::repair(&call)?;
    Ok((repaired.drifts, repaired.edits.iter().map(ToString::to_string).collect()))
}

fn to_text(known: &Known, outcome: &Outcome, is_repairing: bool) -> String {
    let whom = known.described();
    let (drifts, edits) = match outcome {
        Ok(found) => found,
        Err(failure) => return format!("{whom}: {}\n", chain(failure)),
    };
    if drifts.is_empty() && edits.is_empty() {
        return format!("{whom}: as it was made\n");
    }
    let what = if is_repairing { "repaired" } else { "drifted" };
    let mut text = format!("{whom}: {what}\n");
    drifts.iter().for_each(|drift| text.push_str(&format!("  {drift}\n")));
    edits.iter().for_each(|edit| text.push_str(&format!("  done: {edit}\n")));
    text
}

fn to_json(known: &Known, outcome: &Outcome) -> Value {
    let mut answer = known.to_json();
    let drift =
        |drift: &Drift| json!({"object": drift.key.to_string(), "expected": drift.expected, "found": drift.found});
    let more: Map<String, Value> = match outcome {
        Ok((drifts, edits)) => {
            let drifts: Vec<Value> = drifts.iter().map(drift).collect();
            [("drifts".to_owned(), drifts.into()), ("done".to_owned(), edits.as_slice().into())].into_iter().collect()
        }
        Err(failure) => [("error".to_owned(), chain(failure).into())].into_iter().collect(),
    };
    answer.extend(more);
    answer.into()
}
