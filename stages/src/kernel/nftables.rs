//! Reply marks in nftables, by netlink: one table of ours, three rules for each device.
//!
//! A new connection from the device gets a bit in its conntrack mark; every packet of such a
//! connection gets the bit as packet mark, when it comes in (so that the reverse path check passes) and
//! when it leaves (so that it is routed by it). Only that bit is touched: marks of others survive.
//! Every change is one transaction. Our rules are known by their comment, which `nft list ruleset`
//! shows. A device counts as marked when all of its rules are there and say what they should, and nobody has
//! meddled with the table.
//!
//! Nothing here knows what the mark leads to: that is a rule and a route.

use std::collections::{BTreeMap, BTreeSet};

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
    nftables::{
        ChainAttribute, ChainMessage, Hook, InetHookNumber, NfTablesMessage, RuleAttribute, RuleMessage,
        TableAttribute, TableMessage,
    },
    none::ControlMessage,
};
use nix::errno::Errno;
use shown::Message;

use super::netlink::{KernelError, Netlink, NetlinkError, Request};

mod census;
mod expression;
mod shown;

/// The table; nobody else's objects live in it.
pub const TABLE: &str = "coordinator";
const PREROUTING: &str = "prerouting";
const OUTPUT: &str = "output";
/// `mangle`: after connection tracking, before routing and address translation.
const PRIORITY: i32 = -150;
/// How many rules mark the replies of one device.
const RULES: usize = 3;
/// A chain's policy that lets packets pass (netfilter.h).
const NF_ACCEPT: u32 = 1;
/// `res_id` of a transaction's frame: the subsystem it is for.
const NFNL_SUBSYS_NFTABLES: u16 = 10;
/// A rule that is shown, and its attributes (nf_tables.h).
const NFT_MSG_NEWRULE: u8 = 6;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;
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

/// nftables of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Nftables {
    netlink: Netlink<Message>,
}

/// The rules of each mark: chain, and expressions as they are sent.
type Promises = BTreeMap<(String, u8), [(&'static str, Vec<u8>); RULES]>;

/// A rule in our table as the kernel has it.
struct Present {
    chain: String,
    handle: u64,
    /// Device and bit, when it is commented as one of ours.
    mark: Option<(String, u8)>,
    /// As the kernel shows them.
    expressions: Vec<u8>,
}

impl Present {
    fn is_of(&self, device: &str) -> bool {
        self.mark.as_ref().is_some_and(|(known, _)| known == device)
    }

    fn says(&self, (chain, wanted): &(&str, Vec<u8>)) -> bool {
        self.chain == *chain && shown::say_the_same(&self.expressions, wanted)
    }
}

impl Nftables {
    /// Opens a socket in the calling thread's namespace.
    ///
    /// # Errors
    /// The kernel gives no socket.
    pub fn open() -> Result<Self, NftError> {
        Ok(Self { netlink: Netlink::open()? })
    }

    /// The devices whose replies are marked, each with its bit (0 to 31), sorted. A device that lacks one of
    /// its rules is not among them, and in a table that somebody meddled with there is none.
    ///
    /// # Errors
    /// The kernel does not show the table.
    pub fn observe(&mut self) -> Result<Vec<(String, u8)>, NftError> {
        let rules = self.present()?;
        let promised = promises(&rules);
        if rules.is_empty() || !self.is_whole(&rules, &promised)? {
            return Ok(Vec::new());
        }
        let is_kept = |(device, wanted): (&String, &[_; RULES])| {
            wanted.iter().all(|wanted| rules.iter().any(|rule| rule.is_of(device) && rule.says(wanted)))
        };
        let kept = promised.iter().filter(|((device, _), wanted)| is_kept((device, wanted)));
        Ok(kept.map(|(mark, _)| mark.clone()).collect())
    }

    /// Marks the replies to what comes in by `device` with bit `bit`, 0 to 31. Rules of that device that
    /// are there already are replaced; a table that somebody meddled with is made anew.
    ///
    /// # Errors
    /// The kernel refuses; nothing is changed then.
    pub fn mark_replies(&mut self, device: &str, bit: u8) -> Result<(), NftError> {
        let present = self.present()?;
        let mut marks = vec![(device.to_owned(), bit)];
        let mut requests = vec![creation(table())];
        let is_whole = present.is_empty() || self.is_whole(&present, &promises(&present))?;
        if !is_whole {
            requests.push(Request { message: inet(NfTablesMessage::DeleteTable(table_message())), flags: 0 });
            requests.push(creation(table()));
            let others = present.iter().filter(|rule| !rule.is_of(device));
            marks.extend(others.filter_map(|rule| rule.mark.clone()));
            marks.sort_unstable();
            marks.dedup();
        }
        requests.extend([chain_request(PREROUTING), chain_request(OUTPUT)]);
        requests.extend(present.iter().filter(|rule| is_whole && rule.is_of(device)).map(removal));
        requests.extend(marks.iter().flat_map(|(device, bit)| {
            marking_rules(device, *bit).map(|(chain, list)| {
                let attributes = vec![
                    RuleAttribute::Table(TABLE.to_owned()),
                    RuleAttribute::Chain(chain.to_owned()),
                    RuleAttribute::Expressions(list),
                    RuleAttribute::UserData(comment(device, *bit)),
                ];
                let message = inet(NfTablesMessage::NewRule(RuleMessage { attributes }));
                Request { message, flags: NLM_F_CREATE | NLM_F_APPEND }
            })
        }));
        self.commit(&requests)
    }

    /// Ends the marking of replies to what comes in by `device`; the table goes with the last rule of ours.
    ///
    /// # Errors
    /// The kernel refuses; nothing is changed then.
    pub fn unmark_replies(&mut self, device: &str) -> Result<(), NftError> {
        let present = self.present()?;
        let is_last = !present.iter().any(|rule| rule.mark.is_some() && !rule.is_of(device));
        let requests = match is_last {
            true => vec![Request { message: inet(NfTablesMessage::DeleteTable(table_message())), flags: 0 }],
            false => present.iter().filter(|rule| rule.is_of(device)).map(removal).collect(),
        };
        match self.commit(&requests) {
            Err(NftError::Kernel(error)) if error.errno == Errno::ENOENT => Ok(()),
            result => result,
        }
    }

    /// True when the table, its chains and all rules in them are as we make them.
    fn is_whole(&mut self, rules: &[Present], promised: &Promises) -> Result<bool, NftError> {
        let promise = |rule: &Present| promised.get(rule.mark.as_ref()?);
        let is_kept = |rule: &Present| promise(rule).is_some_and(|wanted| wanted.iter().any(|it| rule.says(it)));
        if !rules.iter().all(is_kept) {
            return Ok(false);
        }
        let is_ours = |message: &&NetfilterMessage| table_of(message).is_some_and(|name| name == TABLE);
        let attributes = vec![ChainAttribute::Table(TABLE.to_owned())];
        let chains =
            self.netlink.dump("nftables chains", inet(NfTablesMessage::GetChain(ChainMessage { attributes })))?;
        let chains: Vec<NetfilterMessage> = chains.iter().filter_map(Message::read).collect();
        let table = self.netlink.get(inet(NfTablesMessage::GetTable(table_message())))?;
        let is_awake = table.is_ok_and(|shown| shown.iter().filter_map(Message::read).all(|table| is_awake(&table)));
        Ok(is_awake && chains.iter().filter(is_ours).all(is_right_chain))
    }

    /// The rules in our table; none when there is no table, or nftables was never used.
    fn present(&mut self) -> Result<Vec<Present>, NftError> {
        let attributes = vec![RuleAttribute::Table(TABLE.to_owned())];
        let question = inet(NfTablesMessage::GetRule(RuleMessage { attributes }));
        let shown = match self.netlink.dump("nftables rules", question) {
            Err(NetlinkError::Refused { source, .. }) if source.errno == Errno::ENOENT => Vec::new(),
            shown => shown?,
        };
        Ok(shown.iter().filter_map(present_of).collect())
    }

    fn commit(&mut self, requests: &[Request<Message>]) -> Result<(), NftError> {
        if requests.is_empty() {
            return Ok(());
        }
        let frame = |message| {
            let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, NFNL_SUBSYS_NFTABLES);
            Message::Said(NetfilterMessage::new(header, message))
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

/// What the comments of these rules promise.
fn promises(rules: &[Present]) -> Promises {
    let marks: BTreeSet<&(String, u8)> = rules.iter().filter_map(|rule| rule.mark.as_ref()).collect();
    let encoded =
        |(device, bit): &(String, u8)| marking_rules(device, *bit).map(|(chain, list)| (chain, shown::encoded(&list)));
    marks.into_iter().map(|mark| (mark.clone(), encoded(mark))).collect()
}

fn inet(message: NfTablesMessage) -> Message {
    Message::Said(NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Inet, 0, 0), message))
}

fn creation(message: NfTablesMessage) -> Request<Message> {
    Request { message: inet(message), flags: NLM_F_CREATE }
}

fn table_message() -> TableMessage {
    TableMessage { attributes: vec![TableAttribute::Name(TABLE.to_owned())] }
}

fn table() -> NfTablesMessage {
    NfTablesMessage::NewTable(table_message())
}

/// A base chain. The output chain has the type `route`: a new mark has the packet routed again.
fn chain_request(name: &'static str) -> Request<Message> {
    creation(NfTablesMessage::NewChain(ChainMessage { attributes: chain_attributes(name) }))
}

fn chain_attributes(name: &'static str) -> Vec<ChainAttribute> {
    let (hook, kind) = match name {
        OUTPUT => (InetHookNumber::LocalOut, "route"),
        _ => (InetHookNumber::PreRouting, "filter"),
    };
    vec![
        ChainAttribute::Table(TABLE.to_owned()),
        ChainAttribute::Name(name.to_owned()),
        ChainAttribute::Hook(vec![Hook::Number(hook.into()), Hook::Priority(PRIORITY.cast_unsigned())]),
        ChainAttribute::Type(kind.to_owned()),
    ]
}

fn removal(rule: &Present) -> Request<Message> {
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

fn present_of(message: &Message) -> Option<Present> {
    let (mut table, mut chain, mut number, mut mark) = (None, None, None, None);
    let mut expressions = Vec::new();
    for (kind, value) in message.attributes(NFT_MSG_NEWRULE) {
        match kind {
            NFTA_RULE_TABLE => table = shown::text(value),
            NFTA_RULE_CHAIN => chain = shown::text(value),
            NFTA_RULE_HANDLE => number = value.try_into().ok().map(u64::from_be_bytes),
            NFTA_RULE_USERDATA => mark = commented(value),
            NFTA_RULE_EXPRESSIONS => expressions = value.to_vec(),
            _ => {}
        }
    }
    // The kernel of the day may not filter a dump by table.
    table.filter(|name| name == TABLE)?;
    Some(Present { chain: chain?, handle: number?, mark, expressions })
}

/// The table that a shown chain is in.
fn table_of(message: &NetfilterMessage) -> Option<&str> {
    let NetfilterMessageInner::NfTables(NfTablesMessage::NewChain(chain)) = &message.inner else { return None };
    chain.attributes.iter().find_map(|attribute| match attribute {
        ChainAttribute::Table(name) => Some(name.as_str()),
        _ => None,
    })
}

/// True for a chain that has the name, hook, type and policy of one that we make.
fn is_right_chain(message: &NetfilterMessage) -> bool {
    let NetfilterMessageInner::NfTables(NfTablesMessage::NewChain(shown)) = &message.inner else { return false };
    let says = |wanted: &ChainAttribute| match wanted {
        ChainAttribute::Hook(wanted) => shown.attributes.iter().any(|attribute| match attribute {
            ChainAttribute::Hook(hook) => wanted.iter().all(|part| hook.contains(part)),
            _ => false,
        }),
        wanted => shown.attributes.contains(wanted),
    };
    let accepts =
        |attribute: &ChainAttribute| !matches!(attribute, ChainAttribute::Policy(policy) if *policy != NF_ACCEPT);
    let is_made = |name| chain_attributes(name).iter().all(says);
    [PREROUTING, OUTPUT].into_iter().any(is_made) && shown.attributes.iter().all(accepts)
}

/// False for a table that was put to sleep.
fn is_awake(message: &NetfilterMessage) -> bool {
    let NetfilterMessageInner::NfTables(NfTablesMessage::NewTable(table)) = &message.inner else { return true };
    !table.attributes.iter().any(|attribute| matches!(attribute, TableAttribute::Flags(flags) if flags.bits() != 0))
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
    fn a_table_that_somebody_meddled_with_marks_nothing_and_is_made_anew() {
        for script in [
            "insert rule inet coordinator output drop",
            "add rule inet coordinator prerouting counter comment \"replies 0 veth0\"",
            "chain inet coordinator output { policy drop; }",
            "table inet coordinator { flags dormant; }",
            "add chain inet coordinator more",
        ] {
            isolated(move || {
                let mut nftables = Nftables::open().unwrap();
                nftables.mark_replies("veth0", 0).unwrap();
                nftables.mark_replies("eth0", 3).unwrap();
                let done = std::process::Command::new("nft").arg(script).status().unwrap();
                assert!(done.success(), "{script}");
                assert_eq!(nftables.observe().unwrap(), [], "{script}");
                nftables.mark_replies("veth0", 0).unwrap();
                assert_eq!(nftables.observe().unwrap(), [("eth0".to_owned(), 3), ("veth0".to_owned(), 0)], "{script}");
            });
        }
    }

    #[test]
    fn a_refused_transaction_changes_nothing() {
        isolated(|| {
            let mut nftables = Nftables::open().unwrap();
            let missing = Present { chain: OUTPUT.to_owned(), handle: 77, mark: None, expressions: vec![] };
            let requests = [creation(table()), chain_request(OUTPUT), removal(&missing)];
            assert!(matches!(nftables.commit(&requests), Err(NftError::Kernel(error)) if error.errno == Errno::ENOENT));
            let gone = inet(NfTablesMessage::GetTable(table_message()));
            assert_eq!(nftables.netlink.get(gone).unwrap().unwrap_err().errno, Errno::ENOENT);
        });
    }
}
