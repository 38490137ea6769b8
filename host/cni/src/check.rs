//! CHECK: every difference between an attachment and its record is an error that names it.

use std::path::Path;

use coordinator_core::attachment::{self, CheckCall, Namespace, Places};

use crate::{
    call::{Configuration, Target},
    error::{CniError, Code},
};

/// Serves a CHECK.
///
/// # Errors
/// The attachment is not as it was made, or that cannot be seen.
pub(crate) fn check(configuration: &Configuration, target: &Target) -> Result<(), CniError> {
    if configuration.is_disabled() {
        return Ok(());
    }
    let namespace = Namespace::open(target.namespace.as_deref().unwrap_or(Path::new("")))?;
    let call = CheckCall { request: target.request(&configuration.fields), namespace, places: Places::default() };
    let drifts = attachment::check(&call)?;
    if drifts.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = drifts.iter().map(ToString::to_string).collect();
    Err(CniError::new(Code::Drift, lines.join("; ")).details("an ADD of the same attachment repairs it"))
}
