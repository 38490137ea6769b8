//! Whether an ADD does what `coordinatorctl plan` said that it would do.

use std::{env, fs};

use anyhow::{Context as _, Result, ensure};
use coordinator_sdk::Model;
use serde_json::{Value, json};

use crate::{
    command::{command, tool},
    pod::Pod,
};

/// With this in the environment, every ADD of every story is planned first and compared.
pub const EVERY_ADD: &str = "COORDINATOR_PLAN_EVERY_ADD";

/// How often an ADD of this story began anew.
pub(crate) fn began_anew() -> usize {
    let log = fs::read_to_string("/var/log/spidernet/coordinator.log").unwrap_or_default();
    log.matches("Observing again.").count()
}

impl Pod {
    /// What the tool says of an ADD with this configuration.
    ///
    /// # Errors
    /// It gives no answer; that the ADD would be refused is one.
    pub fn plan(&self, interface: &str, configuration: &Value) -> Result<Value> {
        let path = self.host.path().display().to_string();
        let arguments =
            ["plan", &path, "--container", &self.container, "--interface", interface, "--config", "-", "--json"];
        // A refusal has an exit code of its own.
        let script = format!("{} \"$@\" || test $? = 1", tool()?.display());
        let name = self.whole_name().map(|name| format!("--pod={name}"));
        let words: Vec<&str> = ["-c", &script, "sh"].into_iter().chain(arguments).chain(name.as_deref()).collect();
        let text = command("sh", &words, &configuration.to_string())?;
        serde_json::from_str(&text).with_context(|| format!("the tool says {text}"))
    }

    /// What the ADD of an interface did, as its record tells it.
    ///
    /// # Errors
    /// There is no record.
    pub fn recorded_plan(&self, interface: &str) -> Result<Value> {
        self.record_line(interface, 4)?.context("there is no record")
    }

    /// What an interface's attachment claims, as its record tells it; nothing when there is none.
    ///
    /// # Errors
    /// The record is none.
    pub fn claimed(&self, interface: &str) -> Result<Option<Model>> {
        let line = self.record_line(interface, 2)?;
        Ok(line.map(serde_json::from_value).transpose()?)
    }

    fn record_line(&self, interface: &str, at: usize) -> Result<Option<Value>> {
        let path = format!("/run/coordinator/{}/if-{interface}.json", self.container);
        let Ok(record) = fs::read_to_string(path) else { return Ok(None) };
        let line = record.lines().nth(at).context("the record lacks a line")?;
        Ok(Some(serde_json::from_str(line)?))
    }

    /// What the tool records of an ADD with this configuration, as text.
    ///
    /// # Errors
    /// It records nothing.
    pub fn facts(&self, interface: &str, configuration: &Value) -> Result<String> {
        let path = self.host.path().display().to_string();
        let arguments = ["facts", &path, "--container", &self.container, "--interface", interface, "--config", "-"];
        let name = self.whole_name().map(|name| format!("--pod={name}"));
        let words: Vec<&str> = arguments.into_iter().chain(name.as_deref()).collect();
        command(&tool()?.display().to_string(), &words, &configuration.to_string())
    }

    /// Compares a plan with what the ADD then did, change by change; how many there were.
    ///
    /// # Errors
    /// They differ.
    pub fn did(&self, interface: &str, plan: &Value) -> Result<usize> {
        let done = self.recorded_plan(interface)?;
        let changes = |edits: &Value| -> Vec<Value> {
            let edits = edits.as_array().into_iter().flatten();
            edits.map(|edit| json!([unnumbered(&edit["edit"]), edit["stage"], edit["why"]])).collect()
        };
        let (planned, done) = (changes(&plan["plan"]), changes(&done["edits"]));
        let only = |these: &[Value], those: &[Value]| -> Vec<String> {
            these.iter().filter(|it| !those.contains(it)).map(ToString::to_string).collect()
        };
        let (unplanned, undone) = (only(&done, &planned), only(&planned, &done));
        ensure!(planned == done, "{interface}: planned and not done {undone:#?}\ndone and not planned {unplanned:#?}");
        Ok(done.len())
    }

    /// The plan of an ADD, when every one is to be compared and this one can be: a Pod whose path is gone, or that
    /// holds what a killed call left, cannot.
    pub(crate) fn plan_to_compare(&self, interface: &str, configuration: &Value) -> Result<Option<Value>> {
        if env::var_os(EVERY_ADD).is_none() || !self.host.path().exists() {
            return Ok(None);
        }
        let plan = self.plan(interface, configuration)?;
        Ok(Some(plan).filter(|plan| plan["notes"] == json!([])))
    }

    /// As [`Pod::did`], unless the ADD met a kernel that is not what it looked like and began anew: what it undid
    /// of its first attempt is then a part of the second one's plan.
    pub(crate) fn did_or_began_anew(&self, interface: &str, plan: &Value, again: usize) -> Result<()> {
        match self.did(interface, plan) {
            Err(_) if began_anew() > again => Ok(()),
            compared => compared.map(drop).context("the ADD did something else than was planned"),
        }
    }
}

/// An edit without its routes' numbers: they count what was looked at, and who plans looks at more than who adds.
fn unnumbered(edit: &Value) -> Value {
    let mut edit = edit.clone();
    for route in edit.as_object_mut().into_iter().flat_map(|kinds| kinds.values_mut()) {
        for place in ["", "/route"] {
            if let Some(known) = route.pointer_mut(place).and_then(Value::as_object_mut) {
                known.remove("id");
            }
        }
    }
    edit
}
