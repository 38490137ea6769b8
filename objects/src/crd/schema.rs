//! The parts that a schema is made of, with the rules that refuse a value in the plugin's own words.

use serde_json::{Map, Value, json};

/// A rule of the Common Expression Language, as `x-kubernetes-validations` has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Holds for what is accepted.
    pub rule: String,
    /// What is said otherwise.
    pub message: String,
    /// The same with the value in it, where the plugin repeats the value.
    pub expression: Option<String>,
}

impl Rule {
    /// A rule with a fixed message.
    pub fn new(rule: impl Into<String>, message: impl Into<String>) -> Self {
        Self { rule: rule.into(), message: message.into(), expression: None }
    }

    /// A rule whose message repeats the value: `before"value"after`.
    pub fn quoting(rule: impl Into<String>, before: &str, after: &str) -> Self {
        let expression =
            format!("{} + {} + self + {} + {}", literal(before), literal("\""), literal("\""), literal(after));
        let message = format!("{before}this{after}");
        Self { rule: rule.into(), message, expression: Some(expression) }
    }

    /// True when the rule needs functions for addresses, which servers have since Kubernetes 1.31.
    pub fn needs_addresses(&self) -> bool {
        ["isIP(", "isCIDR(", "ip(", "cidr("].iter().any(|function| self.rule.contains(function))
    }

    fn to_json(&self) -> Value {
        let mut rule = json!({"rule": self.rule, "message": self.message});
        if let (Some(expression), Some(fields)) = (&self.expression, rule.as_object_mut()) {
            fields.insert("messageExpression".to_owned(), json!(expression));
        }
        rule
    }
}

/// A text as CEL writes it.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// All but the rules.
    fields: Map<String, Value>,
    /// The rules of this value itself.
    pub rules: Vec<Rule>,
    /// The least and the most that one of the rules allows.
    limits: Option<(i64, i64)>,
    /// The parts: properties by name, or `[]` for a list's entries.
    pub parts: Vec<(String, Self)>,
}

impl Schema {
    fn new(kind: &str, description: &str) -> Self {
        let mut fields = Map::new();
        fields.insert("type".to_owned(), json!(kind));
        if !description.is_empty() {
            fields.insert("description".to_owned(), json!(description));
        }
        Self { fields, rules: Vec::new(), limits: None, parts: Vec::new() }
    }

    /// A text.
    pub fn text(description: &str, longest: u32) -> Self {
        Self::new("string", description).with("maxLength", json!(longest))
    }

    /// A whole number.
    pub fn number(description: &str) -> Self {
        Self::new("integer", description).with("format", json!("int64"))
    }

    /// A whole number of a range, said in the plugin's words.
    pub fn range(description: &str, least: i64, most: i64) -> Self {
        Self::within(description, (least, most), format!("expected a whole number from {least} to {most}"))
    }

    /// The same in other words.
    pub fn within(description: &str, (least, most): (i64, i64), message: impl Into<String>) -> Self {
        let rule = Rule::new(format!("self >= {least} && self <= {most}"), message);
        Self { limits: Some((least, most)), ..Self::number(description).rule(rule) }
    }

    /// True or false.
    pub fn flag(description: &str) -> Self {
        Self::new("boolean", description)
    }

    /// A list.
    pub fn list(description: &str, most: u32, entry: Self) -> Self {
        let mut list = Self::new("array", description).with("maxItems", json!(most));
        list.parts.push(("[]".to_owned(), entry));
        list
    }

    /// An object.
    pub fn object(description: &str, properties: Vec<(&str, Self)>) -> Self {
        let mut object = Self::new("object", description);
        object.parts = properties.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
        object
    }

    /// With another keyword.
    #[must_use]
    pub fn with(mut self, keyword: &str, value: Value) -> Self {
        self.fields.insert(keyword.to_owned(), value);
        self
    }

    /// With another rule.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// The type's name.
    pub fn kind(&self) -> &str {
        self.fields.get("type").and_then(Value::as_str).unwrap_or_default()
    }

    /// Another keyword's value.
    pub fn keyword(&self, keyword: &str) -> Option<&Value> {
        self.fields.get(keyword)
    }

    /// The names of the properties that must be there.
    pub fn required(&self) -> impl Iterator<Item = &str> {
        let names = self.keyword("required").and_then(Value::as_array);
        names.into_iter().flatten().filter_map(Value::as_str)
    }

    /// True when properties are kept that the schema does not name.
    pub fn is_open(&self) -> bool {
        self.keyword("x-kubernetes-preserve-unknown-fields").is_some_and(|value| value == true)
    }

    /// A number's limits, and what is said of one beyond them.
    pub fn limits(&self) -> Option<(i64, i64, &str)> {
        let (least, most) = self.limits?;
        Some((least, most, self.rules.first()?.message.as_str()))
    }

    /// A part by its name.
    pub fn part(&self, name: &str) -> Option<&Self> {
        self.parts.iter().find(|(known, _)| known == name).map(|(_, schema)| schema)
    }

    /// As OpenAPI; rules for addresses are left out where the server has no functions for them.
    pub fn to_json(&self, has_addresses: bool) -> Value {
        let mut fields = self.fields.clone();
        let is_list = self.kind() == "array";
        if let (true, Some((_, entry))) = (is_list, self.parts.first()) {
            fields.insert("items".to_owned(), entry.to_json(has_addresses));
        } else if !self.parts.is_empty() {
            let properties: Map<String, Value> =
                self.parts.iter().map(|(name, schema)| (name.clone(), schema.to_json(has_addresses))).collect();
            fields.insert("properties".to_owned(), Value::Object(properties));
        }
        let rules = self.rules.iter().filter(|rule| has_addresses || !rule.needs_addresses());
        let rules: Vec<Value> = rules.map(Rule::to_json).collect();
        if !rules.is_empty() {
            fields.insert("x-kubernetes-validations".to_owned(), Value::from(rules));
        }
        Value::Object(fields)
    }
}
