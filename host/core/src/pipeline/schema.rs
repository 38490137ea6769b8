//! The pipeline file's JSON Schema, for editors: `docs/pipeline.schema.json` is made of it.
//!
//! These types are never read into: the reader keeps positions, which serde does not. A test holds both to the same
//! keys.

#![allow(dead_code, reason = "the types' shape is all that is wanted of them")]

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde::Serialize;
use serde_json::Value;

/// A pipeline of coordinator: the stages that serve a Pod's attachment, in order.
#[derive(JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
#[schemars(title = "coordinator pipeline")]
struct PipelineFile {
    /// `schema = 1`: the only one there is yet.
    #[schemars(range(min = 1, max = 1))]
    schema: u8,
    /// `extends = "default"`: the pipeline that this one changes: the built-in one, a neighbour by name, or, for
    /// coordinatorctl, a path. Without it the stages are written out whole.
    extends: Option<String>,
    /// Defaults for the CNI configuration's fields, by the same names.
    settings: Option<SettingsTable>,
    /// The stages.
    stage: Option<Vec<StageTable>>,
    /// What the pipeline must make of recorded facts: `coordinatorctl pipeline test`.
    test: Option<Vec<TestTable>>,
}

/// Defaults for the CNI configuration's fields; `docs/settings.md` says what each does.
#[derive(JsonSchema, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct SettingsTable {
    /// `mode = "auto"`
    mode: Option<ModeName>,
    /// `podDefaultCniNic = "eth0"`: the Pod's first interface.
    pod_default_cni_nic: Option<String>,
    /// `podDefaultRouteNic = "net1"`: the interface that keeps the default route in table main.
    pod_default_route_nic: Option<String>,
    /// `tunePodRoutes = true`
    tune_pod_routes: Option<bool>,
    /// `overlayPodCIDR = ["10.244.0.0/16"]`
    #[serde(rename = "overlayPodCIDR")]
    overlay_pod_cidr: Option<Vec<String>>,
    /// `serviceCIDR = ["10.96.0.0/16"]`
    #[serde(rename = "serviceCIDR")]
    service_cidr: Option<Vec<String>>,
    /// `hijackCIDR = ["169.254.20.10"]`
    #[serde(rename = "hijackCIDR")]
    hijack_cidr: Option<Vec<String>>,
    /// `policyRoutes = [{ dst = "10.50.0.0/16", gw = "10.6.0.2" }]`
    policy_routes: Option<Vec<PolicyRouteTable>>,
    /// `hostRuleTable = 500`
    #[schemars(range(min = 1))]
    host_rule_table: Option<u32>,
    /// `podRPFilter = 0`: 0, 1 or 2; negative leaves it alone.
    #[serde(rename = "podRPFilter")]
    #[schemars(range(max = 2))]
    pod_rp_filter: Option<i64>,
    /// Accepted; it has no effect.
    #[serde(rename = "hostRPFilter")]
    host_rp_filter: Option<i64>,
    /// Accepted; it has no effect.
    multus_nic_prefix: Option<String>,
    /// `txQueueLen = 1000`: packets; 0 leaves it alone.
    tx_queue_len: Option<u32>,
    /// `podMACPrefix = "0a:1b"`: the first two octets of the Pod's MAC.
    #[serde(rename = "podMACPrefix")]
    #[schemars(regex(pattern = r"^([0-9a-fA-F]{2}[:-][0-9a-fA-F]{2})?$"))]
    pod_mac_prefix: Option<String>,
    /// `vethLinkAddress = "169.254.100.1"`
    veth_link_address: Option<String>,
    /// `vethMTU = 1500`: bytes.
    #[serde(rename = "vethMTU")]
    #[schemars(range(min = 68, max = 65535))]
    veth_mtu: Option<u32>,
    /// `detectIPConflict = true`
    #[serde(rename = "detectIPConflict")]
    detect_ip_conflict: Option<bool>,
    /// `detectGateway = true`
    detect_gateway: Option<bool>,
    /// `detectOptions = { retries = 3, interval = "10ms", timeout = "100ms" }`
    detect_options: Option<DetectTable>,
    /// `logOptions = { logLevel = "info" }`
    log_options: Option<LogTable>,
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
enum ModeName {
    Auto,
    Underlay,
    Overlay,
    Disable,
    Disabled,
}

/// A route to a destination through a router of the same family.
#[derive(JsonSchema, Serialize)]
struct PolicyRouteTable {
    /// A prefix or an address.
    dst: String,
    /// The router.
    gw: String,
}

/// How the wire is asked.
#[derive(JsonSchema, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct DetectTable {
    /// How many questions.
    #[schemars(range(min = 1, max = 100))]
    retries: Option<u32>,
    /// `interval = "10ms"`: between two questions.
    interval: Option<String>,
    /// `timeout = "100ms"`: of listening after the last.
    timeout: Option<String>,
}

/// What is logged, and where.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
struct LogTable {
    /// `logLevel = "debug"`: debug, info, warn or error.
    log_level: Option<String>,
    /// A file under the node's log directory.
    log_file: Option<String>,
    /// Megabytes after which a new file is begun.
    log_max_size: Option<u32>,
    /// Days for which old files are kept.
    log_max_age: Option<u32>,
    /// How many old files are kept.
    log_max_count: Option<u32>,
}

/// A stage, or one of the extended pipeline that is taken away.
#[derive(JsonSchema, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct StageTable {
    /// `name = "rail-policy"`
    #[schemars(regex(pattern = "^[a-z0-9-]{1,64}$"))]
    name: Option<String>,
    /// `use = "native:veth"`, or `"wasm:PATH"` for a guest.
    #[serde(rename = "use")]
    #[schemars(regex(pattern = "^(native:[a-z-]+|wasm:.+)$"))]
    uses: Option<String>,
    /// A guest's digest; without it the lock file must hold one.
    #[schemars(regex(pattern = "^[0-9a-fA-F]{64}$"))]
    sha256: Option<String>,
    /// `before = "pod-routes"`: where it stands in the extended pipeline.
    before: Option<String>,
    /// `after = "mode"`: where it stands in the extended pipeline.
    after: Option<String>,
    /// `replace = "policy-routes"`: the stage in whose place it stands.
    replace: Option<String>,
    /// `remove = "transmit-queue"`: alone in its entry; that stage does not run.
    remove: Option<String>,
    /// `grant = ["pod.route"]`: the kinds of change that a guest may propose.
    grant: Option<OneOrMany>,
    /// `limits = { time = "20ms", memory = "16MiB" }`: what a guest may use.
    limits: Option<LimitsTable>,
    /// `on-failure = "skip"`: go on without this stage, and say so. A refusal is no failure.
    on_failure: Option<OnFailureName>,
    /// `when = { mode = "overlay", namespace = "gpu-*" }`: the attachments for which it runs.
    when: Option<WhenTable>,
    /// The stage's options.
    with: Option<BTreeMap<String, Value>>,
}

/// What a guest may use.
#[derive(JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
struct LimitsTable {
    /// `time = "20ms"`: of one decision.
    #[schemars(regex(pattern = "^[0-9]+ ?(us|ms|s)$"))]
    time: Option<String>,
    /// `memory = "16MiB"`
    #[schemars(regex(pattern = "^[0-9]+ ?(KiB|MiB)$"))]
    memory: Option<String>,
    /// `output = "1MiB"`: what it may say in one call.
    #[schemars(regex(pattern = "^[0-9]+ ?(KiB|MiB)$"))]
    output: Option<String>,
    /// `changes = 1000`: how many it may propose.
    #[schemars(range(max = 10000))]
    changes: Option<u32>,
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
enum OnFailureName {
    Refuse,
    Skip,
}

/// The attachments for which a stage runs: all conditions must hold, and of each any one of its patterns, in which
/// `*` stands for any characters and `?` for one.
#[derive(JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
struct WhenTable {
    /// `mode = "overlay"`: underlay or overlay.
    mode: Option<OneOrMany>,
    /// `namespace = "gpu-*"`: the Pod's namespace.
    namespace: Option<OneOrMany>,
    /// `pod = "web-*"`: the Pod's name.
    pod: Option<OneOrMany>,
    /// `network = "macvlan-*"`: the network's name in the CNI configuration.
    network: Option<OneOrMany>,
    /// `interface = ["net1", "net2"]`: the attached interface.
    interface: Option<OneOrMany>,
}

/// A text, or a list of texts.
#[derive(JsonSchema, Serialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// Recorded facts, and what the pipeline must make of them.
#[derive(JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
struct TestTable {
    /// `name = "a GPU Pod gets its rails"`
    name: String,
    /// `facts = "facts/gpu.json"`: relative to this file.
    facts: String,
    /// Settings that are changed in the facts, as if the CNI configuration set them.
    settings: Option<SettingsTable>,
    /// `plan = "plans/gpu.txt"`: the whole plan, relative to this file.
    plan: Option<String>,
    /// `contains = ["add pod route 10.96.0.0/16"]`: each must stand in a line of the plan.
    contains: Option<OneOrMany>,
    /// `lacks = "veth"`: none may stand in a line of the plan.
    lacks: Option<OneOrMany>,
    /// `refuses = "has no address"`: stands in the refusal that is expected.
    refuses: Option<String>,
}

/// The schema of a pipeline file, JSON Schema draft-07.
pub fn schema() -> Schema {
    SchemaSettings::draft07().into_generator().into_root_schema_for::<PipelineFile>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use coordinator_sdk::Settings;

    /// The keys of a table in the schema; `""` is the file itself.
    fn keys(table: &str) -> Vec<String> {
        let schema = schema().to_value();
        let table = if table.is_empty() { &schema } else { &schema["definitions"][table] };
        table["properties"].as_object().unwrap().keys().cloned().collect()
    }

    fn sorted(keys: &[&str]) -> Vec<String> {
        let mut keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        keys.sort();
        keys
    }

    #[test]
    fn the_schema_has_the_keys_that_the_reader_knows() {
        assert_eq!(keys(""), sorted(&super::super::document::KEYS));
        assert_eq!(keys("StageTable"), sorted(&super::super::stage_entry::KEYS));
        assert_eq!(keys("WhenTable"), sorted(&super::super::when::KEYS));
        assert_eq!(keys("TestTable"), sorted(&super::super::test_case::KEYS));
        assert_eq!(keys("LimitsTable"), sorted(&super::super::guest::LIMIT_KEYS));
        let names: Vec<&str> = Settings::NAMES.into_iter().filter(|name| *name != "pipeline").collect();
        assert_eq!(keys("SettingsTable"), sorted(&names));
    }

    /// Run `coordinatorctl pipeline schema > docs/pipeline.schema.json` after a change.
    #[test]
    fn the_published_schema_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/pipeline.schema.json");
        let published: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(published, schema().to_value());
    }
}
