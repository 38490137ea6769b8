//! What the caller tells of a call that nothing is recorded of: what the runtime would say.

use std::{path::PathBuf, str::FromStr};

use clap::Args;
use coordinator_sdk::ContainerId;

/// The parts of a call that are told.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Told {
    /// The network's CNI configuration, with `prevResult`; `-` reads it from standard input. Without it, what the
    /// runtime remembers of the Pod, else what the record tells of it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The container's id, for a namespace's path of which nothing is recorded
    #[arg(long, value_name = "ID")]
    pub(crate) container: Option<ContainerId>,
    /// The Pod's name, for a namespace's path of which nothing is recorded: annotations and pipelines go by it
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub(crate) pod: Option<PodName>,
}

/// A Pod's whole name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodName {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl FromStr for PodName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err("expected NAMESPACE/NAME, such as default/web-0".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_name_has_two_parts() {
        let name = PodName { namespace: "default".to_owned(), name: "web-0".to_owned() };
        assert_eq!("default/web-0".parse(), Ok(name));
        for wrong in ["", "web-0", "/web-0", "default/", "a/b/c"] {
            assert!(wrong.parse::<PodName>().is_err(), "{wrong}");
        }
    }
}
