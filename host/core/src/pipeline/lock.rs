//! The lock file: the digests of guests that a pipeline names without one.
//!
//! `coordinatorctl pipeline lock` writes it, and it is committed beside the pipeline; a digest in the pipeline itself
//! goes before it.

use std::{collections::BTreeMap, fmt::Write as _};

use toml::de::DeTable;

use super::{
    source::{At, Flaw, Place, SourceFile},
    table::Table,
};

use crate::guest::Digest;

const KEYS: [&str; 2] = ["schema", "guest"];
const GUEST_KEYS: [&str; 2] = ["use", "sha256"];

/// Digests by what `use` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock(pub BTreeMap<String, Digest>);

impl Lock {
    pub(super) fn read(file: usize, source: &SourceFile, flaws: &mut Vec<Flaw>) -> Self {
        let (root, errors) = DeTable::parse_recoverable(&source.text);
        let flaw =
            |error: &toml::de::Error| Flaw::error(&Place { file, span: error.span().unwrap_or(0..0) }, error.message());
        flaws.extend(errors.iter().map(flaw));
        let table = Table::new(root.get_ref(), Place { file, span: 0..0 });
        table.refuse_unknown(&KEYS, flaws);
        let mut lock = Self::default();
        for guest in table.tables("guest", flaws) {
            guest.refuse_unknown(&GUEST_KEYS, flaws);
            let (uses, sha256) = (guest.text("use", flaws), guest.text("sha256", flaws));
            match (uses, sha256.map(|At { value, place }| (value.parse(), place))) {
                (Some(uses), Some((Ok(digest), _))) => drop(lock.0.insert(uses.value, digest)),
                (_, Some((Err(error), place))) => flaws.push(Flaw::error(&place, format!("sha256: {error}"))),
                _ => flaws.push(Flaw::error(&guest.place, "a locked guest has a use and a sha256")),
            }
        }
        lock
    }

    /// The file's text.
    pub fn to_text(&self) -> String {
        let mut text = "# Written by `coordinatorctl pipeline lock`.\nschema = 1\n".to_owned();
        for (uses, digest) in &self.0 {
            // Writing to a text cannot fail.
            let _ =
                write!(text, "\n[[guest]]\nuse = {}\nsha256 = \"{digest}\"\n", serde_json::Value::from(uses.as_str()));
        }
        text
    }
}
