//! `coordinatorctl path`: whether packets come back the way they went.

use std::{collections::BTreeSet, net::IpAddr};

use clap::Args;
use coordinator_core::{
    path::{self, Hop, Inquiry, Path},
    record::{Record, State},
};
use serde_json::{Value, json};

use crate::{
    exit::Exit,
    failure::Failure,
    subject::{self, Whom, known::Known},
    table,
    terminal::Terminal,
};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    whom: Whom,
    /// Only this destination
    #[arg(long, value_name = "ADDRESS")]
    to: Option<IpAddr>,
    /// Only this address of the Pod
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// Show only what is wrong
    #[arg(long)]
    faults: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut paths = of(&arguments.whom, arguments.to, arguments.from)?;
    let is_well = paths.iter().all(Path::is_symmetric);
    if arguments.faults {
        paths.retain(|path| !path.is_symmetric());
    }
    match arguments.json {
        true => terminal.answer_json(&paths.iter().map(to_json).collect::<Vec<_>>().into())?,
        false if paths.is_empty() => terminal.answer("Every path is symmetric.\n")?,
        false => {
            terminal.answer(&to_text(&paths))?;
            if paths.iter().any(|path| !path.drifts.is_empty()) {
                terminal.answer(&format!("\nTry: coordinatorctl check {} --repair\n", arguments.whom.whom))?;
            }
        }
    }
    Ok(if is_well { Exit::Success } else { Exit::No })
}

/// Every path of the Pod that is named; with `--interface`, of that interface's addresses only.
pub(crate) fn of(whom: &Whom, to: Option<IpAddr>, from: Option<IpAddr>) -> Result<Vec<Path>, Failure> {
    let (known, records) = records(whom)?;
    let namespace = subject::namespace(&known)?;
    let mut paths = path::paths(&Inquiry { namespace: &namespace, records: &records, to, from })?;
    if let Some(interface) = &whom.interface {
        let addresses = records.iter().filter(|record| record.interface == *interface);
        let addresses: Vec<IpAddr> = addresses.flat_map(|record| record.addresses.clone()).collect();
        paths.retain(|path| addresses.contains(&path.local));
    }
    if paths.is_empty() {
        let has: BTreeSet<IpAddr> = records.iter().flat_map(|record| record.addresses.clone()).collect();
        let has = has.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return Err(Failure::NoPath { whom: known.pod_and_container(), has });
    }
    Ok(paths)
}

/// One of the Pod's attachments, and the records of all of them: an interface alone says little about a Pod.
pub(crate) fn records(whom: &Whom) -> Result<(Known, Vec<Record>), Failure> {
    let (first, _) = whom.attached()?;
    let all = subject::known::all(&whom.places)?.into_iter().filter(|known| known.container == first.container);
    let records = all.filter_map(|known| known.record).filter(|record| record.state == State::Committed).collect();
    Ok((first, records))
}

fn to_text(paths: &[Path]) -> String {
    let verdict = |path: &Path| if path.is_symmetric() { "symmetric" } else { "ASYMMETRIC" }.to_owned();
    let rows = paths.iter().map(|path| {
        vec![
            path.local.to_string(),
            path.remote.to_string(),
            path.class.to_string(),
            path.direction.to_string(),
            path.interface.clone(),
            verdict(path),
        ]
    });
    let mut text = table::render(&["pod address", "other side", "kind", "direction", "by", "verdict"], rows);
    for path in paths.iter() {
        let Some(fault) = &path.fault else { continue };
        let (local, remote, class, interface) = (path.local, path.remote, path.class, &path.interface);
        text.push_str(&format!("\n{local} {} {remote} ({class}) belongs to {interface}:\n  {fault}\n", arrow(path)));
        path.drifts.iter().for_each(|drift| text.push_str(&format!("  not as it was made: {drift}\n")));
    }
    text
}

fn arrow(path: &Path) -> &'static str {
    if path.direction == path::Direction::Outbound { "->" } else { "<-" }
}

/// A path for programs.
pub(crate) fn to_json(path: &Path) -> Value {
    let hop = |hop: &Hop| {
        json!({
            "side": hop.side, "link": hop.link, "gateway": hop.gateway, "table": hop.table,
            "rule": hop.rule.as_ref().map(ToString::to_string), "route": hop.route,
        })
    };
    json!({
        "local": path.local,
        "remote": path.remote,
        "kind": path.class.to_string(),
        "direction": path.direction.to_string(),
        "interface": path.interface,
        "symmetric": path.is_symmetric(),
        "reason": path.fault.as_ref().map(|fault| json!({"code": fault.code(), "text": fault.to_string()})),
        "drifts": path.drifts,
        "out": path.out.as_ref().map(hop),
        "back": path.back.as_ref().map(hop),
    })
}
