//! STATUS: whether an ADD would work now.

use coordinator_core::attachment::{Places, ready};
use coordinator_sdk::Request;
use serde_json::Value;

use crate::{
    add::settle,
    call::Configuration,
    error::{CniError, Code, chain},
};

/// Serves a STATUS.
///
/// # Errors
/// Code 50 when an ADD would fail whatever it were about; code 7 when the configuration is wrong.
pub(crate) fn status(configuration: &Configuration) -> Result<(), CniError> {
    if configuration.is_disabled() {
        return Ok(());
    }
    let fields = &configuration.fields;
    let network = fields.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let wrong = if network.is_empty() { vec!["name is missing".to_owned()] } else { Vec::new() };
    let request = Request { network, ..Request::default() };
    let unavailable = |error: CniError| match error.code {
        Code::Configuration => error,
        _ => CniError { code: Code::NotAvailable, ..error },
    };
    settle(fields, &request, wrong).map_err(unavailable)?;
    ready(&Places::default()).map_err(|error| {
        CniError::new(Code::NotAvailable, chain(&error))
            .details("records lie in /run/coordinator, which must belong to root alone")
    })
}
