//! A node's agent: keeps the node's defaults file as SpiderCoordinator says.
//!
//! It asks the API for one object, and for the metadata of the node's own Pods. While the API is away, or says something that the plugin would
//! refuse, the file stays as it is: what was right last is better than nothing.

mod file;
mod pods;

use std::{path::PathBuf, sync::Arc, time::Duration};

use coordinator_objects::{
    Kind,
    coordinator::{Defaults, DefaultsError, NAME},
};
use kube::Client;
use tokio::{sync::watch, time::sleep};
use tracing::{error, info, warn};

use crate::{
    api::{Meter, Rhythm, Target, View, follow},
    leader::parsed,
};

pub use file::{FileError, write};
pub use pods::{ANNOTATION, Pods, Wrong, settle};

/// How a node's defaults stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// True once the file was written or found right by this process.
    pub is_written: bool,
    /// How often it was written.
    pub writes: u64,
    /// Why it may be out of date, in words; empty when it is not.
    pub trouble: String,
}

/// What a node's agent needs to know.
#[derive(Clone)]
pub struct Node {
    /// The API.
    pub client: Client,
    /// Its counts.
    pub meter: Meter,
    /// How watches go on.
    pub rhythm: Rhythm,
    /// The defaults file.
    pub file: PathBuf,
    /// How often the file is looked at, whether or not a watch said something.
    pub resync: Duration,
}

impl Node {
    /// Follows SpiderCoordinator until it is dropped; `standing` tells others how it goes.
    pub async fn run(&self, standing: Arc<watch::Sender<Standing>>) {
        let target = Target::named(Kind::COORDINATOR, None, NAME);
        let mut view = follow(&self.client, &self.meter, target, self.rhythm);
        loop {
            let seen = view.borrow_and_update().clone();
            let trouble = self.settle(&seen, &standing);
            standing.send_if_modified(|now| {
                let is_new = now.trouble != trouble;
                if is_new && !trouble.is_empty() {
                    warn!(trouble, "The defaults file stays as it is.");
                }
                now.trouble = trouble;
                is_new
            });
            tokio::select! {
                changed = view.changed() => if changed.is_err() { return },
                () = sleep(self.resync) => {}
            }
        }
    }

    /// Makes the file right; what is in the way, or nothing.
    fn settle(&self, view: &View, standing: &watch::Sender<Standing>) -> String {
        let trouble = view.trouble.as_ref().map(|trouble| trouble.text.clone()).unwrap_or_default();
        let Some(object) = view.objects.values().next() else {
            return match (view.is_known, view.is_absent) {
                (false, _) => trouble,
                (true, true) => "the cluster does not have the kind SpiderCoordinator".to_owned(),
                (true, false) => "there is no SpiderCoordinator default".to_owned(),
            };
        };
        match Defaults::of(&parsed(object)) {
            Ok(defaults) => match write(&self.file, defaults.text()) {
                Ok(is_new) => {
                    if is_new {
                        info!(file = %self.file.display(), "Defaults written.");
                    }
                    standing.send_modify(|now| {
                        now.is_written = true;
                        now.writes = now.writes.saturating_add(u64::from(is_new));
                    });
                    trouble
                }
                Err(error) => {
                    error!(%error, "The defaults cannot be written.");
                    error.to_string()
                }
            },
            Err(error @ (DefaultsError::NotYet(_) | DefaultsError::Wrong(_))) => error.to_string(),
        }
    }
}
