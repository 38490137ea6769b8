//! JSON that few stages read: it comes as it is, and who wants it says as what.

use std::{fmt, str::FromStr};

use serde::de::DeserializeOwned;
use serde_json::Value;

/// A JSON value. [`Json::read`] makes of it what a stage needs.
///
/// ```
/// use coordinator_sdk::Json;
/// use std::collections::BTreeMap;
///
/// let config: Json = r#"{"args": {"zone": "a"}}"#.parse().unwrap();
/// let read: BTreeMap<String, BTreeMap<String, String>> = config.read().unwrap();
/// assert_eq!(read["args"]["zone"], "a");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json(Held);

/// The host has values and writes them into records.
#[cfg(not(target_arch = "wasm32"))]
type Held = Value;

/// A guest gets a text, and has no code that reads it unless its stage does.
#[cfg(target_arch = "wasm32")]
type Held = String;

impl Json {
    /// Reads it as a `T`; `serde_json::Value` takes anything.
    ///
    /// # Errors
    /// It is no `T`.
    pub fn read<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        #[cfg(not(target_arch = "wasm32"))]
        return T::deserialize(&self.0);
        #[cfg(target_arch = "wasm32")]
        return serde_json::from_str(&self.0);
    }

    /// What the host sent, which is JSON.
    #[cfg(target_arch = "wasm32")]
    pub(crate) fn sent(text: String) -> Self {
        Self(text)
    }
}

impl Default for Json {
    fn default() -> Self {
        #[cfg(not(target_arch = "wasm32"))]
        return Self(Value::Null);
        #[cfg(target_arch = "wasm32")]
        return Self("null".to_owned());
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        #[cfg(not(target_arch = "wasm32"))]
        return Self(Value::from(text));
        // No text fails.
        #[cfg(target_arch = "wasm32")]
        return Self(serde_json::to_string(text).unwrap_or_default());
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

/// What is written in JSON as Rust prints it; a guest that says no more than this has no code for any other value.
macro_rules! printed {
    ($($type:ty)*) => {$(
        impl From<$type> for Json {
            fn from(value: $type) -> Self {
                #[cfg(not(target_arch = "wasm32"))]
                return Self(Value::from(value));
                #[cfg(target_arch = "wasm32")]
                return Self(value.to_string());
            }
        }
    )*};
}

printed! { bool u32 i32 }

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        #[cfg(not(target_arch = "wasm32"))]
        return Self(value);
        #[cfg(target_arch = "wasm32")]
        return Self(value.to_string());
    }
}

impl FromStr for Json {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str::<Value>(text).map(Self::from)
    }
}

/// As JSON.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl serde::Serialize for Json {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.read::<Value>().map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Json {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::from)
    }
}

impl schemars::JsonSchema for Json {
    fn inline_schema() -> bool {
        Value::inline_schema()
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        Value::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Value::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_values_are_written_as_json_writes_them() {
        let plain = [Json::from("a \"b\"\n".to_owned()), true.into(), 7_u32.into(), (-1_i32).into(), Json::default()];
        let written = plain.map(|json| (json.to_string(), json));
        let expected = [r#""a \"b\"\n""#, "true", "7", "-1", "null"];
        for ((text, json), expected) in written.iter().zip(expected) {
            assert_eq!((text.as_str(), json), (expected, &expected.parse().unwrap()));
        }
    }
}
