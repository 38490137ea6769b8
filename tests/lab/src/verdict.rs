//! What nearly every story ends with: everything works, or nothing was touched.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{
    node::Lab,
    pod::{PluginError, Pod},
    snapshot::{Snapshot, difference},
    traffic::{Check, table},
};

/// What a node and a Pod hold at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Both {
    /// The node.
    pub node: Snapshot,
    /// The Pod.
    pub pod: Snapshot,
}

impl Lab {
    /// Looks at the node and at a Pod.
    ///
    /// # Errors
    /// A tool fails.
    pub fn both(&self, pod: &Pod) -> Result<Both> {
        Ok(Both { node: self.node.snapshot()?, pod: pod.host.snapshot()? })
    }

    /// Fails when anything on the node or in the Pod is not as it was.
    ///
    /// # Errors
    /// Every difference.
    pub fn is_as_before(&self, pod: &Pod, before: &Both) -> Result<()> {
        let now = self.both(pod)?;
        let (node, pod) = (difference(&before.node, &now.node), difference(&before.pod, &now.pod));
        ensure!(node.is_empty() && pod.is_empty(), "not as before: node {node:#?}, pod {pod:#?}");
        Ok(())
    }

    /// Points services to the Pod and tries everything that a user of it would, for each of its addresses.
    ///
    /// # Errors
    /// Every check that is not well.
    pub fn all_is_well(&self, pod: &Pod) -> Result<()> {
        self.expose(pod)?;
        all_are_well(&self.checks(pod))
    }
}

/// Tries all of them.
///
/// # Errors
/// Every check that is not well.
pub fn all_are_well(checks: &[Check<'_>]) -> Result<()> {
    let mut bad = Vec::new();
    for check in checks {
        let outcome = check.run()?;
        if !outcome.is_well() {
            bad.push((check.name().to_owned(), outcome));
        }
    }
    ensure!(bad.is_empty(), "{} of {} checks:\n{}", bad.len(), checks.len(), table(&bad));
    Ok(())
}

/// The error object with which the plugin refuses, of this code.
///
/// # Errors
/// It does not refuse, or with another code.
pub fn refused(outcome: Result<Value>, code: u64) -> Result<Value> {
    let Err(error) = outcome else { bail!("it is not refused") };
    let said = match error.downcast_ref::<PluginError>() {
        Some(PluginError(said)) => said.clone(),
        None => return Err(error).context("no refusal of the plugin"),
    };
    ensure!(said["code"] == code, "code {code} is expected: {said}");
    Ok(said)
}
