//! ADD: from configuration and environment to an attachment, and back to a result.

use std::path::Path;

use coordinator_core::{
    attachment::{self, AddCall, Namespace, Places},
    effective::{Choice, Effective, EffectiveError, effective},
    settings::{LOG_DIRECTORY, Resolved},
};
use coordinator_sdk::{Mode, Request, Settings};
use serde_json::{Map, Value};
use tracing::{debug, info, warn};

use crate::{
    call::{Configuration, Target},
    error::{CniError, texts, wrong_values},
    log,
    result::{PrevResult, untouched},
};

/// Serves an ADD; the result to print.
///
/// # Errors
/// The call is wrong, or the attachment cannot be made: nothing is left behind.
pub(crate) fn add(configuration: &Configuration, target: &Target) -> Result<Value, CniError> {
    let version = configuration.version;
    let fields = &configuration.fields;
    let given = fields.get("prevResult");
    if configuration.is_disabled() {
        return Ok(untouched(version, given));
    }
    let request = target.request(fields);
    let prev_result = PrevResult::parse(given, target.interface.as_str());
    let mut wrong = prev_result.as_ref().err().cloned().unwrap_or_default();
    if request.network.is_empty() {
        wrong.push("name is missing".to_owned());
    }
    let Effective { pipeline, resolved } = settle(fields, &request, wrong)?;
    let Ok(prev_result) = prev_result else { return Err(wrong_values(&[])) };
    begin_log(&resolved);
    if resolved.settings.mode == Mode::Disable {
        info!("The mode is disable: nothing is done.");
        return Ok(untouched(version, given));
    }
    // `target` checked it: an ADD has a namespace.
    let namespace = Namespace::open(target.namespace.as_deref().unwrap_or(Path::new("")))?;
    let call = AddCall {
        request,
        settings: resolved.settings,
        namespace,
        addresses: prev_result.addresses.clone(),
        pipeline,
        places: Places::default(),
    };
    let added = attachment::add(&call)?;
    for warning in &added.warnings {
        warn!("{warning}");
    }
    Ok(prev_result.render(version, target, &added))
}

/// Pipeline and settings; every wrong value of every source, and of `prevResult`, in one error.
pub(crate) fn settle(
    configuration: &Map<String, Value>,
    request: &Request,
    mut wrong: Vec<String>,
) -> Result<Effective, Unsettled> {
    let effective = effective(configuration, request, Choice::Settings);
    if let Err(EffectiveError::Wrong(problems)) = &effective {
        wrong.extend(texts(problems));
    }
    if !wrong.is_empty() {
        return Err(Unsettled::Values(wrong_values(&wrong)));
    }
    effective.map_err(|error| Unsettled::Node(error.into()))
}

/// Why settings or pipeline are not known.
pub(crate) enum Unsettled {
    /// The configuration, or another source of settings, holds wrong values.
    Values(CniError),
    /// The node lacks what the configuration relies on: its defaults, or the pipeline.
    Node(CniError),
}

impl From<Unsettled> for CniError {
    fn from(unsettled: Unsettled) -> Self {
        match unsettled {
            Unsettled::Values(error) | Unsettled::Node(error) => error,
        }
    }
}

fn begin_log(resolved: &Resolved) {
    log::start(&resolved.settings.log_options, Path::new(LOG_DIRECTORY));
    for warning in &resolved.warnings {
        warn!("{warning}");
    }
    let Settings { sources, .. } = &resolved.settings;
    debug!(?sources, "Settings.");
}
