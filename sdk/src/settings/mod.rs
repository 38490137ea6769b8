//! The settings of one attachment, by the names of the CNI configuration, each with its source.
//!
//! A value is checked when it is set, whoever sets it: the configuration, the node's defaults, a
//! pipeline or a stage. The names are Spiderpool's, so its configurations run unchanged.

use std::{collections::BTreeMap, fmt, net::IpAddr, time::Duration};

use ipnet::IpNet;
use litemap::LiteMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod value;

use crate::{InterfaceName, Json, MacPrefix, Mode};

/// Who set a value, weakest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Nobody: the built-in default.
    #[default]
    Builtin,
    /// The pipeline's `[settings]`.
    Pipeline,
    /// The node defaults (SpiderCoordinator).
    Node,
    /// An annotation of the Pod.
    Annotation,
    /// The CNI configuration (NetworkAttachmentDefinition).
    Configuration,
    /// A stage, by name.
    Stage(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin => f.write_str("built in"),
            Self::Pipeline => f.write_str("pipeline"),
            Self::Node => f.write_str("node defaults"),
            Self::Annotation => f.write_str("annotation"),
            Self::Configuration => f.write_str("configuration"),
            Self::Stage(name) => write!(f, "stage {name}"),
        }
    }
}

/// A setting by name, with its JSON value and who set it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Setting {
    /// The name in the CNI configuration.
    pub name: String,
    /// The JSON value.
    pub value: Json,
    /// Who set it.
    pub source: Source,
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} = {value}: {reason}")]
pub struct SettingProblem {
    /// The setting.
    pub name: String,
    /// The value as it was given, as JSON.
    pub value: String,
    /// Why it is refused.
    pub reason: String,
}

/// What `podRPFilter` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RpFilter {
    /// Write this value, 0 to 2.
    Set(u8),
    /// Do not touch it.
    Leave,
}

/// A route of `policyRoutes`; both have one family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyRoute {
    /// Where to.
    #[schemars(with = "String")]
    pub dst: IpNet,
    /// Through which router.
    #[schemars(with = "String")]
    pub gw: IpAddr,
}

/// How the wire is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DetectOptions {
    /// How many questions.
    pub retries: u32,
    /// Time between two.
    pub interval: Duration,
    /// Time to listen after the last.
    pub timeout: Duration,
}

/// How much is logged, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogOptions {
    /// The least severe level that is written.
    pub level: LogLevel,
    /// The file; it must lie under the node's log directory.
    pub file: String,
    /// Megabytes after which a new file is begun; 0 = never.
    pub max_size_mb: u32,
    /// Days after which an old file is removed; 0 = never.
    pub max_age_days: u32,
    /// How many old files are kept; 0 = all.
    pub max_count: u32,
}

/// A log level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What happened.
    Info,
    /// What a person should look at.
    Warn,
    /// What failed.
    Error,
}

/// All settings of one attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// `mode`; `Auto` until a stage has decided.
    pub mode: Mode,
    /// `podDefaultCniNic`: the Pod's first interface.
    pub pod_default_cni_nic: InterfaceName,
    /// `podDefaultRouteNic`: which interface keeps the default route in `main`.
    pub pod_default_route_nic: Option<InterfaceName>,
    /// `tunePodRoutes`.
    pub tune_pod_routes: bool,
    /// `overlayPodCIDR`.
    #[schemars(with = "Vec<String>")]
    pub overlay_pod_cidr: Vec<IpNet>,
    /// `serviceCIDR`.
    #[schemars(with = "Vec<String>")]
    pub service_cidr: Vec<IpNet>,
    /// `hijackCIDR`.
    #[schemars(with = "Vec<String>")]
    pub hijack_cidr: Vec<IpNet>,
    /// `policyRoutes`.
    pub policy_routes: Vec<PolicyRoute>,
    /// `hostRuleTable`.
    pub host_rule_table: u32,
    /// `podRPFilter`.
    pub pod_rp_filter: RpFilter,
    /// `txQueueLen`, packets; absent = leave.
    pub tx_queue_len: Option<u32>,
    /// `podMACPrefix`.
    pub pod_mac_prefix: Option<MacPrefix>,
    /// `vethLinkAddress`.
    #[schemars(with = "Option<String>")]
    pub veth_link_address: Option<IpAddr>,
    /// `vethMTU`, bytes; absent = 1500 or the smallest MTU on the path.
    pub veth_mtu: Option<u32>,
    /// `detectIPConflict`.
    pub detect_ip_conflict: bool,
    /// `detectGateway`.
    pub detect_gateway: bool,
    /// `detectOptions`.
    pub detect_options: DetectOptions,
    /// `logOptions`.
    pub log_options: LogOptions,
    /// `pipeline`: the name of the pipeline to run; absent = the built-in one.
    pub pipeline: Option<String>,
    /// Who set what; a name that is missing has its built-in default.
    #[serde(serialize_with = "crate::as_object")]
    #[schemars(with = "BTreeMap<String, Source>")]
    pub sources: LiteMap<String, Source>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::Auto,
            pod_default_cni_nic: InterfaceName::first(),
            pod_default_route_nic: None,
            tune_pod_routes: true,
            overlay_pod_cidr: Vec::new(),
            service_cidr: Vec::new(),
            hijack_cidr: Vec::new(),
            policy_routes: Vec::new(),
            host_rule_table: 500,
            pod_rp_filter: RpFilter::Set(0),
            tx_queue_len: None,
            pod_mac_prefix: None,
            veth_link_address: None,
            veth_mtu: None,
            detect_ip_conflict: false,
            detect_gateway: false,
            detect_options: DetectOptions {
                retries: 3,
                interval: Duration::from_millis(10),
                timeout: Duration::from_millis(100),
            },
            log_options: LogOptions {
                level: LogLevel::Debug,
                file: "/var/log/spidernet/coordinator.log".to_owned(),
                max_size_mb: 100,
                max_age_days: 30,
                max_count: 10,
            },
            pipeline: None,
            sources: LiteMap::new(),
        }
    }
}

impl Settings {
    /// Every name that [`Settings::set`] knows.
    pub const NAMES: [&'static str; 21] = [
        "mode",
        "podDefaultCniNic",
        "podDefaultRouteNic",
        "tunePodRoutes",
        "overlayPodCIDR",
        "serviceCIDR",
        "hijackCIDR",
        "policyRoutes",
        "hostRuleTable",
        "podRPFilter",
        "hostRPFilter",
        "multusNicPrefix",
        "txQueueLen",
        "podMACPrefix",
        "vethLinkAddress",
        "vethMTU",
        "detectIPConflict",
        "detectGateway",
        "detectOptions",
        "logOptions",
        "pipeline",
    ];

    /// Sets one value and remembers its source. Returns a warning where the value has no effect.
    ///
    /// `null` leaves the value as it is, as an absent field does. A name that is not in
    /// [`Settings::NAMES`] is a problem too: callers that tolerate foreign keys filter first.
    ///
    /// # Errors
    /// The value is of the wrong type or out of range; the settings are unchanged.
    pub fn set(&mut self, name: &str, value: &Value, source: Source) -> Result<Option<String>, SettingProblem> {
        if value.is_null() {
            return Ok(None);
        }
        let outcome = self.assign(name, value);
        match outcome {
            Ok(warning) => {
                self.sources.insert(name.to_owned(), source);
                Ok(warning)
            }
            Err(reason) => Err(SettingProblem { name: name.to_owned(), value: value.to_string(), reason }),
        }
    }

    /// Who set the value called `name`.
    pub fn source(&self, name: &str) -> Source {
        self.sources.get(name).cloned().unwrap_or_default()
    }

    fn assign(&mut self, name: &str, value: &Value) -> Result<Option<String>, String> {
        match name {
            "mode" => self.mode = value::mode(value)?,
            "podDefaultCniNic" => {
                let text = value::text(value)?;
                self.pod_default_cni_nic = value::interface(text)?;
            }
            "podDefaultRouteNic" => {
                let text = value::text(value)?;
                self.pod_default_route_nic = if text.is_empty() { None } else { Some(value::interface(text)?) };
            }
            "tunePodRoutes" => self.tune_pod_routes = value::flag(value)?,
            "overlayPodCIDR" => self.overlay_pod_cidr = value::prefixes(value)?,
            "serviceCIDR" => self.service_cidr = value::prefixes(value)?,
            "hijackCIDR" => self.hijack_cidr = value::prefixes(value)?,
            "policyRoutes" => self.policy_routes = value::policy_routes(value)?,
            "hostRuleTable" => self.host_rule_table = value::host_rule_table(value)?,
            "podRPFilter" => self.pod_rp_filter = value::rp_filter(value)?,
            "hostRPFilter" => {
                value::integer(value)?;
                return Ok(Some("hostRPFilter has no effect: the node's rp_filter is not changed".to_owned()));
            }
            "multusNicPrefix" => {
                value::text(value)?;
                return Ok(Some("multusNicPrefix has no effect: interfaces are found by their state".to_owned()));
            }
            "txQueueLen" => {
                let length = value::whole(value, 0, u32::MAX)?;
                self.tx_queue_len = (length > 0).then_some(length);
            }
            "podMACPrefix" => {
                let text = value::text(value)?;
                self.pod_mac_prefix = match text {
                    "" => None,
                    text => Some(text.parse().map_err(|e: crate::ParseMacError| e.to_string())?),
                };
            }
            "vethLinkAddress" => self.veth_link_address = value::link_local(value)?,
            "vethMTU" => self.veth_mtu = Some(value::whole(value, 68, 65535)?),
            "detectIPConflict" => self.detect_ip_conflict = value::flag(value)?,
            "detectGateway" => self.detect_gateway = value::flag(value)?,
            "detectOptions" => self.detect_options = value::detect_options(value, self.detect_options)?,
            "logOptions" => self.log_options = value::log_options(value, self.log_options.clone())?,
            "pipeline" => self.pipeline = value::pipeline(value)?,
            other => return Err(format!("there is no setting called {other}")),
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn try_set(name: &str, value: Value) -> Result<Settings, String> {
        let mut settings = Settings::default();
        settings.set(name, &value, Source::Configuration).map_err(|problem| problem.to_string())?;
        Ok(settings)
    }

    #[test]
    fn every_row_of_the_table_refuses_what_it_should() {
        let bad = [
            ("mode", json!("sideways")),
            ("mode", json!(3)),
            ("podDefaultCniNic", json!("")),
            ("podDefaultCniNic", json!("a/b")),
            ("podDefaultRouteNic", json!("a name that is long")),
            ("tunePodRoutes", json!("yes")),
            ("overlayPodCIDR", json!("10.0.0.0/8")),
            ("serviceCIDR", json!(["10.96.0.0/99"])),
            ("hijackCIDR", json!([1])),
            ("policyRoutes", json!([{"dst": "10.50.0.0/16", "gw": "fd00::1"}])),
            ("policyRoutes", json!([{"dst": "10.50.0.0/16", "gw": "x"}])),
            ("policyRoutes", json!([{"dst": "10.50.0.0/16"}])),
            ("hostRuleTable", json!(0)),
            ("hostRuleTable", json!(254)),
            ("hostRuleTable", json!(4_294_967_296_u64)),
            ("hostRuleTable", json!("x")),
            ("podRPFilter", json!(3)),
            ("podRPFilter", json!(1.5)),
            ("txQueueLen", json!(-1)),
            ("podMACPrefix", json!("zz:zz")),
            ("podMACPrefix", json!("01:1b")),
            ("vethLinkAddress", json!("10.0.0.1")),
            ("vethLinkAddress", json!("fd00::1")),
            ("vethLinkAddress", json!("169.254.1.1/32")),
            ("vethMTU", json!(0)),
            ("vethMTU", json!(-5)),
            ("vethMTU", json!(67)),
            ("vethMTU", json!(65536)),
            ("detectIPConflict", json!(1)),
            ("detectGateway", json!("true")),
            ("detectOptions", json!({"retries": 0})),
            ("detectOptions", json!({"interval": "10"})),
            ("detectOptions", json!({"timeout": "soon"})),
            ("detectOptions", json!([])),
            ("logOptions", json!({"logLevel": "chatty"})),
            ("logOptions", json!({"logMaxSize": -1})),
            ("pipeline", json!("../secret")),
        ];
        for (name, value) in bad {
            let problem = try_set(name, value.clone()).expect_err(&format!("{name} = {value}"));
            assert!(problem.starts_with(&format!("{name} = {value}: ")), "{problem}");
        }
    }

    #[test]
    fn good_values_arrive() {
        assert_eq!(try_set("mode", json!("disabled")).unwrap().mode, Mode::Disable);
        assert_eq!(try_set("podRPFilter", json!(-7)).unwrap().pod_rp_filter, RpFilter::Leave);
        assert_eq!(try_set("hostRuleTable", json!(4_294_967_295_u32)).unwrap().host_rule_table, u32::MAX);
        let prefixes = try_set("hijackCIDR", json!([" 172.31.9.0/16 ", "169.254.20.10"])).unwrap().hijack_cidr;
        assert_eq!(prefixes, ["172.31.0.0/16".parse().unwrap(), "169.254.20.10/32".parse::<IpNet>().unwrap()]);
        let options = try_set("detectOptions", json!({"timeout": "1.5s"})).unwrap().detect_options;
        assert_eq!((options.retries, options.timeout), (3, Duration::from_millis(1500)));
        let log = try_set("logOptions", json!({"logLevel": "info"})).unwrap().log_options;
        assert_eq!((log.level, log.max_size_mb), (LogLevel::Info, 100));
        assert_eq!(try_set("vethMTU", json!(null)).unwrap(), Settings::default());
    }

    #[test]
    fn a_value_remembers_its_source() {
        let mut settings = Settings::default();
        settings.set("vethMTU", &json!(1400), Source::Node).unwrap();
        assert_eq!((settings.veth_mtu, settings.source("vethMTU")), (Some(1400), Source::Node));
        assert_eq!(settings.source("mode"), Source::Builtin);
        assert!(settings.set("vethMTU", &json!(1), Source::Configuration).is_err());
        assert_eq!((settings.veth_mtu, settings.source("vethMTU")), (Some(1400), Source::Node));
    }

    #[test]
    fn all_names_are_known() {
        for name in Settings::NAMES {
            let problem = Settings::default().set(name, &json!({"no": []}), Source::Builtin).map_err(|p| p.reason);
            assert!(!matches!(problem, Err(ref reason) if reason.starts_with("there is no")), "{name}");
        }
    }
}
