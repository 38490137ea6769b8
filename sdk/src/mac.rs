//! Hardware addresses and the two-octet prefix from which policy derives them.

use std::{fmt, net::IpAddr, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a text is not a MAC address or prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseMacError {
    /// Not the right number of two-digit hexadecimal octets with one kind of separator.
    #[error("{0:?} is not {1} hexadecimal octets joined by ':' or '-'")]
    Form(String, usize),
    /// The group bit is set, so it cannot be an interface's own address (IEEE 802).
    #[error("{0:?} is a multicast address: the lowest bit of the first octet must be 0")]
    Multicast(String),
}

fn octets<const N: usize>(text: &str) -> Result<[u8; N], ParseMacError> {
    let form = || ParseMacError::Form(text.to_owned(), N);
    let separator = if text.contains('-') { '-' } else { ':' };
    let mut out = [0; N];
    let mut parts = text.split(separator);
    for slot in &mut out {
        let part = parts.next().ok_or_else(form)?;
        if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(form());
        }
        *slot = u8::from_str_radix(part, 16).map_err(|_| form())?;
    }
    if parts.next().is_some() { Err(form()) } else { Ok(out) }
}

fn write_octets(f: &mut fmt::Formatter<'_>, octets: &[u8]) -> fmt::Result {
    for (at, octet) in octets.iter().enumerate() {
        write!(f, "{}{octet:02x}", if at == 0 { "" } else { ":" })?;
    }
    Ok(())
}

/// A 48-bit hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// True when the group bit is clear and the address is not all zero.
    pub fn is_unicast(self) -> bool {
        let [first, ..] = self.0;
        first & 1 == 0 && self.0 != [0; 6]
    }

    /// A locally administered unicast address that depends on `seed` and nothing else.
    ///
    /// The octets are the FNV-1a hash of the seed, so a repeated ADD derives the same address.
    pub fn derived(seed: &str) -> Self {
        let hash =
            seed.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3));
        let [_, _, a, b, c, d, e, f] = (hash ^ (hash >> 48)).to_be_bytes();
        Self([(a & 0xfc) | 0x02, b, c, d, e, f])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_octets(f, &self.0)
    }
}

impl FromStr for Mac {
    type Err = ParseMacError;
    fn from_str(text: &str) -> Result<Self, ParseMacError> {
        octets(text).map(Self)
    }
}

impl TryFrom<String> for Mac {
    type Error = ParseMacError;
    fn try_from(text: String) -> Result<Self, ParseMacError> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

/// The first two octets of a Pod's MAC address; the other four come from an address of the Pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct MacPrefix([u8; 2]);

impl MacPrefix {
    /// The two octets.
    pub fn octets(self) -> [u8; 2] {
        self.0
    }

    /// Prefix + the last four bytes of `address`, zero bytes included.
    pub fn join(self, address: IpAddr) -> Mac {
        let [c, d, e, f] = match address {
            IpAddr::V4(v4) => v4.octets(),
            IpAddr::V6(v6) => {
                let [.., c, d, e, f] = v6.octets();
                [c, d, e, f]
            }
        };
        let [a, b] = self.0;
        Mac([a, b, c, d, e, f])
    }
}

impl fmt::Display for MacPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_octets(f, &self.0)
    }
}

impl FromStr for MacPrefix {
    type Err = ParseMacError;
    fn from_str(text: &str) -> Result<Self, ParseMacError> {
        let octets: [u8; 2] = octets(text)?;
        Self::try_from(octets).map_err(|_| ParseMacError::Multicast(text.to_owned()))
    }
}

impl TryFrom<[u8; 2]> for MacPrefix {
    type Error = ParseMacError;
    fn try_from(octets: [u8; 2]) -> Result<Self, ParseMacError> {
        let [first, _] = octets;
        let prefix = Self(octets);
        if first & 1 == 1 { Err(ParseMacError::Multicast(prefix.to_string())) } else { Ok(prefix) }
    }
}

impl TryFrom<String> for MacPrefix {
    type Error = ParseMacError;
    fn try_from(text: String) -> Result<Self, ParseMacError> {
        text.parse()
    }
}

impl From<MacPrefix> for String {
    fn from(prefix: MacPrefix) -> Self {
        prefix.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_two_unicast_octets() {
        for good in ["0a:1b", "0A-1B", "02:00"] {
            assert!(good.parse::<MacPrefix>().is_ok(), "{good}");
        }
        for bad in ["", "zz:zz", "0,:1b", "0a:1b:2c", "0a", "a:1b", "01:1b", "03:1b", "0a:1b ", "+a:1b"] {
            assert!(bad.parse::<MacPrefix>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn zero_bytes_of_the_address_stay() {
        let prefix: MacPrefix = "0a:1b".parse().unwrap();
        assert_eq!(prefix.join("10.0.0.7".parse().unwrap()).to_string(), "0a:1b:0a:00:00:07");
        assert_eq!(prefix.join("fd00::100:1".parse().unwrap()).to_string(), "0a:1b:01:00:00:01");
    }

    #[test]
    fn derived_addresses_are_local_unicast_and_stable() {
        let mac = Mac::derived("pod:abc");
        assert!(mac.is_unicast());
        assert_eq!(mac.0[0] & 0x03, 0x02);
        assert_eq!(mac, Mac::derived("pod:abc"));
        assert_ne!(mac, Mac::derived("node:abc"));
        assert_eq!(mac, mac.to_string().parse().unwrap());
    }
}
