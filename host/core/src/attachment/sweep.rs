//! Sweeping: what bears our marks on the node and belongs to no record.
//!
//! Records and Pods live and end with the machine's boot, so this is rare: somebody removed `/run/coordinator`, or a
//! fault of ours left something. GC does not look for it: it knows records only.

use std::collections::BTreeSet;

use coordinator_sdk::{Device, Edit, Family, Key, Link, LinkFlags, Model, PROTOCOL, Side, diff};
use coordinator_stages::{
    apply::{self, Manner, Target},
    kernel::{link, route, rule},
    raw_routes::RawRoutes,
    sockets::NodeSockets,
};

use super::{AttachmentError, Places, add::PATIENCE};
use crate::record::{Share, Store};

/// Whether what is found is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// It is only named.
    Look,
    /// It goes.
    Remove,
}

/// Finds what is ours on the node and belongs to nobody; what is removed, in kernel order.
///
/// Calls that begin meanwhile wait: whoever writes the kernel has written an intent before, and that is a record.
///
/// # Errors
/// Records cannot be read, the kernel cannot be asked, or it refuses a removal.
pub fn sweep(places: &Places, how: Sweep) -> Result<Vec<Edit>, AttachmentError> {
    let store = Store::open(&places.state)?;
    let _alone = store.lock_node(Share::Exclusive, PATIENCE)?;
    let mut claimed: BTreeSet<Key> = BTreeSet::new();
    store.visit(|record| {
        claimed.extend(record.after.own_keys().into_iter().filter(|key| key.side() == Side::Node));
    })?;
    let mut node = NodeSockets::open()?;
    let ours = marked(&mut node)?;
    let edits = diff(&ours, &ours.restricted(&claimed));
    if how == Sweep::Remove {
        let mut target = Target { pod: None, node: &mut node.route, raw_routes: &RawRoutes::default() };
        let failures = apply::apply(&edits, &mut target, Manner::Lenient, None).failures;
        if !failures.is_empty() {
            return Err(AttachmentError::Remaining(failures));
        }
    }
    Ok(edits)
}

/// Everything on the node that bears our marks: ifalias, protocol number.
fn marked(node: &mut NodeSockets) -> Result<Model, AttachmentError> {
    let mut model = Model::default();
    for seen in link::list(&mut node.route.netlink)? {
        node.route.names.insert(seen.index, &seen.name);
        if seen.alias.as_deref().is_some_and(|alias| alias.starts_with("coordinator:")) {
            model.links.push(Link {
                kind: seen.kind,
                mac: seen.mac,
                alias: seen.alias,
                flags: LinkFlags { up: seen.up, ours: true, ..LinkFlags::default() },
                ..Link::named(Device::node(&seen.name))
            });
        }
    }
    for family in Family::ALL {
        for message in route::list(&mut node.route.netlink, family, None)? {
            let id = u32::try_from(model.routes.len()).unwrap_or(u32::MAX);
            let known = route::known(&message, id, Side::Node, &node.route.names);
            model.routes.extend(Some(known).filter(|known| known.protocol == PROTOCOL));
        }
        let rules = rule::list(&mut node.route.netlink, Side::Node, family)?;
        model.rules.extend(rules.into_iter().filter(|known| known.protocol == PROTOCOL));
    }
    Ok(model)
}
