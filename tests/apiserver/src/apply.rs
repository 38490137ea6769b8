//! Patches: merge (RFC 7386) and server-side apply, as far as objects and whole lists go.

use serde_json::{Map, Value};

/// A merge patch: null removes.
pub(crate) fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let Some(target) = object.as_object_mut() else { return };
    for (key, value) in fields {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Applies `config`; what the same manager applied `before` and does not any more goes.
pub(crate) fn apply(object: &mut Value, before: &Value, config: &Value) {
    remove_given_up(object, before, config);
    merge(object, config);
}

fn remove_given_up(object: &mut Value, before: &Value, config: &Value) {
    let (Some(target), Some(before)) = (object.as_object_mut(), before.as_object()) else { return };
    for (key, old) in before {
        match (config.get(key), old.is_object()) {
            (Some(new), true) => {
                if let Some(inner) = target.get_mut(key) {
                    remove_given_up(inner, old, new);
                }
            }
            (Some(_), false) => {}
            (None, true) => {
                // Fields of others below it stay.
                if let Some(inner) = target.get_mut(key) {
                    remove_given_up(inner, old, &Value::Object(Map::new()));
                    if inner.as_object().is_some_and(Map::is_empty) {
                        target.remove(key);
                    }
                }
            }
            (None, false) => _ = target.remove(key),
        }
    }
}

/// Leaves that two configurations set to different values, as dotted paths.
pub(crate) fn conflicts(ours: &Value, theirs: &Value, path: &str, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (key, value) in ours {
                if let Some(other) = theirs.get(key) {
                    conflicts(value, other, &format!("{path}.{key}"), found);
                }
            }
        }
        (ours, theirs) if ours != theirs => found.push(path.to_owned()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_given_up_goes_and_what_others_set_stays() {
        let mut object = json!({"a": 1, "m": {"x": 1, "theirs": 2}, "n": {"y": 1}});
        let before = json!({"a": 1, "m": {"x": 1}, "n": {"y": 1}});
        apply(&mut object, &before, &json!({"b": 2, "m": {}}));
        assert_eq!(object, json!({"b": 2, "m": {"theirs": 2}}));
        let mut found = Vec::new();
        conflicts(&json!({"a": {"b": 1, "c": 2}}), &json!({"a": {"b": 2, "c": 2}}), "", &mut found);
        assert_eq!(found, [".a.b"]);
    }
}
