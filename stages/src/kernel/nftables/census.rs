//! What other people's rules do: only what is known to get into the way of Pods.

use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
    nftables::{
        Bitwise, DataAttribute, ExpressionAttribute, Expressions, Immediate, ListAttribute, NfTablesMessage,
        RuleAttribute, RuleMessage, Verdict, VerdictAttribute,
    },
};
use nix::errno::Errno;

use super::{Message, NetlinkError, NftError, Nftables};

/// The state `invalid` as a bit (`NF_CT_STATE_INVALID_BIT`).
const STATE_INVALID: u32 = 1;
/// The verdict that drops (netfilter.h).
const NF_DROP: u32 = 0;
/// Where kube-proxy's iptables mode drops what is invalid; its rule is a match that netlink does not spell out.
const KUBE_PROXY_CHAIN: &str = "KUBE-FORWARD";

impl Nftables {
    /// The chains, as `table/chain`, that drop packets which connection tracking calls invalid.
    ///
    /// # Errors
    /// The kernel does not show the rules.
    pub fn chains_that_drop_invalid(&mut self) -> Result<Vec<String>, NftError> {
        let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, 0);
        let message = NfTablesMessage::GetRule(RuleMessage { attributes: Vec::new() });
        let shown = match self.netlink.dump("nftables rules", Message::Said(NetfilterMessage::new(header, message))) {
            Err(NetlinkError::Refused { source, .. }) if source.errno == Errno::ENOENT => Vec::new(),
            shown => shown?,
        };
        let mut chains: Vec<String> = shown.iter().filter_map(Message::read).filter_map(dropping).collect();
        chains.sort_unstable();
        chains.dedup();
        Ok(chains)
    }
}

/// The chain of a rule, when that drops what is invalid.
fn dropping(message: NetfilterMessage) -> Option<String> {
    let NetfilterMessageInner::NfTables(NfTablesMessage::NewRule(rule)) = message.inner else { return None };
    let (mut table, mut chain, mut expressions) = (None, None, Vec::new());
    for attribute in rule.attributes {
        match attribute {
            RuleAttribute::Table(name) => table = Some(name),
            RuleAttribute::Chain(name) => chain = Some(name),
            RuleAttribute::Expressions(list) => expressions = list,
            _ => {}
        }
    }
    let (table, chain) = (table?, chain?);
    let is_drop = expressions.iter().any(is_drop);
    let asks_state = expressions.iter().any(is_of_tracking) && expressions.iter().any(selects_invalid);
    (is_drop && (asks_state || chain == KUBE_PROXY_CHAIN)).then(|| format!("{table}/{chain}"))
}

fn data_of(element: &ListAttribute<ExpressionAttribute>) -> Option<&Expressions> {
    let ListAttribute::Element(attributes) = element else { return None };
    attributes.iter().find_map(|attribute| match attribute {
        ExpressionAttribute::Data(data) => Some(data),
        _ => None,
    })
}

fn is_of_tracking(element: &ListAttribute<ExpressionAttribute>) -> bool {
    matches!(data_of(element), Some(Expressions::Other { expression_type, .. }) if expression_type == "ct")
}

fn selects_invalid(element: &ListAttribute<ExpressionAttribute>) -> bool {
    let Some(Expressions::Bitwise(attributes)) = data_of(element) else { return false };
    let mask = Bitwise::Mask(DataAttribute::Value(STATE_INVALID.to_ne_bytes().to_vec()));
    attributes.contains(&mask)
}

fn is_drop(element: &ListAttribute<ExpressionAttribute>) -> bool {
    let Some(Expressions::Immediate(attributes)) = data_of(element) else { return false };
    attributes.iter().any(|attribute| match attribute {
        Immediate::Data(DataAttribute::Verdict(verdict)) => {
            verdict.contains(&VerdictAttribute::Code(Verdict::Other(NF_DROP)))
        }
        _ => false,
    })
}
