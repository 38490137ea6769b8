//! An error in one line, with all that stands behind it.

use std::error::Error;

/// The error's text and its causes', each once.
///
/// ```
/// use coordinator_core::{chain::chain, node_defaults::NodeDefaultsError};
/// let source = serde_json::from_str::<bool>("maybe").unwrap_err();
/// let error = NodeDefaultsError::Json { path: "defaults.json".into(), source };
/// assert_eq!(chain(&error), "the node defaults in defaults.json are not JSON: expected value at line 1 column 1");
/// ```
pub fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        // Some errors end with their cause already.
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        source = cause.source();
    }
    line
}
