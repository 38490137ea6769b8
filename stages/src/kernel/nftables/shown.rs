//! What the kernel shows, kept as it came.
//!
//! The message library writes every expression of a rule out as text while it reads it, to have it at hand for an
//! error: most of the time of an ADD in a Pod with many interfaces. Rules are therefore compared as attributes, a
//! number and its bytes, and only what is rare is read by the library.

use netlink_packet_core::{
    DecodeError, Emitable as _, NetlinkDeserializable, NetlinkHeader, NetlinkSerializable, NlaBuffer, NlasIterator,
};
use netlink_packet_netfilter::NetfilterMessage;
use netlink_sys::protocols::NETLINK_NETFILTER;

use super::{super::netlink::Messages, expression};

/// Length of `struct nfgenmsg`, which attributes follow.
const HEADER: usize = 4;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;

/// A message to or from nf_tables.
#[derive(Debug, Clone)]
pub(super) enum Message {
    /// To the kernel.
    Said(NetfilterMessage),
    /// From the kernel.
    Shown {
        /// Its header.
        header: NetlinkHeader,
        /// What follows it.
        payload: Vec<u8>,
    },
}

impl Message {
    /// The message with all its meaning; absent when it has none.
    pub(super) fn read(&self) -> Option<NetfilterMessage> {
        match self {
            Self::Said(message) => Some(message.clone()),
            Self::Shown { header, payload } => NetfilterMessage::deserialize(header, payload).ok(),
        }
    }

    /// The attributes of a message of this kind (`NFT_MSG_…`).
    pub(super) fn attributes(&self, kind: u8) -> impl Iterator<Item = (u16, &[u8])> {
        let payload = match self {
            Self::Shown { header, payload } if header.message_type.to_be_bytes()[1] == kind => payload.get(HEADER..),
            _ => None,
        };
        attributes(payload.unwrap_or_default())
    }
}

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        match self {
            Self::Said(message) => message.message_type(),
            Self::Shown { header, .. } => header.message_type,
        }
    }

    fn buffer_len(&self) -> usize {
        match self {
            Self::Said(message) => NetlinkSerializable::buffer_len(message),
            Self::Shown { payload, .. } => payload.len(),
        }
    }

    fn serialize(&self, buffer: &mut [u8]) {
        match self {
            Self::Said(message) => message.serialize(buffer),
            Self::Shown { payload, .. } => buffer.iter_mut().zip(payload).for_each(|(to, from)| *to = *from),
        }
    }
}

impl NetlinkDeserializable for Message {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self::Shown { header: *header, payload: payload.to_vec() })
    }
}

impl Messages for Message {
    const PROTOCOL: isize = NETLINK_NETFILTER;
}

/// Number and value of each attribute, up to the first that is malformed.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(Result::ok).map(|attribute: NlaBuffer<&[u8]>| {
        let kind = attribute.kind();
        (kind, attribute.into_inner().get(HEADER..usize::from(attribute.length())).unwrap_or_default())
    })
}

/// A text of an attribute, without its NUL.
pub(super) fn text(value: &[u8]) -> Option<String> {
    Some(std::str::from_utf8(value).ok()?.trim_end_matches('\0').to_owned())
}

/// Expressions as they are sent.
pub(super) fn encoded(list: &expression::List) -> Vec<u8> {
    let list = list.as_slice();
    let mut bytes = vec![0; list.buffer_len()];
    list.emit(&mut bytes);
    bytes
}

/// True when the expressions that the kernel shows say what is wanted, in the same order. The kernel gives an
/// expression's attributes in its own order, and defaults beside them.
pub(super) fn say_the_same(shown: &[u8], wanted: &[u8]) -> bool {
    let mut wanted = expressions(wanted);
    let is_same = expressions(shown).all(|shown| wanted.next().is_some_and(|wanted| says(shown, wanted)));
    is_same && wanted.next().is_none()
}

/// Name and attributes of each expression in a list.
fn expressions(list: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    attributes(list).filter(|(kind, _)| *kind == NFTA_LIST_ELEM).map(|(_, element)| {
        let part = |wanted| attributes(element).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
        let name = part(NFTA_EXPR_NAME).unwrap_or_default();
        (name.strip_suffix(&[0]).unwrap_or(name), part(NFTA_EXPR_DATA).unwrap_or_default())
    })
}

fn says((name, shown): (&[u8], &[u8]), (wanted_name, wanted): (&[u8], &[u8])) -> bool {
    name == wanted_name && attributes(wanted).all(|wanted| attributes(shown).any(|shown| shown == wanted))
}
