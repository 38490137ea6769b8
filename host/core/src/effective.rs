//! What is in effect for one call: its pipeline and its settings, out of every layer that has a say.

use std::path::Path;

use coordinator_sdk::{Request, SettingProblem};
use serde_json::{Map, Value};

use crate::{
    node_defaults::{self, NodeDefaultsError, Pod},
    pipeline::{self, Pipeline, PipelineError},
    settings::{Layers, Resolved, pipeline_name, resolve},
};

/// Pipeline and settings.
#[derive(Debug)]
pub struct Effective {
    /// What runs.
    pub pipeline: Pipeline,
    /// With which values, and what a person should know of them.
    pub resolved: Resolved,
}

/// Why nothing can run.
#[derive(Debug, thiserror::Error)]
pub enum EffectiveError {
    /// Values are wrong; every one of every layer.
    #[error("the configuration is not valid: {}", joined(.0))]
    Wrong(Vec<SettingProblem>),
    /// The node defaults are there and cannot be used.
    #[error(transparent)]
    Defaults(#[from] NodeDefaultsError),
    /// The pipeline cannot be used.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
}

fn joined(problems: &[SettingProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Which pipeline runs.
#[derive(Debug)]
pub enum Choice {
    /// The one that the settings name, else the built-in one.
    Settings,
    /// This one, whatever the settings name.
    Given(Pipeline),
}

/// Puts together what is in effect for a call with this configuration.
///
/// # Errors
/// Wrong values come first, all of them, whatever else is wrong.
pub fn effective(
    configuration: &Map<String, Value>,
    request: &Request,
    choice: Choice,
) -> Result<Effective, EffectiveError> {
    let pod = Pod { namespace: &request.pod_namespace, name: &request.pod_name };
    let defaults = node_defaults::read(&node_defaults::Places::default(), pod);
    let node = defaults.as_ref().ok().map(|defaults| &defaults.node);
    let pipeline = match choice {
        Choice::Given(pipeline) => Ok(pipeline),
        // A wrong name is reported by `resolve`, together with all other values.
        Choice::Settings => match pipeline_name(configuration, node).ok().flatten() {
            Some(name) => Pipeline::named(&name, Path::new(pipeline::DIRECTORY)),
            None => Pipeline::builtin(),
        },
    };
    let layers = Layers {
        pipeline: pipeline.as_ref().ok().map(|pipeline| &pipeline.settings),
        node,
        annotation: defaults.as_ref().ok().map(|defaults| &defaults.annotation),
        configuration: Some(configuration),
        ..Layers::default()
    };
    let resolved = resolve(&layers).map_err(EffectiveError::Wrong)?;
    defaults?;
    Ok(Effective { pipeline: pipeline?, resolved })
}
