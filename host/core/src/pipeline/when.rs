//! `when`: the attachments for which a stage runs.

use std::fmt;

use coordinator_sdk::{Facts, Mode};
use serde_json::{Value, json};

use super::{
    source::{At, Flaw},
    table::Table,
};

pub(super) const KEYS: [&str; 5] = ["mode", "namespace", "pod", "network", "interface"];
const MODES: [(&str, Mode); 2] = [("underlay", Mode::Underlay), ("overlay", Mode::Overlay)];

/// The conditions of a stage: all of them must hold, and of each any one of its patterns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct When {
    /// The mode, decided by the stages before this one.
    pub modes: Vec<Mode>,
    /// The Pod's Kubernetes namespace.
    pub namespaces: Vec<Pattern>,
    /// The Pod's name.
    pub pods: Vec<Pattern>,
    /// The network's name in the CNI configuration.
    pub networks: Vec<Pattern>,
    /// The attached interface.
    pub interfaces: Vec<Pattern>,
}

/// A text in which `*` stands for any characters and `?` for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl When {
    pub(super) fn read(table: &Table<'_>, flaws: &mut Vec<Flaw>) -> Self {
        table.refuse_unknown(&KEYS, flaws);
        let mut modes = Vec::new();
        for At { value, place } in table.texts("mode", flaws) {
            match MODES.into_iter().find(|(name, _)| *name == value) {
                Some((_, mode)) => modes.push(mode),
                None => flaws.push(Flaw::error(&place, format!("mode {value:?}: expected underlay or overlay"))),
            }
        }
        let mut patterns =
            |key: &str| table.texts(key, flaws).into_iter().map(|text| Pattern(text.value)).collect::<Vec<_>>();
        Self {
            modes,
            namespaces: patterns("namespace"),
            pods: patterns("pod"),
            networks: patterns("network"),
            interfaces: patterns("interface"),
        }
    }

    /// True when nothing is asked.
    pub fn is_always(&self) -> bool {
        *self == Self::default()
    }

    /// Why the stage does not run for this attachment; absent when it does.
    pub fn objection(&self, facts: &Facts) -> Option<String> {
        if !self.modes.is_empty() && !self.modes.contains(&facts.mode()) {
            let wanted: Vec<&str> = self.modes.iter().map(|mode| mode_name(*mode)).collect();
            return Some(format!("the mode is {}, not {}", mode_name(facts.mode()), wanted.join(" or ")));
        }
        let request = &facts.request;
        let asked = [
            ("namespace", &self.namespaces, request.pod_namespace.as_str()),
            ("pod", &self.pods, request.pod_name.as_str()),
            ("network", &self.networks, request.network.as_str()),
            ("interface", &self.interfaces, request.interface.as_str()),
        ];
        let unfit = |(_, patterns, text): &(&str, &Vec<Pattern>, &str)| {
            !patterns.is_empty() && !patterns.iter().any(|pattern| pattern.fits(text))
        };
        let (what, patterns, text) = asked.into_iter().find(unfit)?;
        let wanted: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        Some(format!("{what} {text:?} does not fit {}", wanted.join(" or ")))
    }

    /// As the file says it.
    pub fn to_json(&self) -> Value {
        let patterns = |of: &[Pattern]| of.iter().map(|pattern| Value::from(pattern.0.as_str())).collect::<Vec<_>>();
        let lists = [
            ("mode", self.modes.iter().map(|mode| Value::from(mode_name(*mode))).collect()),
            ("namespace", patterns(&self.namespaces)),
            ("pod", patterns(&self.pods)),
            ("network", patterns(&self.networks)),
            ("interface", patterns(&self.interfaces)),
        ];
        let lists = lists.into_iter().filter(|(_, values)| !values.is_empty());
        let one = |values: Vec<Value>| match <[Value; 1]>::try_from(values) {
            Ok([value]) => value,
            Err(values) => json!(values),
        };
        Value::Object(lists.map(|(key, values)| (key.to_owned(), one(values))).collect())
    }
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Auto => "not decided yet",
        Mode::Underlay => "underlay",
        Mode::Overlay => "overlay",
        Mode::Disable => "disable",
    }
}

impl Pattern {
    /// True when the whole text fits.
    pub fn fits(&self, text: &str) -> bool {
        fits(self.0.as_bytes(), text.as_bytes())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Compares without recursion: after a mismatch the last `*` takes one character more.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut rest, mut left) = (pattern, text);
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        match (rest.split_first(), left.split_first()) {
            (Some((b'*', after)), _) => {
                retry = Some((after, left));
                rest = after;
            }
            (Some((wanted, after)), Some((found, behind))) if *wanted == b'?' || wanted == found => {
                (rest, left) = (after, behind);
            }
            (None, None) => return true,
            _ => match retry.map(|(after, from)| (after, from.split_first())) {
                Some((after, Some((_, behind)))) => {
                    retry = Some((after, behind));
                    (rest, left) = (after, behind);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_whole_texts() {
        for (pattern, good, bad) in [
            ("gpu-*", ["gpu-", "gpu-a", "gpu-*"], ["gpu", "a-gpu-", ""]),
            ("net?", ["net1", "netx", "net*"], ["net", "net10", "xnet1"]),
            ("*", ["", "a", "abc"], ["-"; 3]),
            ("a*b*c", ["abc", "aXbYc", "abbcc"], ["ab", "acb", "abcd"]),
            ("eth0", ["eth0"; 3], ["eth", "eth00", "Eth0"]),
        ] {
            let pattern = Pattern(pattern.to_owned());
            assert!(good.iter().all(|text| pattern.fits(text)), "{pattern}");
            assert!(pattern.0 == "*" || !bad.iter().any(|text| pattern.fits(text)), "{pattern}");
        }
        assert!(!Pattern("*a*a*a*a*a*a*a*a*b".to_owned()).fits(&"a".repeat(4000)), "it ends soon");
    }

    #[test]
    fn all_conditions_must_hold_and_the_first_that_does_not_is_named() {
        let mut facts = Facts::default();
        facts.request.pod_namespace = "gpu-one".to_owned();
        let pattern = |text: &str| vec![Pattern(text.to_owned())];
        let mut when = When { namespaces: pattern("gpu-*"), interfaces: pattern("eth*"), ..When::default() };
        assert_eq!(when.objection(&facts), None);
        when.interfaces = pattern("net*");
        assert_eq!(when.objection(&facts).unwrap(), "interface \"eth0\" does not fit \"net*\"");
        when.modes = vec![Mode::Overlay];
        assert_eq!(when.objection(&facts).unwrap(), "the mode is not decided yet, not overlay");
        assert_eq!(when.to_json(), json!({"mode": "overlay", "namespace": "gpu-*", "interface": "net*"}));
    }
}
