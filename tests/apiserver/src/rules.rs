//! A definition's schema at work: types, lengths and the rules of the Common Expression Language (`x-kubernetes-validations`).
//!
//! The rules are evaluated by a CEL library; the API server's own functions (`isIP`, `cidr`, …) are added here. What rules
//! cost is not estimated: a real server refuses a definition whose rules are too dear.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use cel::{Context, Env, Value as Cel, extensions, extractors::This, objects::Map};
use ipnet::IpNet;
use serde_json::Value;

/// Why a value is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The schema itself says it: a type, a length, a missing field. Rules are not asked then.
    Schema(String),
    /// A rule does, in these words.
    Rule(String),
}

/// A value as the API server hands it to a rule.
fn cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(flag) => Cel::Bool(*flag),
        Value::Number(number) => Cel::Int(number.as_i64().unwrap()),
        Value::String(text) => Cel::from(text.as_str()),
        Value::Array(entries) => Cel::List(Arc::new(entries.iter().map(cel).collect())),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| (key.clone().into(), cel(value)));
            Cel::Map(Map { map: Arc::new(fields.collect()) })
        }
    }
}

fn ip(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

fn cidr(text: &str) -> Option<IpNet> {
    text.parse().ok()
}

/// Go's `time.ParseDuration`, in nanoseconds.
fn duration(text: &str) -> i64 {
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() && rest != "0" {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap();
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit() || c == '.').map_or(rest.len(), |at| digits + at);
        let scale = BTreeMap::from([
            ("ns", 1.0),
            ("us", 1e3),
            ("µs", 1e3),
            ("μs", 1e3),
            ("ms", 1e6),
            ("s", 1e9),
            ("m", 60e9),
            ("h", 3600e9),
        ]);
        total += rest[..digits].parse::<f64>().unwrap() * scale[&rest[digits..unit]];
        rest = &rest[unit..];
    }
    Duration::from_secs_f64(total / 1e9).as_nanos() as i64
}

/// Evaluates rules.
pub struct Rules(Arc<Env>);

impl Default for Rules {
    fn default() -> Self {
        let mut env = Env::stdlib();
        env.add_extension(extensions::strings).unwrap();
        Self(Arc::new(env))
    }
}

impl Rules {
    /// What a server says of a value of this schema, each with its path; nothing where it takes the value.
    pub fn refusals(&self, schema: &Value, value: &Value, path: &str) -> Vec<(String, Refused)> {
        let mut found = Vec::new();
        misfits(schema, value, path, &mut found);
        if found.is_empty() {
            self.broken(schema, value, path, &mut found);
        }
        found
    }

    fn broken(&self, schema: &Value, value: &Value, path: &str, found: &mut Vec<(String, Refused)>) {
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            let text = |field: &str| rule[field].as_str();
            match self.evaluate(text("rule").unwrap(), value) {
                Ok(Cel::Bool(true)) => {}
                Ok(Cel::Bool(false)) => {
                    let told = text("messageExpression").map(|expression| match self.evaluate(expression, value) {
                        Ok(Cel::String(text)) => text.to_string(),
                        other => panic!("{expression}: {other:?}"),
                    });
                    let told = told.or_else(|| text("message").map(str::to_owned)).unwrap_or_default();
                    found.push((path.to_owned(), Refused::Rule(told)));
                }
                other => panic!("{rule}: {other:?}"),
            }
        }
        for (path, schema, value) in parts(schema, value, path) {
            self.broken(schema, value, &path, found);
        }
    }

    fn evaluate(&self, rule: &str, value: &Value) -> Result<Cel, String> {
        let program = self.0.compile(rule).unwrap_or_else(|error| panic!("{rule}: {error}"));
        let mut context = Context::with_env(Arc::clone(&self.0));
        context.add_variable_from_value("self", cel(value));
        context.add_function("isIP", |text: Arc<String>| ip(&text).is_some()).unwrap();
        context.add_function("isCIDR", |text: Arc<String>| cidr(&text).is_some()).unwrap();
        // An address is its text here; `cidr("…").ip()` and `ip("…")` are both found by the part before the slash.
        let address = |This(text): This<Arc<String>>| text.split('/').next().unwrap_or_default().to_owned();
        context.add_function("ip", address).unwrap();
        context.add_function("cidr", |text: Arc<String>| text.to_string()).unwrap();
        let family = |This(text): This<Arc<String>>| if ip(&text).is_some_and(|it| it.is_ipv4()) { 4_i64 } else { 6 };
        context.add_function("family", family).unwrap();
        let link_local = |This(text): This<Arc<String>>| match ip(&text) {
            Some(IpAddr::V4(v4)) => v4.is_link_local(),
            Some(IpAddr::V6(v6)) => v6.is_unicast_link_local(),
            None => false,
        };
        context.add_function("isLinkLocalUnicast", link_local).unwrap();
        let nanoseconds = |text: Arc<String>| duration(&text);
        context.add_function("duration", nanoseconds).unwrap();
        program.execute(&context).map_err(|error| format!("{rule}: {error}"))
    }
}

/// The parts that the schema knows: others are pruned before anything is asked, and so is what is null.
fn parts<'a>(schema: &'a Value, value: &'a Value, path: &str) -> Vec<(String, &'a Value, &'a Value)> {
    match value {
        Value::Array(entries) => {
            let each = entries.iter().enumerate();
            each.map(|(at, value)| (format!("{path}[{at}]"), &schema["items"], value)).collect()
        }
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .filter_map(|(key, value)| Some((format!("{path}.{key}"), schema["properties"].get(key)?, value)))
            .collect(),
        _ => Vec::new(),
    }
}

fn misfits(schema: &Value, value: &Value, path: &str, found: &mut Vec<(String, Refused)>) {
    let kind = schema["type"].as_str().unwrap_or_default();
    let fits = match kind {
        "string" => value.is_string(),
        "integer" => value.as_i64().is_some(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    };
    let mut say = |text: String| found.push((path.to_owned(), Refused::Schema(text)));
    if !fits {
        return say(format!("must be of type {kind}"));
    }
    let most = |keyword: &str| schema[keyword].as_u64().and_then(|most| usize::try_from(most).ok());
    if let (Some(most), Some(text)) = (most("maxLength"), value.as_str())
        && text.chars().count() > most
    {
        say(format!("may not be more than {most} bytes"));
    }
    if let (Some(most), Some(entries)) = (most("maxItems"), value.as_array())
        && entries.len() > most
    {
        say(format!("must have at most {most} items"));
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value[name].is_null() {
            say(format!("{name}: Required value"));
        }
    }
    for (path, schema, value) in parts(schema, value, path) {
        misfits(schema, value, &path, found);
    }
}
