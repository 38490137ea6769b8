//! The versions of the CNI specification that are spoken, and what differs between them.

/// A version of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SpecVersion {
    V0_3_0,
    V0_3_1,
    V0_4_0,
    V1_0_0,
    V1_1_0,
}

impl SpecVersion {
    /// All of them, oldest first.
    pub(crate) const ALL: [Self; 5] = [Self::V0_3_0, Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];
    /// The one in which errors are given when the caller's is not known.
    pub(crate) const LATEST: Self = Self::V1_1_0;

    /// As it stands in `cniVersion`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// The version called so.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == text)
    }

    /// Addresses in a result name their family until 0.4.0.
    pub(crate) fn addresses_have_family(self) -> bool {
        self < Self::V1_0_0
    }

    /// Interfaces in a result show their MTU since 1.1.0.
    pub(crate) fn interfaces_have_mtu(self) -> bool {
        self >= Self::V1_1_0
    }
}
