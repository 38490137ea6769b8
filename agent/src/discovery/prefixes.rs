//! Prefixes as cluster components write them: lists with commas or spaces, of one or two families.

use ipnet::IpNet;

/// The prefixes in a text, sorted and each once.
///
/// # Errors
/// The first entry that is no prefix, in words.
///
/// ```
/// use coordinator_agent::discovery::prefixes_in;
///
/// let found = prefixes_in("10.244.0.0/16,fd00:10:244::/56").unwrap();
/// assert_eq!(found.len(), 2);
/// assert_eq!(prefixes_in("10.244.0.0").unwrap_err(), "\"10.244.0.0\" is not a prefix");
/// ```
pub fn prefixes_in(text: &str) -> Result<Vec<IpNet>, String> {
    let entries = text.split([',', ' ', '\t', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
    entries.map(prefix).collect::<Result<Vec<_>, _>>().map(sorted)
}

/// One prefix, without its host bits.
pub(super) fn prefix(text: &str) -> Result<IpNet, String> {
    text.trim().parse::<IpNet>().map(|net| net.trunc()).map_err(|_| format!("{text:?} is not a prefix"))
}

/// Each prefix once, IPv4 before IPv6: whatever order the API gave them in, the outcome is the same.
pub(super) fn sorted(mut prefixes: Vec<IpNet>) -> Vec<IpNet> {
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes
}
