//! Keeps a view of some objects true: list, watch, and after each kind of failure the right way back.
//!
//! A closed watch goes on where it ended; bookmarks move that place along, so that it is not forgotten by the
//! server. 410 Gone lists anew. Every other failure waits, longer each time, and keeps what was seen: the view says
//! what the trouble is and since when. A kind that the server does not have is an answer too, asked again now and
//! then.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use coordinator_objects::Kind;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::{
    Api, Client,
    api::{ListParams, WatchParams},
    core::{DynamicObject, ObjectList, PartialObjectMeta, WatchEvent},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tracing::{debug, info, warn};

use super::{ApiError, Backoff, Meter, objects, spread, within};

/// The first wait for a kind that the server does not have.
const SOON: Duration = Duration::from_secs(4);

/// Which objects.
#[derive(Debug, Clone)]
pub struct Target {
    /// The kind, in the versions that the server may have, preferred first.
    pub kinds: Vec<Kind>,
    /// The namespace; absent is the whole cluster.
    pub namespace: Option<String>,
    /// A field selector, or empty.
    pub fields: String,
    /// A label selector, or empty.
    pub labels: String,
    /// How much of each object is asked for.
    pub part: Part,
}

/// How much of an object is seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    #[default]
    Whole,
    /// Its metadata: names, labels, annotations.
    Metadata,
}

impl Target {
    /// All objects of a kind.
    pub fn all(kinds: &[Kind]) -> Self {
        Self { kinds: kinds.to_vec(), namespace: None, fields: String::new(), labels: String::new(), part: Part::Whole }
    }

    /// One object, by name.
    pub fn named(kind: Kind, namespace: Option<&str>, name: &str) -> Self {
        let fields = format!("metadata.name={name}");
        Self { namespace: namespace.map(str::to_owned), fields, ..Self::all(&[kind]) }
    }

    fn name(&self) -> String {
        let kind = self.kinds.first().map_or("", |kind| kind.kind);
        let selectors = [self.namespace.as_deref().unwrap_or_default(), &self.fields, &self.labels];
        selectors.iter().filter(|part| !part.is_empty()).fold(kind.to_owned(), |name, part| format!("{name} {part}"))
    }
}

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub struct Rhythm {
    /// How long the server keeps a watch open; half of it is left to chance.
    pub watch: Duration,
    /// The first wait after a failure.
    pub first: Duration,
    /// The longest one.
    pub longest: Duration,
    /// How often a kind is asked for that the server does not have, in the end; at first it may be about to be made.
    pub absent: Duration,
}

impl Default for Rhythm {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        // A server closes a watch in five minutes at the latest; kube gives up one that is silent for 295 s.
        Self { watch: seconds(290), first: seconds(1), longest: seconds(60), absent: seconds(300) }
    }
}

/// Why a view may be out of date.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// In words.
    pub text: String,
    /// Since when.
    pub since: Instant,
}

/// What is seen.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The objects, by namespace and name.
    pub objects: BTreeMap<String, Arc<DynamicObject>>,
    /// True once they were listed, or found not to exist as a kind.
    pub is_known: bool,
    /// True when the server does not have the kind.
    pub is_absent: bool,
    /// What is in the way now.
    pub trouble: Option<Trouble>,
}

/// Follows a target until nobody looks any more.
pub fn follow(client: &Client, meter: &Meter, target: Target, rhythm: Rhythm) -> watch::Receiver<View> {
    let (sender, receiver) = watch::channel(View::default());
    let name = target.name();
    let follower = Follower {
        client: client.clone(),
        meter: meter.clone(),
        backoff: Backoff::new(rhythm.first, rhythm.longest),
        absent: Backoff::new(rhythm.absent.min(SOON), rhythm.absent),
        target,
        rhythm,
        name,
        sender,
    };
    tokio::spawn(follower.run());
    receiver
}

struct Follower {
    client: Client,
    meter: Meter,
    target: Target,
    rhythm: Rhythm,
    name: String,
    backoff: Backoff,
    absent: Backoff,
    sender: watch::Sender<View>,
}

/// How a watch ended.
enum End {
    /// As agreed.
    Closed,
    /// The place where it was to go on is forgotten.
    Gone,
    /// Otherwise.
    Failed(ApiError),
}

impl Follower {
    async fn run(mut self) {
        let sender = self.sender.clone();
        tokio::select! {
            () = self.repeat() => {}
            () = sender.closed() => {}
        }
    }

    async fn repeat(&mut self) {
        loop {
            match self.list().await {
                Ok(Some((api, kind, place))) => {
                    self.absent.reset();
                    self.watch_on(&api, kind, place).await;
                }
                Ok(None) => {
                    self.sender.send_modify(|view| *view = View { is_known: true, is_absent: true, ..View::default() });
                    self.backoff.reset();
                    sleep(self.absent.wait(None)).await;
                }
                Err(error) => self.failed(error).await,
            }
        }
    }

    /// Lists the objects in the first version that the server has; nothing when it has none.
    async fn list(&self) -> Result<Option<(Api<DynamicObject>, Kind, String)>, ApiError> {
        for kind in &self.target.kinds {
            let api = objects(&self.client, *kind, self.target.namespace.as_deref());
            match self.list_pages(&api).await {
                Ok((found, place)) => {
                    debug!(name = self.name, count = found.len(), place, "Listed.");
                    self.sender.send_modify(|view| {
                        *view = View { objects: found, is_known: true, ..View::default() };
                    });
                    return Ok(Some((api, *kind, place)));
                }
                Err(error) if error.code() == Some(404) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    async fn list_pages(
        &self,
        api: &Api<DynamicObject>,
    ) -> Result<(BTreeMap<String, Arc<DynamicObject>>, String), ApiError> {
        let mut found = BTreeMap::new();
        let mut parameters = ListParams::default().limit(500);
        if !self.target.fields.is_empty() {
            parameters = parameters.fields(&self.target.fields);
        }
        if !self.target.labels.is_empty() {
            parameters = parameters.labels(&self.target.labels);
        }
        loop {
            let page = match self.target.part {
                Part::Whole => within(api.list(&parameters)).await?,
                Part::Metadata => {
                    let page = within(api.list_metadata(&parameters)).await?;
                    let items = page.items.into_iter().map(without_data).collect();
                    ObjectList { types: page.types, metadata: page.metadata, items }
                }
            };
            found.extend(page.items.into_iter().map(|object| (key_of(&object), Arc::new(object))));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return Ok((found, page.metadata.resource_version.unwrap_or_default())),
            }
        }
    }

    /// Watches from a place on, until the place is lost.
    async fn watch_on(&mut self, api: &Api<DynamicObject>, kind: Kind, mut place: String) {
        loop {
            let begun = Instant::now();
            match self.watch(api, kind, &mut place).await {
                // A server that closes at once is not asked at once again.
                End::Closed if begun.elapsed() < Duration::from_secs(1) => sleep(self.backoff.wait(None)).await,
                End::Closed => {}
                End::Gone => {
                    info!(name = self.name, "The server has forgotten where the watch stood: listing anew.");
                    return;
                }
                End::Failed(error) if error.code() == Some(404) => return,
                End::Failed(error) => self.failed(error).await,
            }
        }
    }

    async fn watch(&mut self, api: &Api<DynamicObject>, kind: Kind, place: &mut String) -> End {
        let length = spread(self.rhythm.watch);
        let seconds = u32::try_from(length.as_secs()).unwrap_or(u32::MAX).max(1);
        let mut parameters = WatchParams::default().timeout(seconds);
        if !self.target.fields.is_empty() {
            parameters = parameters.fields(&self.target.fields);
        }
        if !self.target.labels.is_empty() {
            parameters = parameters.labels(&self.target.labels);
        }
        let opened = match self.target.part {
            Part::Whole => within(api.watch(&parameters, place)).await.map(|events| events.boxed()),
            Part::Metadata => {
                let events = within(api.watch_metadata(&parameters, place)).await;
                events.map(|events| events.map_ok(event_without_data).boxed())
            }
        };
        let mut events = match opened {
            Ok(events) => events,
            Err(error) if error.code() == Some(410) => return End::Gone,
            Err(error) => return End::Failed(error),
        };
        self.healed();
        // The server ends it; where it does not, the connection is as good as lost.
        let until = Instant::now() + length + super::PATIENCE;
        loop {
            let next = timeout(until.saturating_duration_since(Instant::now()), events.try_next()).await;
            match next {
                Err(_) | Ok(Ok(None)) => return End::Closed,
                Ok(Err(error)) => return End::Failed(error.into()),
                Ok(Ok(Some(event))) => {
                    self.meter.event(kind.plural);
                    if let Some(end) = self.take(event, place) {
                        return end;
                    }
                }
            }
        }
    }

    fn take(&mut self, event: WatchEvent<DynamicObject>, place: &mut String) -> Option<End> {
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                place.clone_from(object.metadata.resource_version.as_ref()?);
                self.backoff.reset();
                self.sender.send_modify(|view| {
                    view.objects.insert(key_of(&object), Arc::new(object));
                });
            }
            WatchEvent::Deleted(object) => {
                place.clone_from(object.metadata.resource_version.as_ref()?);
                self.backoff.reset();
                self.sender.send_modify(|view| _ = view.objects.remove(&key_of(&object)));
            }
            WatchEvent::Bookmark(bookmark) => {
                *place = bookmark.metadata.resource_version;
                self.backoff.reset();
            }
            WatchEvent::Error(status) if status.code == 410 => return Some(End::Gone),
            WatchEvent::Error(status) => return Some(End::Failed(kube::Error::Api(status).into())),
        }
        None
    }

    fn healed(&self) {
        self.sender.send_if_modified(|view| {
            let Some(trouble) = view.trouble.take() else { return false };
            info!(name = self.name, after = trouble.since.elapsed().as_secs(), "Watching again.");
            true
        });
    }

    async fn failed(&mut self, error: ApiError) {
        let wait = self.backoff.wait(error.retry_after());
        let text = error.to_string();
        warn!(name = self.name, error = text, seconds = wait.as_secs(), "Cannot watch; what is known stays.");
        self.sender.send_modify(|view| {
            let since = view.trouble.as_ref().map_or_else(Instant::now, |trouble| trouble.since);
            view.trouble = Some(Trouble { text, since });
        });
        sleep(wait).await;
    }
}

fn without_data(part: PartialObjectMeta<DynamicObject>) -> DynamicObject {
    DynamicObject { types: part.types, metadata: part.metadata, data: serde_json::Value::Null }
}

fn event_without_data(event: WatchEvent<PartialObjectMeta<DynamicObject>>) -> WatchEvent<DynamicObject> {
    match event {
        WatchEvent::Added(part) => WatchEvent::Added(without_data(part)),
        WatchEvent::Modified(part) => WatchEvent::Modified(without_data(part)),
        WatchEvent::Deleted(part) => WatchEvent::Deleted(without_data(part)),
        WatchEvent::Bookmark(bookmark) => WatchEvent::Bookmark(bookmark),
        WatchEvent::Error(status) => WatchEvent::Error(status),
    }
}

fn key_of(object: &DynamicObject) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!("{}/{}", part(&object.metadata.namespace), part(&object.metadata.name))
}
