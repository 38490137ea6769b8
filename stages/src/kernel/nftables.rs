//! Reply marks in nftables, by netlink: one table of ours, three rules for each device.
//!
//! A new connection from the device gets a bit in its conntrack mark; every packet of such a
//! connection gets the bit as packet mark, when it comes in (so that the reverse path check passes) and
//! when it leaves (so that it is routed by it). Only that bit is touched: marks of others survive.
//! Every change is one transaction. Our rules are known by their comment, which `nft list ruleset`
//! shows, and a device counts as marked when all of its rules are there.
//!
//! Nothing here knows what the mark leads to: that is a rule and a route.

use std::collections::BTreeMap;

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
    nftables::{
        ChainAttribute, ChainMessage, Hook, InetHookNumber, NfTablesMessage, RuleAttribute, RuleMessage,
        TableAttribute, TableMessage,
    },
    none::ControlMessage,
};
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::errno::Errno;

use super::netlink::{KernelError, Messages, Netlink, NetlinkError, Request};

mod expression;

/// The table; nobody else's objects live in it.
pub const TABLE: &str = "coordinator";
const PREROUTING: &str = "prerouting";
const OUTPUT: &str = "output";
/// `mangle`: after connection tracking, before routing and address translation.
const PRIORITY: i32 = -150;
/// How many rules mark the replies of one device.
const RULES: usize = 3;
/// `res_id` of a transaction's frame: the subsystem it is for.
const NFNL_SUBSYS_NFTABLES: u16 = 10;
/// Type of a comment in a rule's user data (libnftnl `NFTNL_UDATA_RULE_COMMENT`).
const UDATA_COMMENT: u8 = 0;

/// Why nftables could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// Netlink failed as a whole.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The kernel refused; nothing was changed.
    #[error("nftables table {TABLE}: {0}")]
    Kernel(#[from] KernelError),
}

impl Messages for NetfilterMessage {
    const PROTOCOL: isize = NETLINK_NETFILTER;
}

/// nftables of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Nftables {
    netlink: Netlink<NetfilterMessage>,
}

/// A rule of ours as the kernel has it.
struct Present {
    chain: String,
    handle: u64,
    device: String,
    bit: u8,
}

impl Nftables {
    /// Opens a socket in the calling thread's namespace.
    ///
    /// # Errors
    /// The kernel gives no socket.
    pub fn open() -> Result<Self, NftError> {
        Ok(Self { netlink: Netlink::open()? })
    }

    /// The devices whose replies are marked, each with its bit (0 to 31), sorted. A device that
    /// lacks one of its rules is not among them.
    ///
    /// # Errors
    /// The kernel does not show the table.
    pub fn observe(&mut self) -> Result<Vec<(String, u8)>, NftError> {
        let mut found: BTreeMap<(String, u8), usize> = BTreeMap::new();
        for rule in self.present()? {
            *found.entry((rule.device, rule.bit)).or_default() += 1;
        }
        Ok(found.into_iter().filter(|(_, rules)| *rules == RULES).map(|(mark, _)| mark).collect())
    }

    /// Marks the replies to what comes in by `device` with bit `bit`, 0 to 31. Rules of that device that
    /// are there already are replaced.
    ///
    /// # Errors
    /// The kernel refuses; nothing is changed then.
    pub fn mark_replies(&mut self, device: &str, bit: u8) -> Result<(), NftError> {
        let present = self.present()?;
        let mut requests = vec![creation(table()), chain_request(PREROUTING), chain_request(OUTPUT)];
        requests.extend(present.iter().filter(|rule| rule.device == device).map(removal));
        requests.extend(marking_rules(device, bit).into_iter().map(|(chain, list)| {
            let attributes = vec![
                RuleAttribute::Table(TABLE.to_owned()),
                RuleAttribute::Chain(chain.to_owned()),
                RuleAttribute::Expressions(list),
                RuleAttribute::UserData(comment(device, bit)),
            ];
            let message = inet(NfTablesMessage::NewRule(RuleMessage { attributes }));
            Request { message, flags: NLM_F_CREATE | NLM_F_APPEND }
        }));
        self.commit(&requests)
    }

    /// Ends the marking of replies to what comes in by `device`; the table goes with its last rule.
    ///
    /// # Errors
    /// The kernel refuses; nothing is changed then.
    pub fn unmark_replies(&mut self, device: &str) -> Result<(), NftError> {
        let present = self.present()?;
        let (ours, others): (Vec<_>, Vec<_>) = present.iter().partition(|rule| rule.device == device);
        let requests = match others.is_empty() {
            true => vec![Request { message: inet(NfTablesMessage::DeleteTable(table_message())), flags: 0 }],
            false => ours.into_iter().map(removal).collect(),
        };
        match self.commit(&requests) {
            Err(NftError::Kernel(error)) if error.errno == Errno::ENOENT => Ok(()),
            result => result,
        }
    }

    /// Our rules; none when there is no table, or nftables was never used.
    fn present(&mut self) -> Result<Vec<Present>, NftError> {
        let attributes = vec![RuleAttribute::Table(TABLE.to_owned())];
        let question = inet(NfTablesMessage::GetRule(RuleMessage { attributes }));
        let shown = match self.netlink.dump("nftables rules", question) {
            Err(NetlinkError::Refused { source, .. }) if source.errno == Errno::ENOENT => Vec::new(),
            shown => shown?,
        };
        Ok(shown.into_iter().filter_map(present_of).collect())
    }

    fn commit(&mut self, requests: &[Request<NetfilterMessage>]) -> Result<(), NftError> {
        if requests.is_empty() {
            return Ok(());
        }
        let frame = |message| {
            NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, NFNL_SUBSYS_NFTABLES), message)
        };
        let (begin, end) = (frame(ControlMessage::BatchBegin), frame(ControlMessage::BatchEnd));
        Ok(self.netlink.transact_atomically(&begin, requests, &end)??)
    }
}

/// What one device needs: the chain of each rule and its expressions.
fn marking_rules(device: &str, bit: u8) -> [(&'static str, expression::List); RULES] {
    let remember = [expression::came_in_by(device), expression::is_new(), expression::set_connection_bit(bit)];
    let mark = || [expression::has_connection_bit(bit), expression::set_packet_bit(bit)].concat();
    [(PREROUTING, remember.concat()), (PREROUTING, mark()), (OUTPUT, mark())]
}

fn inet(message: NfTablesMessage) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Inet, 0, 0), message)
}

fn creation(message: NfTablesMessage) -> Request<NetfilterMessage> {
    Request { message: inet(message), flags: NLM_F_CREATE }
}

fn table_message() -> TableMessage {
    TableMessage { attributes: vec![TableAttribute::Name(TABLE.to_owned())] }
}

fn table() -> NfTablesMessage {
    NfTablesMessage::NewTable(table_message())
}

/// A base chain. The output chain has the type `route`: a new mark has the packet routed again.
fn chain_request(name: &'static str) -> Request<NetfilterMessage> {
    let (hook, kind) = match name {
        OUTPUT => (InetHookNumber::LocalOut, "route"),
        _ => (InetHookNumber::PreRouting, "filter"),
    };
    let attributes = vec![
        ChainAttribute::Table(TABLE.to_owned()),
        ChainAttribute::Name(name.to_owned()),
        ChainAttribute::Hook(vec![Hook::Number(hook.into()), Hook::Priority(PRIORITY.cast_unsigned())]),
        ChainAttribute::Type(kind.to_owned()),
    ];
    creation(NfTablesMessage::NewChain(ChainMessage { attributes }))
}

fn removal(rule: &Present) -> Request<NetfilterMessage> {
    let attributes = vec![
        RuleAttribute::Table(TABLE.to_owned()),
        RuleAttribute::Chain(rule.chain.clone()),
        RuleAttribute::Handle(rule.handle),
    ];
    Request { message: inet(NfTablesMessage::DeleteRule(RuleMessage { attributes })), flags: 0 }
}

/// A comment in the form that `nft` reads: type, length, text with its NUL.
fn comment(device: &str, bit: u8) -> Vec<u8> {
    let text = format!("replies {bit} {device}");
    let length = u8::try_from(text.len().saturating_add(1)).unwrap_or(u8::MAX);
    [&[UDATA_COMMENT, length], text.as_bytes(), &[0]].concat()
}

fn present_of(message: NetfilterMessage) -> Option<Present> {
    let NetfilterMessageInner::NfTables(NfTablesMessage::NewRule(rule)) = message.inner else { return None };
    let (mut chain, mut number, mut mark) = (None, None, None);
    let mut table = None;
    for attribute in rule.attributes {
        match attribute {
            RuleAttribute::Table(name) => table = Some(name),
            RuleAttribute::Chain(name) => chain = Some(name),
            RuleAttribute::Handle(handle) => number = Some(handle),
            RuleAttribute::UserData(data) => mark = commented(&data),
            _ => {}
        }
    }
    // The kernel of the day may not filter a dump by table.
    table.filter(|name| name == TABLE)?;
    let (device, bit) = mark?;
    Some(Present { chain: chain?, handle: number?, device, bit })
}

/// The inverse of [`comment`].
fn commented(data: &[u8]) -> Option<(String, u8)> {
    let (UDATA_COMMENT, [_, text @ ..]) = data.split_first().map(|(kind, rest)| (*kind, rest))? else { return None };
    let text = std::str::from_utf8(text).ok()?.trim_end_matches('\0');
    let (bit, device) = text.strip_prefix("replies ")?.split_once(' ')?;
    Some((device.to_owned(), bit.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{super::isolated, *};

    #[test]
    fn marks_are_seen_until_they_end() {
        isolated(|| {
            let mut nftables = Nftables::open().unwrap();
            assert_eq!(nftables.observe().unwrap(), []);
            nftables.unmark_replies("veth0").unwrap();
            nftables.mark_replies("veth0", 0).unwrap();
            nftables.mark_replies("eth0", 3).unwrap();
            nftables.mark_replies("eth0", 3).unwrap();
            assert_eq!(nftables.observe().unwrap(), [("eth0".to_owned(), 3), ("veth0".to_owned(), 0)]);
            assert_eq!(nftables.present().unwrap().len(), 2 * RULES);
            nftables.unmark_replies("eth0").unwrap();
            assert_eq!(nftables.observe().unwrap(), [("veth0".to_owned(), 0)]);
            nftables.unmark_replies("veth0").unwrap();
            assert_eq!(nftables.observe().unwrap(), []);
            let gone = inet(NfTablesMessage::GetTable(table_message()));
            assert_eq!(nftables.netlink.get(gone).unwrap().unwrap_err().errno, Errno::ENOENT);
        });
    }

    #[test]
    fn a_device_that_lost_a_rule_is_not_marked_and_can_be_again() {
        isolated(|| {
            let mut nftables = Nftables::open().unwrap();
            nftables.mark_replies("veth0", 0).unwrap();
            let lost = nftables.present().unwrap().pop().unwrap();
            nftables.commit(&[removal(&lost)]).unwrap();
            assert_eq!(nftables.observe().unwrap(), []);
            nftables.mark_replies("veth0", 0).unwrap();
            assert_eq!(nftables.observe().unwrap(), [("veth0".to_owned(), 0)]);
            assert_eq!(nftables.present().unwrap().len(), RULES);
        });
    }

    #[test]
    fn a_refused_transaction_changes_nothing() {
        isolated(|| {
            let mut nftables = Nftables::open().unwrap();
            let missing = Present { chain: OUTPUT.to_owned(), handle: 77, device: String::new(), bit: 0 };
            let requests = [creation(table()), chain_request(OUTPUT), removal(&missing)];
            assert!(matches!(nftables.commit(&requests), Err(NftError::Kernel(error)) if error.errno == Errno::ENOENT));
            let gone = inet(NfTablesMessage::GetTable(table_message()));
            assert_eq!(nftables.netlink.get(gone).unwrap().unwrap_err().errno, Errno::ENOENT);
        });
    }
}
