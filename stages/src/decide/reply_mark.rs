//! Replies to what came in by `veth0` leave by `veth0`.
//!
//! A conntrack mark bit remembers how a connection came in; a rule sends marked packets to a table
//! whose default leads back. The bit is masked everywhere, so marks of others survive.

use coordinator_sdk::{
    Change, Decision, Device, Facts, MARK_RULE_PRIORITY, POD_VETH, REPLY_TABLE, Refusal, ReplyMark, Rule, Side, Stage,
};

use super::{pod_routes::through_veth, reach};

/// The bit, so that value and mask are `0x1`.
const BIT: u8 = 0;

/// Marks connections from the node, and leads their replies back.
#[derive(Debug, Clone, Copy)]
pub struct ReplyMarkStage;

impl Stage for ReplyMarkStage {
    type Options = ();

    fn decide(facts: &Facts, _options: &()) -> Result<Decision, Refusal> {
        let mark = ReplyMark { device: Device::pod(POD_VETH), bit: BIT, table: REPLY_TABLE };
        let mut decision = Decision::default();
        for family in facts.families() {
            let Some(gateway) = reach::of_node(facts, family).first().copied() else { continue };
            let route = through_veth(REPLY_TABLE, family.default_prefix(), gateway);
            decision.push(Change::AddRoute(route), "replies to what came in by the veth pair go back there");
            let mut rule = Rule::all(Side::Pod, family, MARK_RULE_PRIORITY, REPLY_TABLE);
            rule.fwmark = Some(mark.mark());
            decision.push(Change::AddRule(rule), "marked replies come before every source rule");
        }
        decision.push(Change::MarkReplies(mark), "a connection remembers how it came in");
        Ok(decision)
    }
}
