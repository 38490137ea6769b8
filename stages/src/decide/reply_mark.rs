//! Replies to what came in from the node, by `veth0` or an overlay Pod's first interface, go back there.
//!
//! A conntrack mark bit remembers how a connection came in; a rule sends marked packets to a table
//! whose default leads back. The bit is masked everywhere, so marks of others survive.

use coordinator_sdk::{
    Change, Decision, Facts, MARK_RULE_PRIORITY, Mode, REPLY_TABLE, Refusal, ReplyMark, Route, Rule, Side, Stage,
};

use super::reach;

/// The bit, so that value and mask are `0x1`.
const BIT: u8 = 0;

/// Marks connections from the node, and leads their replies back.
#[derive(Debug, Clone, Copy)]
pub struct ReplyMarkStage;

impl Stage for ReplyMarkStage {
    type Options = ();

    fn decide(facts: &Facts, _options: &()) -> Result<Decision, Refusal> {
        let mark = ReplyMark { device: reach::exit(facts), bit: BIT, table: REPLY_TABLE };
        let mut decision = Decision::default();
        for family in facts.families() {
            let Some(through) = reach::through_node(facts, family) else { continue };
            // An overlay Pod's first interface has its own routes in that table, unless routes are left alone.
            let known = facts.model.routes_of(Side::Pod).find(|known| {
                known.route.table == REPLY_TABLE && known.route.is_default() && known.route.family() == family
            });
            let route = match (facts.mode(), known) {
                (Mode::Overlay, Some(known)) => known.route.clone(),
                _ => Route { table: REPLY_TABLE, ..through },
            };
            decision.push(Change::AddRoute(route), "replies to what came in from the node go back there");
            let mut rule = Rule::all(Side::Pod, family, MARK_RULE_PRIORITY, REPLY_TABLE);
            rule.fwmark = Some(mark.mark());
            decision.push(Change::AddRule(rule), "marked replies come before every source rule");
        }
        decision.push(Change::MarkReplies(mark), "a connection remembers how it came in");
        Ok(decision)
    }
}
