//! A request's parameters, and the selectors among them.

use std::collections::BTreeMap;

use serde_json::Value;

/// The parameters of a query string.
#[derive(Debug, Default)]
pub(crate) struct Query(BTreeMap<String, String>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        Self(pairs.map(|(key, value)| (decoded(key), decoded(value))).collect())
    }

    pub(crate) fn text(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }

    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        self.text(key).parse().ok()
    }

    pub(crate) fn is_set(&self, key: &str) -> bool {
        matches!(self.text(key), "true" | "1")
    }

    /// True when an object fulfils both selectors.
    pub(crate) fn selects(&self, object: &Value) -> bool {
        let field = |path: &str| {
            let pointer = format!("/{}", path.replace('.', "/"));
            object.pointer(&pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let fields = self.text("fieldSelector").split(',').filter(|part| !part.is_empty());
        let fields_hold = fields.into_iter().all(|part| match part.split_once('=') {
            Some((path, value)) => field(path) == value.trim_start_matches('='),
            None => false,
        });
        fields_hold
            && requirements(self.text("labelSelector")).iter().all(|(key, values)| {
                let label = object["metadata"]["labels"][key.as_str()].as_str();
                label.is_some_and(|label| values.iter().any(|value| value == label))
            })
    }
}

/// Labels and the values that each may have: `a=b` and `a in (b,c)`.
fn requirements(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (part, tail) = match (rest.find('('), rest.find(',')) {
            (Some(open), Some(comma)) if open < comma => rest.split_at(rest.find(')').map_or(rest.len(), |at| at + 1)),
            (_, Some(comma)) => rest.split_at(comma),
            _ => (rest, ""),
        };
        if let Some((key, values)) = part.split_once(" in ") {
            let values = values.trim().trim_matches(['(', ')']).split(',').map(|value| value.trim().to_owned());
            found.push((key.trim().to_owned(), values.collect()));
        } else if let Some((key, value)) = part.split_once('=') {
            found.push((key.trim().to_owned(), vec![value.trim_start_matches('=').trim().to_owned()]));
        }
        rest = tail.trim_start_matches(',').trim();
    }
    found
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let hex: String = rest.by_ref().take(2).map(char::from).collect();
                bytes.extend(u8::from_str_radix(&hex, 16).ok());
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_select() {
        let pod =
            json!({"metadata": {"name": "p", "labels": {"component": "kube-apiserver"}}, "spec": {"nodeName": "n1"}});
        for (query, expected) in [
            ("", true),
            ("fieldSelector=metadata.name%3Dp%2Cspec.nodeName%3Dn1", true),
            ("fieldSelector=spec.nodeName%3D%3Dn2", false),
            ("labelSelector=component+in+%28a%2Ckube-apiserver%29", true),
            ("labelSelector=component%20in%20(a,b)", false),
            ("labelSelector=component=kube-apiserver,tier=x", false),
        ] {
            assert_eq!(Query::parse(query).selects(&pod), expected, "{query}");
        }
    }
}
