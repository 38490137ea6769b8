//! Parts of a record that every call carries along and only people ask for.
//!
//! They stay text until somebody looks into them, so that a Pod's further interfaces do not pay for the stories of
//! all the others.

use std::{ops::Deref, sync::OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::value::RawValue;

/// A value that is parsed when it is first looked at. Text that is no such value counts as its default.
#[derive(Debug, Clone, Default)]
pub struct Sealed<T> {
    text: Option<Box<RawValue>>,
    value: OnceLock<T>,
}

impl<T> From<T> for Sealed<T> {
    fn from(value: T) -> Self {
        Self { text: None, value: OnceLock::from(value) }
    }
}

impl<T: DeserializeOwned + Default> Deref for Sealed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        let parse = || serde_json::from_str(self.text.as_ref()?.get()).ok();
        self.value.get_or_init(|| parse().unwrap_or_default())
    }
}

impl<T: DeserializeOwned + Default + PartialEq> PartialEq for Sealed<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: DeserializeOwned + Default + Eq> Eq for Sealed<T> {}

impl<T: Serialize + DeserializeOwned + Default> Serialize for Sealed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.text {
            Some(text) => text.serialize(serializer),
            None => (**self).serialize(serializer),
        }
    }
}

impl<'de, T> Deserialize<'de> for Sealed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { text: Some(Box::<RawValue>::deserialize(deserializer)?), value: OnceLock::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_the_same_sealed_and_opened() {
        let value: Sealed<Vec<u8>> = vec![1, 2, 3].into();
        let text = serde_json::to_string(&value).unwrap();
        let sealed: Sealed<Vec<u8>> = serde_json::from_str(&text).unwrap();
        assert!(sealed.value.get().is_none(), "nobody has looked into it");
        assert_eq!(serde_json::to_string(&sealed).unwrap(), text);
        assert_eq!(sealed, value);
        let strange: Sealed<Vec<u8>> = serde_json::from_str(r#"{"no": "list"}"#).unwrap();
        assert!(strange.is_empty());
    }
}
