//! GC: the runtime says which attachments of a network are valid.

use std::{collections::BTreeSet, path::Path};

use coordinator_core::{
    attachment::{self, CollectCall, Places},
    settings::LOG_DIRECTORY,
};
use coordinator_sdk::{ContainerId, InterfaceName, Settings};
use serde_json::Value;

use crate::{
    call::Configuration,
    error::{CniError, wrong_values},
    log,
};

const VALID: &str = "cni.dev/valid-attachments";

/// Serves a GC.
///
/// # Errors
/// The list is missing or wrong: nothing is removed then; or something could not be removed.
pub(crate) fn collect(configuration: &Configuration) -> Result<(), CniError> {
    let mut wrong = Vec::new();
    let network = configuration.fields.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if network.is_empty() {
        wrong.push("name is missing".to_owned());
    }
    let valid = match configuration.fields.get(VALID) {
        Some(Value::Array(entries)) => entries.iter().filter_map(|entry| attachment_in(entry, &mut wrong)).collect(),
        Some(other) => {
            wrong.push(format!("{VALID} = {other}: expected a list"));
            BTreeSet::new()
        }
        None => {
            wrong.push(format!("{VALID} is missing: without it every attachment would go"));
            BTreeSet::new()
        }
    };
    if !wrong.is_empty() {
        return Err(wrong_values(&wrong));
    }
    log::start(&Settings::default().log_options, Path::new(LOG_DIRECTORY));
    Ok(attachment::collect(&CollectCall { network, valid, places: Places::default() })?)
}

fn attachment_in(entry: &Value, wrong: &mut Vec<String>) -> Option<(ContainerId, InterfaceName)> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
    match (text("containerID").parse(), text("ifname").parse()) {
        (Ok(container), Ok(interface)) => Some((container, interface)),
        _ => {
            wrong.push(format!("{VALID}: {entry} has no containerID and ifname as the specification wants them"));
            None
        }
    }
}
