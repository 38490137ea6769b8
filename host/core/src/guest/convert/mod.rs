//! The host's side of the conversion between this project's values and the interface's, version 0.1.0.
//!
//! The other side is the SDK's (`sdk/src/guest`); there is no third place. What goes to a guest is always valid; what
//! comes back is not to be trusted, and what cannot be a value of ours is an error that names it.

mod changes;
mod facts;

pub(super) use changes::{decision, refusal};
pub(super) use facts::snapshot;
