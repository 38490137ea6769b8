//! The agent: what coordinator does in a cluster, beside the plugin.
//!
//! Pure parts decide: `discovery` (which prefixes the cluster has), `election` (who leads), `conflict` (whether
//! addresses are given back); what the objects mean is `coordinator-objects`' business. The rest reads and writes: `api`
//! the cluster, `leader` and `node` the two roles, `care` the attachments of a node, `metrics` what Prometheus asks for.

#![forbid(unsafe_code)]

pub mod api;
pub mod care;
pub mod conflict;
pub mod discovery;
pub mod election;
pub mod guests;
pub mod install;
pub mod leader;
pub mod metrics;
pub mod node;
pub mod options;
pub mod run;
