//! What Prometheus is told: the plugin's calls, the attachments' state, the agent's own doings.
//!
//! One registry, filled by whoever knows; `server` answers for it. Names begin with `coordinator_`; labels have few
//! values each, and none that a user of the cluster can make up.

mod server;
mod tally;

use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::Gauge,
        histogram::Histogram,
    },
    registry::{Registry, Unit},
};

use coordinator_core::tally::Call;

use crate::api::{Meter, Usage};

pub use server::{Probe, serve};
pub use tally::{TallyError, count};

type Labels = Vec<(String, String)>;
type Counters = Family<Labels, Counter<u64, AtomicU64>>;
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    calls: Counters,
    durations: Histograms,
    refusals: Counters,
    findings: Counters,
    guest_failures: Counter<u64, AtomicU64>,
    /// Differences that CHECK found, by the kind of object.
    pub drifts: Counters,
    /// Attachments whose Pod was gone and that were released.
    pub released: Counter<u64, AtomicU64>,
    /// Address conflicts that the plugin reported, by what was done.
    pub conflicts: Counters,
    attachments: Family<Labels, Gauge<i64, AtomicI64>>,
    /// 1 when the defaults file is as SpiderCoordinator says.
    pub defaults_right: Gauge<i64, AtomicI64>,
    /// 1 while this process leads.
    pub leading: Gauge<i64, AtomicI64>,
}

/// An ADD's whole process, from a millisecond to the probes' seconds.
const BUCKETS: [f64; 12] = [0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0];

fn label(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

impl Metrics {
    /// All at zero; the API's usage is read from `meter`.
    pub fn new(meter: &Meter) -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let mut metrics = Self {
            registry: Registry::with_prefix("coordinator"),
            calls: Family::default(),
            durations: Family::new_with_constructor(histogram),
            refusals: Family::default(),
            findings: Family::default(),
            guest_failures: Counter::default(),
            drifts: Family::default(),
            released: Counter::default(),
            conflicts: Family::default(),
            attachments: Family::default(),
            defaults_right: Gauge::default(),
            leading: Gauge::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("calls", "Calls of the plugin, by command and error code", metrics.calls.clone());
        registry.register_with_unit(
            "call_duration",
            "Calls of the plugin, from the process' start to its end",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        registry.register("failed_stage", "Failed ADDs, by the stage that refused", metrics.refusals.clone());
        registry.register("findings", "Failed ADDs, by what a probe found", metrics.findings.clone());
        registry.register("guest_failures", "Calls that failed in a guest", metrics.guest_failures.clone());
        registry.register("drifts", "Differences that CHECK found, by object", metrics.drifts.clone());
        registry.register("released", "Attachments of vanished Pods that were released", metrics.released.clone());
        registry.register("address_conflicts", "Reported address conflicts", metrics.conflicts.clone());
        registry.register("attachments", "Attachments of this node, by state", metrics.attachments.clone());
        registry.register("defaults_right", "1 when the defaults file is current", metrics.defaults_right.clone());
        registry.register("leading", "1 while this process leads", metrics.leading.clone());
        registry.register_collector(Box::new(ApiUsage(meter.clone())));
        metrics
    }

    /// Counts a call of the plugin.
    pub fn call(&self, call: &Call) {
        let code = call.code.to_string();
        self.calls.get_or_create(&vec![label("command", &call.command), label("code", &code)]).inc();
        let seconds = std::time::Duration::from_micros(call.micros).as_secs_f64();
        self.durations.get_or_create(&vec![label("command", &call.command)]).observe(seconds);
        if !call.stage.is_empty() {
            self.refusals.get_or_create(&vec![label("stage", &call.stage)]).inc();
        }
        match call.code {
            101 => _ = self.findings.get_or_create(&vec![label("finding", "address-conflict")]).inc(),
            102 => _ = self.findings.get_or_create(&vec![label("finding", "gateway-silent")]).inc(),
            103 => _ = self.guest_failures.inc(),
            _ => {}
        }
    }

    /// How many attachments are in a state now.
    pub fn attachments(&self, state: &str, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.attachments.get_or_create(&vec![label("state", state)]).set(count);
    }

    /// Counts a drift of an object of a kind.
    pub fn drift(&self, kind: &str) {
        self.drifts.get_or_create(&vec![label("object", kind)]).inc();
    }

    /// Counts a reported conflict by what was done.
    pub fn conflict(&self, action: &str) {
        self.conflicts.get_or_create(&vec![label("action", action)]).inc();
    }

    /// The exposition, OpenMetrics text.
    ///
    /// # Errors
    /// A value cannot be written; none can.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// The API's usage, read when it is asked for.
#[derive(Debug)]
struct ApiUsage(Meter);

impl Collector for ApiUsage {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let usages = self.0.read();
        type Part = fn(&Usage) -> u64;
        let kinds: [(&str, &str, Part); 4] = [
            ("api_requests", "Requests to the API server", |usage| usage.requests),
            ("api_failures", "Requests that were answered with an error or not at all", |usage| usage.failures),
            ("api_bytes", "Bytes of the API server's answers", |usage| usage.bytes),
            ("api_watch_events", "Events of watches", |usage| usage.events),
        ];
        for (name, help, value) in kinds {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for ((verb, resource), usage) in &usages {
                let labels = [("verb", verb.as_str()), ("resource", resource.as_str())];
                ConstCounter::new(value(usage)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_result_stage_and_time() {
        let metrics = Metrics::new(&Meter::default());
        for line in [
            "ADD 0 1784 -",
            "ADD 0 2100 -",
            "ADD 100 900 mode",
            "ADD 101 120000 -",
            "ADD 103 5000 rail",
            "DEL 0 40000 -",
        ] {
            metrics.call(&Call::parse(line).unwrap());
        }
        metrics.attachments("living", 3);
        metrics.drift("route");
        let text = metrics.text().unwrap();
        for expected in [
            "coordinator_calls_total{command=\"ADD\",code=\"0\"} 2",
            "coordinator_calls_total{command=\"DEL\",code=\"0\"} 1",
            "coordinator_failed_stage_total{stage=\"mode\"} 1",
            "coordinator_findings_total{finding=\"address-conflict\"} 1",
            "coordinator_guest_failures_total 1",
            "coordinator_call_duration_seconds_bucket{le=\"0.002\",command=\"ADD\"} 2",
            "coordinator_call_duration_seconds_count{command=\"ADD\"} 5",
            "coordinator_attachments{state=\"living\"} 3",
            "coordinator_drifts_total{object=\"route\"} 1",
            "# EOF",
        ] {
            assert!(text.contains(expected), "{expected}\nnot in\n{text}");
        }
    }
}
