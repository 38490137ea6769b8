//! STATUS: whether attachments could be made now, and whether those that are there still work.

use std::collections::BTreeSet;

use coordinator_sdk::{Family, PROTOCOL, Rule, Side};
use coordinator_stages::{kernel::rule, sockets::NodeSockets};

use super::{AttachmentError, Places};
use crate::record::Store;

/// Rules of the node that living attachments need and that are not there: their Pods are cut off from the node.
///
/// # Errors
/// Records could not be kept, or the kernel could not be asked: no ADD would work.
pub fn ready(places: &Places) -> Result<Vec<Rule>, AttachmentError> {
    let store = Store::open(&places.state)?;
    let mut node = NodeSockets::open()?;
    let mut claimed = BTreeSet::new();
    store.visit(|record| {
        let rules = record.after.rules.iter().filter(|known| known.protocol == PROTOCOL);
        claimed.extend(rules.map(|known| &known.rule).filter(|rule| rule.side == Side::Node).cloned());
    })?;
    for family in Family::ALL {
        // A twin that somebody else made serves as well.
        for known in rule::list(&mut node.route.netlink, Side::Node, family)? {
            claimed.remove(&known.rule);
        }
    }
    Ok(claimed.into_iter().collect())
}
