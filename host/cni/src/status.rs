//! STATUS: whether an ADD would work now.

use coordinator_core::{
    attachment::{Places, ready},
    chain::chain,
};
use coordinator_sdk::Request;
use serde_json::Value;

use crate::{
    add::{Unsettled, settle},
    call::Configuration,
    error::{CniError, Code, failed_guest},
};

/// Serves a STATUS.
///
/// # Errors
/// Code 50 when an ADD would fail whatever it were about, 51 when the node's living Pods are cut off; code 7 when
/// the configuration is wrong.
pub(crate) fn status(configuration: &Configuration) -> Result<(), CniError> {
    if configuration.is_disabled() {
        return Ok(());
    }
    let fields = &configuration.fields;
    let network = fields.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let wrong = if network.is_empty() { vec!["name is missing".to_owned()] } else { Vec::new() };
    let request = Request { network, ..Request::default() };
    let settled = settle(fields, &request, wrong);
    let effective = settled.map_err(|error| match error {
        // What the caller wrote is wrong, whatever the node has.
        Unsettled::Values(error) => error,
        error => CniError { code: Code::NotAvailable, ..error.into() },
    })?;
    // Not asked for a Pod, so every guest counts, whatever Pods it is for.
    for (stage, guest) in effective.pipeline.all_guests() {
        guest.ready().map_err(|failure| {
            let message = format!("stage {stage} could not run: {}", chain(&failure));
            CniError { code: Code::NotAvailable, ..failed_guest(stage, &failure, message) }
        })?;
    }
    let missing = ready(&Places::default()).map_err(|error| {
        CniError::new(Code::NotAvailable, chain(&error))
            .details("records lie in /run/coordinator, which must belong to root alone")
    })?;
    if missing.is_empty() {
        return Ok(());
    }
    let rules: Vec<String> = missing.iter().map(|rule| format!("node rule {rule}")).collect();
    Err(CniError::new(Code::Limited, format!("missing: {}: the node does not reach its Pods", rules.join("; ")))
        .details("the next ADD of any Pod brings the rules back; something on this node removes them"))
}
