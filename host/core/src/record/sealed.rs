//! Parts of a record that every call carries along and only people ask for.
//!
//! They stay text until somebody looks into them, so that a Pod's further interfaces do not pay for the stories of
//! all the others. Each has a line of its own in the record's file: whoever does not want it need not even find its
//! end.

use std::{borrow::Cow, ops::Deref, sync::OnceLock};

use serde::{Serialize, de::DeserializeOwned};

/// A value that is parsed when it is first looked at. Text that is no such value counts as its default.
#[derive(Debug, Clone, Default)]
pub struct Sealed<T> {
    text: Option<String>,
    value: OnceLock<T>,
}

impl<T> Sealed<T> {
    /// What this line says.
    pub(super) fn of_text(text: &str) -> Self {
        Self { text: Some(text.to_owned()), value: OnceLock::new() }
    }
}

impl<T: Serialize + DeserializeOwned + Default> Sealed<T> {
    /// The line that says it.
    ///
    /// # Errors
    /// The value has no JSON.
    pub(super) fn text(&self) -> serde_json::Result<Cow<'_, str>> {
        match &self.text {
            Some(text) => Ok(Cow::Borrowed(text)),
            None => serde_json::to_string(&**self).map(Cow::Owned),
        }
    }
}

impl<T> From<T> for Sealed<T> {
    fn from(value: T) -> Self {
        Self { text: None, value: OnceLock::from(value) }
    }
}

impl<T: DeserializeOwned + Default> Deref for Sealed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        let parse = || serde_json::from_str(self.text.as_ref()?).ok();
        self.value.get_or_init(|| parse().unwrap_or_default())
    }
}

impl<T: DeserializeOwned + Default + PartialEq> PartialEq for Sealed<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: DeserializeOwned + Default + Eq> Eq for Sealed<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_the_same_sealed_and_opened() {
        let value: Sealed<Vec<u8>> = vec![1, 2, 3].into();
        let text = value.text().unwrap();
        let sealed: Sealed<Vec<u8>> = Sealed::of_text(&text);
        assert!(sealed.value.get().is_none(), "nobody has looked into it");
        assert_eq!(sealed.text().unwrap(), text);
        assert_eq!(sealed, value);
        assert!(Sealed::<Vec<u8>>::of_text(r#"{"no": "list"}"#).is_empty());
    }
}
