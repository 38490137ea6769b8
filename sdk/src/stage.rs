//! The trait that every deciding stage implements, native or guest.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::{Decision, Facts, Refusal};

/// A decision about one attachment: facts in, proposals out. It never touches the kernel, and the
/// same facts and options give the same decision, byte for byte.
pub trait Stage {
    /// Options from the pipeline's `[stage.with]`, already checked.
    type Options: DeserializeOwned + JsonSchema;

    /// Decides.
    ///
    /// # Errors
    /// A [`Refusal`] ends the ADD before anything was changed.
    fn decide(facts: &Facts, options: &Self::Options) -> Result<Decision, Refusal>;
}

/// A stage with its options, in the form in which a pipeline holds it.
pub trait DynStage: Send + Sync {
    /// Decides with the bound options.
    ///
    /// # Errors
    /// As [`Stage::decide`].
    fn decide(&self, facts: &Facts) -> Result<Decision, Refusal>;
}

/// Options bound once to a stage.
#[derive(Debug, Clone, Default)]
pub struct Bound<S: Stage> {
    /// The options.
    pub options: S::Options,
}

impl<S> DynStage for Bound<S>
where
    S: Stage,
    S::Options: Send + Sync,
{
    fn decide(&self, facts: &Facts) -> Result<Decision, Refusal> {
        S::decide(facts, &self.options)
    }
}
