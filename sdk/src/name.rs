//! Names that cannot hold nonsense: they are parsed once and then trusted as file and link names.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a text is not the name it was taken for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The interface name breaks the kernel's `dev_valid_name` or the CNI grammar.
    #[error("interface name {0:?} is not 1 to 15 characters without '/', ':' and white space")]
    Interface(String),
    /// The container id breaks the CNI grammar.
    #[error(
        "container id {0:?} does not match the CNI grammar: a letter or digit, then letters, digits, '_', '.' and '-', at most 255"
    )]
    Container(String),
}

/// A link's name: 1 to 15 bytes (`IFNAMSIZ`), neither `.` nor `..`, no `/`, `:` or white space
/// (kernel `dev_valid_name`, CNI specification section 2).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceName(String);

impl InterfaceName {
    /// `eth0`, the name that Kubernetes' runtimes give a Pod's first interface.
    pub fn first() -> Self {
        Self("eth0".to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InterfaceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let length_fits = (1..=15).contains(&text.len());
        let is_dots = text == "." || text == "..";
        let has_forbidden =
            text.chars().any(|c| c == '/' || c == ':' || c == '\0' || c.is_whitespace() || c.is_control());
        if !length_fits || is_dots || has_forbidden {
            return Err(NameError::Interface(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for InterfaceName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<InterfaceName> for String {
    fn from(name: InterfaceName) -> Self {
        name.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A container's id as the CNI specification allows it; safe as a file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

impl ContainerId {
    /// Stands for a container that is not known, in hand-made facts.
    pub fn unknown() -> Self {
        Self("unknown".to_owned())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first `count` characters (ids are ASCII), or all when there are fewer.
    pub fn prefix(&self, count: usize) -> &str {
        self.0.get(..count).unwrap_or(&self.0)
    }
}

impl FromStr for ContainerId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let first_fits = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
        let rest_fits = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
        if !first_fits || !rest_fits || text.len() > 255 {
            return Err(NameError::Container(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for ContainerId {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names_follow_the_kernel() {
        for good in ["eth0", "net1", "a", "fifteen-letters", "eth0.100"] {
            assert!(good.parse::<InterfaceName>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "a:1", "sixteen-letters!", "a\n"] {
            assert!(bad.parse::<InterfaceName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn container_ids_cannot_leave_their_directory() {
        for good in ["ab", "0a_b.c-d", &"f".repeat(64)] {
            assert!(good.parse::<ContainerId>().is_ok(), "{good}");
        }
        for bad in ["", "../../etc", ".hidden", "a/b", "-x", "a b", &"f".repeat(256)] {
            assert!(bad.parse::<ContainerId>().is_err(), "{bad:?}");
        }
    }
}
