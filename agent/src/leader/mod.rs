//! The leader: the one process of the cluster that writes SpiderCoordinator's status and the networks' definitions.
//!
//! Its work grows with pools and networks, not with nodes or Pods: it watches a handful of kinds, each whole, and
//! writes only what differs. It acts while its Lease lasts, and drops everything when that ends.

mod blocks;
mod definitions;
mod sources;
mod status;

use std::{path::PathBuf, sync::Arc, time::Duration};

use kube::Client;
use tokio::{sync::watch, time::sleep_until};

use crate::api::{Events, Leadership, Meter, Rhythm};

pub use definitions::Definitions;
pub use sources::Watched;
pub(crate) use sources::parsed;
pub use status::Keeper;

/// What the leader needs to know.
#[derive(Clone)]
pub struct Leader {
    /// The API.
    pub client: Client,
    /// Its counts.
    pub meter: Meter,
    /// Where Events go.
    pub events: Arc<Events>,
    /// How watches go on.
    pub rhythm: Rhythm,
    /// How often everything is compared anew, whether or not a watch said something.
    pub resync: Duration,
    /// How long a source may stay unread, or a watch broken, before the status says so.
    pub grace: Duration,
    /// Where the control plane's own Pods and kubeadm's configuration are.
    pub system_namespace: String,
    /// Where `cilium-config` is.
    pub cilium_namespace: String,
    /// The CNI configuration directory of the leader's node, where it can be read.
    pub cni_directory: Option<PathBuf>,
}

impl Leader {
    /// Leads whenever the Lease is ours, until nobody campaigns any more.
    pub async fn run(&self, mut leadership: watch::Receiver<Leadership>) {
        loop {
            let mine = leadership.clone();
            if leadership.borrow_and_update().remaining().is_some() {
                tokio::select! {
                    () = Keeper::new(self, mine.clone()).run() => {}
                    () = Definitions::new(self, mine).run() => {}
                    () = ended(&mut leadership) => {}
                }
            } else if leadership.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Waits until the leadership's time is over without a renewal.
async fn ended(leadership: &mut watch::Receiver<Leadership>) {
    loop {
        let Some(until) = leadership.borrow_and_update().until else { return };
        tokio::select! {
            () = sleep_until(until) => {
                if leadership.borrow().remaining().is_none() {
                    return;
                }
            }
            changed = leadership.changed() => if changed.is_err() { return },
        }
    }
}
