//! A record of which only the first line was read: all that an ADD of another interface needs to know.
//!
//! The line names what the attachment claims by numbers, so that who asks for one object need not read of all the
//! others. Nothing is given back on the word of an outline alone: whoever acts on a record reads all of it.

use std::hash::{Hash, Hasher};

use coordinator_sdk::{ContainerId, InterfaceName, Key, KnownRoute, Model, PROTOCOL, RouteFlags};
use coordinator_stages::kernel::directory::Reading;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh64::Xxh64;

use super::{NamespaceIdentity, Record, State, StoreError, head::Head, model_in};

/// The digits of a [`Fingerprint`].
const DIGITS: usize = 16;

/// A number for the key of an object, the same in every process of every build: XXH64, in hexadecimal digits.
///
/// Two keys of one Pod have one number by chance in one of 10¹⁵ Pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint([u8; DIGITS]);

impl Fingerprint {
    /// The number of this key.
    pub fn of(key: &Key) -> Self {
        let mut hasher = Xxh64::new(0);
        key.hash(&mut hasher);
        let mut rest = hasher.finish();
        let mut digits = [0; DIGITS];
        for digit in digits.iter_mut().rev() {
            *digit = match u8::try_from(rest % 16).unwrap_or(0) {
                small @ 0..10 => b'0' + small,
                large => b'a' - 10 + large,
            };
            rest /= 16;
        }
        Self(digits)
    }
}

/// Numbers of keys in a row, sorted: text in which one is found without understanding the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Claims(String);

impl Claims {
    /// The numbers of all that a model claims.
    pub(super) fn of(model: &Model) -> Self {
        let mut numbers: Vec<Fingerprint> = model.own().map(|key| Fingerprint::of(&key)).collect();
        numbers.sort_unstable();
        Self(numbers.iter().filter_map(|Fingerprint(digits)| str::from_utf8(digits).ok()).collect())
    }

    fn contain(&self, Fingerprint(digits): Fingerprint) -> bool {
        let (numbers, _) = self.0.as_bytes().as_chunks::<DIGITS>();
        let wanted = u128::from_be_bytes(digits);
        numbers.binary_search_by_key(&wanted, |digits| u128::from_be_bytes(*digits)).is_ok()
    }
}

/// A route of somebody else that an ADD took to another table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// As it was.
    pub from: KnownRoute,
    /// Where it is now, ours.
    pub table: u32,
}

impl Moved {
    /// The route where it is now.
    pub fn there(&self) -> KnownRoute {
        let mut there = self.from.clone();
        (there.route.table, there.protocol) = (self.table, PROTOCOL);
        there.flags = RouteFlags { ours: true, planned: false, ..there.flags };
        there
    }
}

/// The beginning of a record.
#[derive(Debug)]
pub struct Outline {
    state: State,
    head: Head,
    file: Reading,
}

impl Outline {
    /// The outline in a file, which must be about this attachment.
    pub(super) fn read(
        file: Reading,
        state: State,
        (container, interface): (&ContainerId, &str),
    ) -> Result<Self, StoreError> {
        let broken =
            |reason| StoreError::Broken { container: container.clone(), interface: interface.to_owned(), reason };
        let head = Head::of_line(&file.first_line()?).map_err(broken)?;
        if head.container != *container || head.interface.as_str() != interface {
            return Err(broken(format!("it is about {}/{}", head.container, head.interface)));
        }
        Ok(Self { state, head, file })
    }

    /// How far the call came.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whose.
    pub fn container(&self) -> &ContainerId {
        &self.head.container
    }

    /// Which interface.
    pub fn interface(&self) -> &InterfaceName {
        &self.head.interface
    }

    /// The network's name.
    pub fn network(&self) -> &str {
        &self.head.network
    }

    /// The Pod's namespace.
    pub fn namespace(&self) -> Option<&NamespaceIdentity> {
        self.head.namespace.as_ref()
    }

    /// The table of the interface's own, when it has one.
    pub fn table(&self) -> Option<u32> {
        self.head.table
    }

    /// The routes of others that the attachment took to other tables.
    pub fn moved(&self) -> &[Moved] {
        &self.head.moved
    }

    /// True when the attachment claims the object whose key has this number.
    pub fn claims(&self, fingerprint: Fingerprint) -> bool {
        self.head.claims.contain(fingerprint)
    }

    /// The objects that were touched, as they were before.
    ///
    /// # Errors
    /// The record cannot be read or trusted.
    pub fn before(&self) -> Result<Model, StoreError> {
        if let Some([before, _]) = self.head.models.as_deref() {
            return Ok(before.clone());
        }
        model_in(self.file.whole()?.split('\n').nth(1)).map_err(|reason| self.head.broken(reason))
    }

    /// The record.
    ///
    /// # Errors
    /// It cannot be read or trusted.
    pub fn record(&self) -> Result<Record, StoreError> {
        Record::of_text(&self.file.whole()?, self.state).map_err(|reason| self.head.broken(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coordinator_sdk::{Device, Family, Rule, Side};
    use coordinator_stages::kernel::directory::Directory;

    /// Records of earlier builds name claims by these numbers: who changes one makes another version of records.
    #[test]
    fn a_key_has_its_number_for_ever() {
        let mut rule = Rule::all(Side::Node, Family::Ipv4, 1000, 500);
        rule.sources = Some("10.6.2.20/32".parse().unwrap());
        let keys = [
            Key::Link(Device::pod("veth0")),
            Key::Address(Device::pod("net1"), "10.6.2.20/16".parse().unwrap()),
            Key::Route(Side::Pod, 101, "fd00:10:6::/64".parse().unwrap(), 1024),
            Key::Rule(rule),
            Key::Neighbour(Device::node("veth0123"), "10.6.2.20".parse().unwrap()),
            Key::Sysctl(Side::Pod, "net/ipv4/conf/all/rp_filter".to_owned()),
            Key::Mark(Device::pod("veth0")),
        ];
        let numbers = keys.map(|key| String::from_utf8(Fingerprint::of(&key).0.to_vec()).unwrap());
        let known = [
            "6706306a61ba0d14",
            "6260fd4723c6d7fa",
            "8fe6f4cff9e38987",
            "0d0804c27de00338",
            "fe69470a83a8eac1",
            "ceff4762a6e709c5",
            "e654f88d1db07c98",
        ];
        assert_eq!(numbers, known);
    }

    /// What the first version of records looked like: one line with both models, and two for people.
    const FIRST: &str = concat!(
        r#"{"version":1,"container":"c1","interface":"net1","network":"n","namespace":null,"table":101,"#,
        r#""addresses":["10.6.2.20"],"route_sources":[],"before":{"routes":[{"id":3,"route":{"side":"pod","table":254,"#,
        r#""to":"0.0.0.0/0","next_hops":[{"gateway":"10.6.0.1","device":"net1"}]},"protocol":3}]},"after":{"routes":["#,
        r#"{"id":3,"route":{"side":"pod","table":101,"to":"0.0.0.0/0","next_hops":[{"gateway":"10.6.0.1","device":"net1"}]},"#,
        r#""protocol":66,"flags":{"ours":true}}]}}"#,
        "\n{\"pod_name\":\"p\"}\n{\"edits\":[]}\n"
    );

    fn outline(text: &str) -> Result<Outline, StoreError> {
        let parent = tempfile::tempdir().unwrap();
        let directory = Directory::open_private(&parent.path().join("state")).unwrap();
        directory.write("file", text).unwrap();
        let reading = directory.reading("file", 1 << 20).unwrap().unwrap();
        Outline::read(reading, State::Committed, (&"c1".parse().unwrap(), "net1"))
    }

    #[test]
    fn a_record_of_the_first_version_says_what_one_of_today_says() {
        let first = outline(FIRST).unwrap();
        let record = first.record().unwrap();
        let today = outline(&record.to_text().unwrap()).unwrap();
        assert_eq!(today.record().unwrap(), record);
        let moved = Key::Route(Side::Pod, 101, "0.0.0.0/0".parse().unwrap(), 0);
        let other = Key::Route(Side::Pod, 254, "0.0.0.0/0".parse().unwrap(), 0);
        for outline in [first, today] {
            assert_eq!(outline.moved()[0].there(), record.after.routes[0]);
            assert!(outline.claims(Fingerprint::of(&moved)) && !outline.claims(Fingerprint::of(&other)));
            assert_eq!(outline.moved(), [Moved { from: record.before.routes[0].clone(), table: 101 }]);
            assert_eq!((outline.before().unwrap(), outline.table()), (record.before.clone(), Some(101)));
            assert_eq!(outline.record().unwrap().about.pod_name, "p");
        }
        assert!(outline(&FIRST.replace("\"after\"", "\"later\"")).is_err());
        let far = FIRST
            .replace("\"before\":{", r#""before":{"sysctls":[{"side":"pod","key":"net/core/somaxconn","value":"1"}],"#);
        assert!(matches!(outline(&far), Err(StoreError::Broken { .. })));
    }
}
