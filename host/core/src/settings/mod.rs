//! The settings of one call, put together from every layer that may set one.
//!
//! A layer is a JSON object with the names of the CNI configuration. They are laid over each other
//! weakest first: built in, pipeline, node defaults, Pod annotation, CNI configuration. What is
//! wrong is collected from all of them and returned together; then nothing is set at all.
//!
//! This is not the place where a value is checked: that is the SDK's [`Settings::set`], so that a
//! stage's setting meets the same check. Nothing here reads a file or a socket.
//!
//! ```
//! use coordinator_core::settings::{Layers, resolve};
//! use coordinator_sdk::Source;
//!
//! let node = serde_json::json!({"mode": "underlay", "serviceCIDR": ["10.96.0.0/16"]});
//! let configuration = serde_json::json!({"name": "net", "type": "coordinator", "mode": "auto"});
//! let layers = Layers {
//!     node: node.as_object(),
//!     configuration: configuration.as_object(),
//!     ..Layers::default()
//! };
//! let resolved = resolve(&layers).unwrap();
//! assert_eq!(resolved.settings.source("mode"), Source::Configuration);
//! assert_eq!(resolved.settings.source("serviceCIDR"), Source::Node);
//! ```

use std::path::{Component, Path};

use coordinator_sdk::{SettingProblem, Settings, Source};
use serde_json::{Map, Value};

mod nearest;
mod root_file;

pub use nearest::nearest;
pub use root_file::{RootFileError, read_root_file};

/// The node's log directory: `logOptions.logFile` must lie under it.
pub const LOG_DIRECTORY: &str = "/var/log/spidernet";

/// How many characters of a wrong value an error repeats.
const SHOWN_VALUE: usize = 200;

/// Names in node defaults that say something to others: they are no mistakes there.
///
/// `podNICs` is sent by older agents of Spiderpool; `podCIDRType` is a field of SpiderCoordinator
/// that only its controller reads.
const FOREIGN_NODE_NAMES: [&str; 2] = ["podNICs", "podCIDRType"];

/// The CNI specification's own keys, and those that libcni and Multus add.
const CNI_NAMES: [&str; 17] = [
    "cniVersion",
    "cniVersions",
    "name",
    "type",
    "args",
    "capabilities",
    "runtimeConfig",
    "prevResult",
    "ipMasq",
    "ipam",
    "dns",
    "disableCheck",
    "disableGC",
    "loadOnlyInlinedPlugins",
    "plugins",
    "delegates",
    "master",
];

/// What each layer says; an absent layer says nothing.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a> {
    /// The pipeline's `[settings]`, already checked against their positions in the file.
    pub pipeline: Option<&'a Map<String, Value>>,
    /// The node defaults.
    pub node: Option<&'a Map<String, Value>>,
    /// What the Pod's annotations say.
    pub annotation: Option<&'a Map<String, Value>>,
    /// The CNI configuration, foreign keys included.
    pub configuration: Option<&'a Map<String, Value>>,
    /// The directory under which a log file must lie.
    pub log_directory: &'a Path,
}

impl Default for Layers<'_> {
    fn default() -> Self {
        Self {
            pipeline: None,
            node: None,
            annotation: None,
            configuration: None,
            log_directory: Path::new(LOG_DIRECTORY),
        }
    }
}

/// Settings, and what a person should know of how they came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The settings, each with its source.
    pub settings: Settings,
    /// Values without effect, keys that look like misspelt ones.
    pub warnings: Vec<String>,
}

/// The SDK's name of a key, which may be one of Spiderpool's other spellings.
///
/// Its CNI configuration says `podDefaultRouteNic`, its agent and SpiderCoordinator
/// `podDefaultRouteNIC`.
pub fn canonical(key: &str) -> Option<&'static str> {
    match key {
        "podDefaultRouteNIC" => Some("podDefaultRouteNic"),
        key => Settings::NAMES.into_iter().find(|name| *name == key),
    }
}

/// Lays the layers over each other.
///
/// # Errors
/// Every wrong value of every layer, weakest layer first; nothing is set then.
pub fn resolve(layers: &Layers<'_>) -> Result<Resolved, Vec<SettingProblem>> {
    let mut resolution = Resolution { resolved: Resolved::empty(), problems: Vec::new() };
    let ordered = [
        (layers.pipeline, Source::Pipeline),
        (layers.node, Source::Node),
        (layers.annotation, Source::Annotation),
        (layers.configuration, Source::Configuration),
    ];
    for (layer, source) in ordered {
        for (key, value) in layer.into_iter().flatten() {
            resolution.take(key, value, &source);
        }
    }
    resolution.check_log_file(layers.log_directory);
    if resolution.problems.is_empty() { Ok(resolution.resolved) } else { Err(resolution.problems) }
}

/// The pipeline that is asked for: by the CNI configuration, else by the node defaults.
///
/// It is asked first, since the pipeline itself is a layer of settings.
///
/// # Errors
/// The value is no name of a pipeline.
pub fn pipeline_name(
    configuration: &Map<String, Value>,
    node: Option<&Map<String, Value>>,
) -> Result<Option<String>, SettingProblem> {
    for (layer, source) in [(Some(configuration), Source::Configuration), (node, Source::Node)] {
        let value = layer.and_then(|layer| layer.get("pipeline")).filter(|value| !says_nothing("pipeline", value));
        if let Some(value) = value {
            let mut settings = Settings::default();
            settings
                .set("pipeline", value, source.clone())
                .map_err(|problem| presented(problem, "pipeline", &source))?;
            return Ok(settings.pipeline);
        }
    }
    Ok(None)
}

/// Empty where empty is the setting's own way to say "not set": a weaker layer is then heard.
///
/// Spiderpool's plugin reads its configuration like that, and what it renders relies on it. Fields
/// that are not listed have no such value: `txQueueLen` 0 leaves the queue alone, `podRPFilter` 0
/// is written, and `vethMTU` 0 is a mistake.
fn says_nothing(name: &str, value: &Value) -> bool {
    match (name, value) {
        (_, Value::Null) => true,
        (
            "mode" | "podDefaultRouteNic" | "podMACPrefix" | "vethLinkAddress" | "pipeline" | "multusNicPrefix",
            Value::String(text),
        ) => text.is_empty(),
        ("overlayPodCIDR" | "serviceCIDR" | "hijackCIDR" | "policyRoutes", Value::Array(entries)) => entries.is_empty(),
        _ => false,
    }
}

/// The problem as a person should read it: with the key as it was written, and its layer.
fn presented(problem: SettingProblem, key: &str, source: &Source) -> SettingProblem {
    let mut value = problem.value;
    if let Some((end, _)) = value.char_indices().nth(SHOWN_VALUE) {
        value.truncate(end);
        value.push('…');
    }
    let reason = match source {
        Source::Configuration => problem.reason,
        source => format!("{} (set by: {source})", problem.reason),
    };
    SettingProblem { name: key.to_owned(), value, reason }
}

/// Settings on their way.
struct Resolution {
    resolved: Resolved,
    problems: Vec<SettingProblem>,
}

impl Resolved {
    fn empty() -> Self {
        Self { settings: Settings::default(), warnings: Vec::new() }
    }
}

impl Resolution {
    fn take(&mut self, key: &str, value: &Value, source: &Source) {
        let Some(name) = canonical(key) else { return self.take_unknown(key, value, source) };
        if says_nothing(name, value) {
            return;
        }
        if *source == Source::Pipeline && name == "pipeline" {
            let reason = "a pipeline cannot choose another one".to_owned();
            let problem = SettingProblem { name: name.to_owned(), value: value.to_string(), reason };
            self.problems.push(presented(problem, key, source));
            return;
        }
        match self.resolved.settings.set(name, value, source.clone()) {
            Ok(warning) => self.resolved.warnings.extend(warning),
            Err(problem) => self.problems.push(presented(problem, key, source)),
        }
    }

    fn take_unknown(&mut self, key: &str, value: &Value, source: &Source) {
        if matches!(source, Source::Configuration) && CNI_NAMES.contains(&key) {
            return;
        }
        let guess = nearest(key, Settings::NAMES);
        let question = guess.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
        match source {
            Source::Configuration if guess.is_none() => {}
            Source::Configuration => self.resolved.warnings.push(format!("unknown field {key:?}{question}")),
            Source::Node if FOREIGN_NODE_NAMES.contains(&key) => {}
            Source::Node => {
                self.resolved.warnings.push(format!("unknown field {key:?} in the node defaults{question}"));
            }
            source => {
                let reason = format!("there is no setting called {key}{question}");
                let problem = SettingProblem { name: key.to_owned(), value: value.to_string(), reason };
                self.problems.push(presented(problem, key, source));
            }
        }
    }

    /// Lexically: whether the file can be opened is seen when the first line is written.
    fn check_log_file(&mut self, directory: &Path) {
        let file = Path::new(&self.resolved.settings.log_options.file);
        let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
        let beneath = file.strip_prefix(directory).ok();
        if beneath.is_some_and(|rest| rest.components().count() > 0 && rest.components().all(is_plain)) {
            return;
        }
        let source = self.resolved.settings.source("logOptions");
        let reason = format!("a log file must lie under {}", directory.display());
        let value = Value::from(self.resolved.settings.log_options.file.as_str()).to_string();
        let problem = SettingProblem { name: String::new(), value, reason };
        self.problems.push(presented(problem, "logOptions.logFile", &source));
    }
}

#[cfg(test)]
mod tests;
