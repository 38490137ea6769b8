//! The agent: what coordinator does in a cluster, beside the plugin.
//!
//! Pure parts decide: `discovery` (which prefixes the cluster has), `coordinator` (what SpiderCoordinator means and
//! what its status says), `network` (from SpiderMultusConfig to a NetworkAttachmentDefinition), `election` (who
//! leads), `conflict` (whether addresses are given back). The rest reads and writes: `api` the cluster, `leader` and
//! `node` the two roles, `care` the attachments of a node, `metrics` what Prometheus asks for.

#![forbid(unsafe_code)]

pub mod api;
pub mod care;
pub mod conflict;
pub mod coordinator;
pub mod crd;
pub mod discovery;
pub mod election;
pub mod install;
pub mod leader;
pub mod metrics;
pub mod network;
pub mod node;
pub mod offline;
pub mod options;
pub mod run;
