//! Which disabled pools of Calico still have addresses out, by Calico's own blocks.
//!
//! Blocks are many (one or more a node) and change with every Pod, so they are not watched: they are read, page by
//! page, only while there is a disabled pool, and no further than the first used block of each.

use std::collections::BTreeSet;

use coordinator_objects::Kind;
use ipnet::IpNet;
use kube::{Client, api::ListParams};

use crate::{
    api::{ApiError, objects, within},
    discovery::{CalicoPool, used_block},
};

/// Blocks a page; one is a few kilobytes.
const PAGE: u32 = 100;

/// The prefixes of those pools that have addresses out.
///
/// # Errors
/// The blocks cannot be read.
pub(super) async fn used_pools(client: &Client, disabled: &[CalicoPool]) -> Result<Vec<IpNet>, ApiError> {
    for kind in Kind::CALICO_BLOCKS {
        match used_in(client, kind, disabled).await {
            Err(error) if error.code() == Some(404) => {}
            outcome => return outcome,
        }
    }
    Ok(Vec::new())
}

async fn used_in(client: &Client, kind: Kind, disabled: &[CalicoPool]) -> Result<Vec<IpNet>, ApiError> {
    let api = objects(client, kind, None);
    let mut parameters = ListParams::default().limit(PAGE);
    let mut used = BTreeSet::new();
    loop {
        let page = within(api.list(&parameters)).await?;
        for block in page.items.iter().filter_map(|block| used_block(block.data.get("spec")?)) {
            used.extend(disabled.iter().filter(|pool| pool.cidr.contains(&block)).map(|pool| pool.cidr));
        }
        let more = page.metadata.continue_.filter(|token| !token.is_empty());
        match more {
            Some(token) if disabled.iter().any(|pool| !used.contains(&pool.cidr)) => {
                parameters = parameters.continue_token(&token);
            }
            _ => return Ok(used.into_iter().collect()),
        }
    }
}
