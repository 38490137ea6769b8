//! The expressions of our rules: each function is one phrase of `nft`'s language.
//!
//! A packet's values pass through one register; marks and states are in the host's byte order.

use netlink_packet_core::{DefaultNla, emit_u32_be};
use netlink_packet_netfilter::nftables::{
    Bitwise, Cmp, DataAttribute, ExpressionAttribute, Expressions, ListAttribute, Meta, MetaKey, Operator, Register,
};

/// Expressions of one rule.
pub(super) type List = Vec<ListAttribute<ExpressionAttribute>>;

const REGISTER: Register = Register::Reg1;
/// Bytes of a device name in a register (`IFNAMSIZ`).
const NAME_BYTES: usize = 16;

// The kernel's nf_tables.h; the message library does not know `ct` yet.
const NFTA_CT_DREG: u16 = 1;
const NFTA_CT_KEY: u16 = 2;
const NFTA_CT_SREG: u16 = 4;
const NFT_CT_STATE: u32 = 0;
const NFT_CT_MARK: u32 = 3;
/// The state `new` as a bit: `1 << (IP_CT_NEW + 1)`.
const STATE_NEW: u32 = 1 << 3;

/// `iifname DEVICE`
pub(super) fn came_in_by(device: &str) -> List {
    let mut name = device.as_bytes().to_vec();
    name.resize(NAME_BYTES, 0);
    vec![load(MetaKey::Iifname), compare(Operator::Equal, name)]
}

/// `ct state new`
pub(super) fn is_new() -> List {
    vec![load_ct(NFT_CT_STATE), bitwise(STATE_NEW, 0), compare(Operator::NotEqual, bytes(0))]
}

/// `ct mark set ct mark or BIT`
pub(super) fn set_connection_bit(bit: u8) -> List {
    vec![load_ct(NFT_CT_MARK), or(bit), ct(&[(NFTA_CT_KEY, NFT_CT_MARK), (NFTA_CT_SREG, REGISTER.into())])]
}

/// `ct mark and BIT == BIT`
pub(super) fn has_connection_bit(bit: u8) -> List {
    vec![load_ct(NFT_CT_MARK), bitwise(value_of(bit), 0), compare(Operator::Equal, bytes(value_of(bit)))]
}

/// `meta mark set meta mark or BIT`
pub(super) fn set_packet_bit(bit: u8) -> List {
    let store = Expressions::Meta(vec![Meta::Key(MetaKey::Mark), Meta::SourceRegister(REGISTER)]);
    vec![load(MetaKey::Mark), or(bit), store.into()]
}

fn value_of(bit: u8) -> u32 {
    1_u32.checked_shl(bit.into()).unwrap_or(0)
}

fn bytes(value: u32) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

fn load(key: MetaKey) -> ListAttribute<ExpressionAttribute> {
    Expressions::Meta(vec![Meta::Key(key), Meta::DestinationRegister(REGISTER)]).into()
}

fn load_ct(key: u32) -> ListAttribute<ExpressionAttribute> {
    ct(&[(NFTA_CT_KEY, key), (NFTA_CT_DREG, REGISTER.into())])
}

fn ct(attributes: &[(u16, u32)]) -> ListAttribute<ExpressionAttribute> {
    let attributes = attributes.iter().map(|(kind, value)| {
        let mut raw = vec![0; 4];
        // Four bytes are four bytes: it cannot fail.
        let _ = emit_u32_be(&mut raw, *value);
        DefaultNla::new(*kind, raw)
    });
    Expressions::Other { expression_type: "ct".to_owned(), attributes: attributes.collect() }.into()
}

fn compare(operator: Operator, value: Vec<u8>) -> ListAttribute<ExpressionAttribute> {
    let attributes = vec![Cmp::SourceRegister(REGISTER), Cmp::Op(operator), Cmp::Data(DataAttribute::Value(value))];
    Expressions::Cmp(attributes).into()
}

fn or(bit: u8) -> ListAttribute<ExpressionAttribute> {
    bitwise(!value_of(bit), value_of(bit))
}

/// The register becomes `(register & mask) ^ xor`.
fn bitwise(mask: u32, xor: u32) -> ListAttribute<ExpressionAttribute> {
    Expressions::Bitwise(vec![
        Bitwise::SourceRegister(REGISTER),
        Bitwise::DestinationRegister(REGISTER),
        Bitwise::Length(4),
        Bitwise::Mask(DataAttribute::Value(bytes(mask))),
        Bitwise::Xor(DataAttribute::Value(bytes(xor))),
    ])
    .into()
}
