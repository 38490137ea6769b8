//! Runs a pipeline's stages on facts: what ADD, `plan` and replays share.
//!
//! Each stage sees the world as the stages before it will have made it. Nothing here reads or writes the kernel:
//! where the facts come from, and what becomes of the projection, is the caller's business.

use coordinator_sdk::{Facts, ProjectError, Projection, Refusal};

use crate::pipeline::Pipeline;

/// Why the stages came to no end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A stage refused.
    #[error("stage {stage} refuses: {refusal}")]
    Refused {
        /// The stage.
        stage: String,
        /// Its reason, hint, and whether a retry may help.
        refusal: Refusal,
    },
    /// A proposal does not fit what was observed.
    #[error(transparent)]
    Proposal(#[from] ProjectError),
}

/// Runs the deciding stages in their order.
///
/// # Errors
/// A stage refuses, or proposes what does not fit.
pub fn run(pipeline: &Pipeline, facts: Facts) -> Result<Projection, RunError> {
    let mut projection = Projection::new(facts);
    for stage in &pipeline.stages {
        let decision = stage.stage.decide(projection.facts());
        let decision = decision.map_err(|refusal| RunError::Refused { stage: stage.name.clone(), refusal })?;
        projection.project(&stage.name, decision)?;
    }
    Ok(projection)
}
