//! YAML documents with the place of every value in the text.

use std::{collections::BTreeMap, fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use serde_saphyr::{Location, Spanned};

/// A document: its value, and where each part of it stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Document {
    /// What it says.
    pub(super) value: Value,
    /// Bytes of the text by path, such as `spec.macvlan.master[0]`: of the key where there is one, else of the value.
    places: BTreeMap<String, Range<usize>>,
}

impl Document {
    /// All documents of a text; empty ones are passed over.
    ///
    /// # Errors
    /// The text is not YAML: where, and why.
    pub(super) fn read_all(text: &str) -> Result<Vec<Self>, (Range<usize>, String)> {
        let nodes: Vec<Spanned<Node>> = serde_saphyr::from_multiple(text).map_err(|error| {
            let place = error.location().map_or(0..0, |location| beginning(text, location));
            // The first line says what it is; the rest shows the text, which the reader of the place shows too.
            let told = error.without_snippet().to_string();
            (place, format!("this is not YAML: {}", told.lines().next().unwrap_or_default()))
        })?;
        let read = |node: Spanned<Node>| {
            let mut document = Self::default();
            document.value = document.take(node.value, String::new(), bytes(node.referenced));
            document
        };
        Ok(nodes.into_iter().map(read).collect())
    }

    fn take(&mut self, node: Node, path: String, place: Range<usize>) -> Value {
        let value = match node {
            Node::Scalar(value) => value,
            Node::List(entries) => {
                let entries = entries.into_iter().enumerate();
                let take = |(at, entry): (usize, Spanned<Node>)| {
                    self.take(entry.value, format!("{path}[{at}]"), bytes(entry.referenced))
                };
                Value::Array(entries.map(take).collect())
            }
            Node::Map(fields) => {
                let mut taken = Map::new();
                for (key, field) in fields {
                    let inner = if path.is_empty() { key.value.clone() } else { format!("{path}.{}", key.value) };
                    let value = self.take(field.value, inner, bytes(key.referenced));
                    taken.insert(key.value, value);
                }
                Value::Object(taken)
            }
        };
        self.places.insert(path, place);
        value
    }

    /// Where `path` stands, or the nearest thing around it; keys may differ in case.
    pub(super) fn place(&self, path: &str) -> Range<usize> {
        let mut path = path;
        loop {
            let known = self.places.iter().find(|(known, _)| known.eq_ignore_ascii_case(path));
            match (known, path.rfind(['.', '['])) {
                (Some((_, place)), _) => return place.clone(),
                (None, Some(end)) => path = path.get(..end).unwrap_or_default(),
                (None, None) if path.is_empty() => return 0..0,
                (None, None) => path = "",
            }
        }
    }

    /// The part below `path`, with its places.
    pub(super) fn part(&self, path: &str, value: &Value) -> Self {
        let below = |(known, place): (&String, &Range<usize>)| {
            let rest = known.strip_prefix(path)?;
            let rest = if rest.is_empty() { Some("") } else { rest.strip_prefix('.') }?;
            Some((rest.to_owned(), place.clone()))
        };
        Self { value: value.clone(), places: self.places.iter().filter_map(below).collect() }
    }
}

fn bytes(location: Location) -> Range<usize> {
    let span = location.span();
    let number = |value: Option<u64>| usize::try_from(value.unwrap_or_default()).unwrap_or_default();
    let start = number(span.byte_offset());
    start..start.saturating_add(number(span.byte_len()))
}

/// A place that is told by line and column alone.
fn beginning(text: &str, location: Location) -> Range<usize> {
    let number = |value: u64| usize::try_from(value).unwrap_or_default().saturating_sub(1);
    let lines = text.split_inclusive('\n').take(number(location.line()));
    let start: usize = lines.map(str::len).sum();
    let line = text.get(start..).unwrap_or_default();
    let column = line.char_indices().nth(number(location.column())).map_or(line.len(), |(at, _)| at);
    let start = start.saturating_add(column);
    start..start
}

/// Whatever YAML can say, as far as JSON can say it.
#[derive(Debug)]
enum Node {
    Scalar(Value),
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON has")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_element()? {
            list.push(entry);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(field) = fields.next_entry()? {
            map.push(field);
        }
        Ok(Node::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_value_knows_its_place() {
        let text = "# ä\nkind: A\n---\n# nothing\n---\nspec:\n  list: [ x, {deep: 1} ]\n  \"quoted\": \"ü\"\n  none:\n";
        let documents = Document::read_all(text).unwrap();
        assert_eq!(documents.len(), 2, "{documents:?}");
        let spec = &documents[1];
        assert_eq!(spec.value, json!({"spec": {"list": ["x", {"deep": 1}], "quoted": "ü", "none": null}}));
        for (path, expected) in [
            ("spec", "spec"),
            ("spec.list", "list"),
            ("spec.list[0]", "x"),
            ("spec.list[1].deep", "deep"),
            ("spec.QUOTED", "\"quoted\""),
            ("spec.none.where", "none"),
            ("spec.list[7]", "list"),
        ] {
            assert_eq!(&text[spec.place(path)], expected, "{path}");
        }
        assert_eq!(spec.place("elsewhere"), spec.place(""));
        let (place, told) = Document::read_all("a: 1\nb: [\n").unwrap_err();
        assert!(place == (8..8) && told.starts_with("this is not YAML: "), "{place:?} {told}");
    }
}
