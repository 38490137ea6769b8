//! `podCIDRType`: where the overlay Pods' prefixes come from.

/// `podCIDRType` of SpiderCoordinator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PodCidrType {
    /// Whatever the cluster's plugin is.
    #[default]
    Auto,
    /// What the control plane was started with.
    Cluster,
    /// Calico's pools.
    Calico,
    /// Cilium's pools.
    Cilium,
    /// None but the ones in the spec.
    None,
}

impl PodCidrType {
    /// Every value, by its name in the spec.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("auto", Self::Auto),
        ("cluster", Self::Cluster),
        ("calico", Self::Calico),
        ("cilium", Self::Cilium),
        ("none", Self::None),
    ];

    /// The value of a name; empty is `auto`.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::default());
        }
        Self::NAMES.into_iter().find(|(name, _)| *name == text).map(|(_, value)| value)
    }
}
