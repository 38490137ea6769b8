//! DEL: it needs the record and the kernel only, and succeeds whatever else is missing.

use std::path::Path;

use coordinator_core::{
    attachment::{self, DeleteCall, Namespace, Places},
    settings::{LOG_DIRECTORY, Layers, resolve},
};
use coordinator_sdk::Settings;
use tracing::{info, warn};

use crate::{
    call::{Configuration, Target},
    error::CniError,
    log,
};

/// Serves a DEL.
///
/// # Errors
/// Something of ours is left, or the records cannot be used: the runtime may try again.
pub(crate) fn delete(configuration: &Configuration, target: &Target) -> Result<(), CniError> {
    let layers = Layers { configuration: Some(&configuration.fields), ..Layers::default() };
    let resolved = resolve(&layers);
    let settings = resolved.as_ref().map(|resolved| resolved.settings.clone()).unwrap_or_default();
    let Settings { log_options, .. } = settings;
    log::start(&log_options, Path::new(LOG_DIRECTORY));
    for problem in resolved.err().into_iter().flatten() {
        warn!(%problem, "The configuration is wrong; DEL does not need it.");
    }
    let namespace = target.namespace.as_deref().and_then(|path| match Namespace::open(path) {
        Ok(namespace) => Some(namespace),
        Err(error) => {
            info!(%error, "The namespace's path is of no use; the recorded one is tried.");
            None
        }
    });
    let call = DeleteCall { request: target.request(&configuration.fields), namespace, places: Places::default() };
    Ok(attachment::delete(&call)?)
}
