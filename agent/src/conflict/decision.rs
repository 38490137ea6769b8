//! Whether the addresses of a Pod are given back: by what owns the Pod.

/// What controls a Pod; all empty when nothing does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    /// The owner's `apiVersion`.
    pub api_version: String,
    /// The owner's kind.
    pub kind: String,
    /// The owner's name.
    pub name: String,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The addresses are given back.
    Release,
    /// They stay the Pod's, for this reason.
    Keep(String),
}

impl Decision {
    /// What an owner leads to.
    ///
    /// A Pod of a StatefulSet and a virtual machine of KubeVirt keep their addresses over restarts: giving them back
    /// would give them to somebody else, and the machine or the member another one. Everything else takes what it gets.
    pub fn of(owner: &Owner, is_enabled: bool) -> Self {
        let group = owner.api_version.split('/').next().unwrap_or_default();
        match (group, owner.kind.as_str()) {
            ("apps", "StatefulSet") => Self::Keep(format!("it belongs to StatefulSet {}", owner.name)),
            ("kubevirt.io", "VirtualMachineInstance") => {
                Self::Keep(format!("it runs KubeVirt's machine {}", owner.name))
            }
            _ if !is_enabled => Self::Keep("SPIDERPOOL_ENABLED_RELEASE_CONFLICT_IPS is false".to_owned()),
            _ => Self::Release,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_state_keeps_its_addresses() {
        let owner = |api_version: &str, kind: &str| Owner {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            name: "x".to_owned(),
        };
        for (owner, keeps) in [
            (owner("apps/v1", "StatefulSet"), true),
            (owner("apps/v1beta2", "StatefulSet"), true),
            (owner("kubevirt.io/v1", "VirtualMachineInstance"), true),
            (owner("apps/v1", "ReplicaSet"), false),
            (owner("apps/v1", "DaemonSet"), false),
            (owner("batch/v1", "Job"), false),
            (owner("example.com/v1", "StatefulSet"), false),
            (Owner::default(), false),
        ] {
            assert_eq!(Decision::of(&owner, true) != Decision::Release, keeps, "{owner:?}");
            assert_ne!(Decision::of(&owner, false), Decision::Release, "{owner:?}");
        }
    }
}
