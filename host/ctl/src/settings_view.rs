//! Settings as a person reads them: by the CNI configuration's names, each with its value and its source.

use coordinator_sdk::{RpFilter, Settings, Source};
use ipnet::IpNet;
use serde_json::{Value, json};

/// A setting, its value as the configuration would say it, and who set it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shown {
    pub(crate) name: &'static str,
    pub(crate) value: Value,
    pub(crate) source: Source,
}

impl Shown {
    /// `name = value (source)`.
    pub(crate) fn line(&self) -> String {
        format!("{} = {} (set by: {})", self.name, self.value, self.source)
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({"setting": self.name, "value": self.value, "source": self.source.to_string()})
    }
}

/// All settings that have an effect, in the order of the documentation.
pub(crate) fn all(settings: &Settings) -> Vec<Shown> {
    let has_effect = |name: &&str| !matches!(*name, "hostRPFilter" | "multusNicPrefix");
    let show = |name: &'static str| Shown { name, value: value(settings, name), source: settings.source(name) };
    Settings::NAMES.into_iter().filter(has_effect).map(show).collect()
}

/// One setting.
pub(crate) fn one(settings: &Settings, name: &str) -> Option<Shown> {
    all(settings).into_iter().find(|shown| shown.name == name)
}

fn value(settings: &Settings, name: &str) -> Value {
    let prefixes = |list: &[IpNet]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let text = |value: Option<String>| value.unwrap_or_default();
    match name {
        "mode" => json!(settings.mode),
        "podDefaultCniNic" => json!(settings.pod_default_cni_nic),
        "podDefaultRouteNic" => {
            json!(text(settings.pod_default_route_nic.as_ref().map(ToString::to_string)))
        }
        "tunePodRoutes" => json!(settings.tune_pod_routes),
        "overlayPodCIDR" => json!(prefixes(&settings.overlay_pod_cidr)),
        "serviceCIDR" => json!(prefixes(&settings.service_cidr)),
        "hijackCIDR" => json!(prefixes(&settings.hijack_cidr)),
        "policyRoutes" => json!(settings.policy_routes),
        "hostRuleTable" => json!(settings.host_rule_table),
        "podRPFilter" => match settings.pod_rp_filter {
            RpFilter::Set(value) => json!(value),
            RpFilter::Leave => json!(-1),
        },
        "txQueueLen" => json!(settings.tx_queue_len.unwrap_or(0)),
        "podMACPrefix" => json!(text(settings.pod_mac_prefix.map(|prefix| prefix.to_string()))),
        "vethLinkAddress" => json!(text(settings.veth_link_address.map(|ip| ip.to_string()))),
        "vethMTU" => settings.veth_mtu.map_or(json!("the smallest on the path, at most 1500"), Value::from),
        "detectIPConflict" => json!(settings.detect_ip_conflict),
        "detectGateway" => json!(settings.detect_gateway),
        "detectOptions" => {
            let options = settings.detect_options;
            let span = |time: std::time::Duration| format!("{time:?}");
            json!({"retries": options.retries, "interval": span(options.interval), "timeout": span(options.timeout)})
        }
        "logOptions" => {
            let log = &settings.log_options;
            json!({
                "logLevel": log.level, "logFile": log.file, "logMaxSize": log.max_size_mb,
                "logMaxAge": log.max_age_days, "logMaxCount": log.max_count,
            })
        }
        "pipeline" => json!(text(settings.pipeline.clone())),
        _ => Value::Null,
    }
}
