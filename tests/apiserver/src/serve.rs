//! HTTP: requests to reads and writes of the store, watches to streams.

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures::channel::mpsc;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Method, Request, Response,
    body::{Bytes, Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    time::{Instant, sleep_until},
};

use crate::{
    path::Path,
    query::Query,
    store::{Inner, Refusal, Store, Write},
};

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// The time between two bookmarks; a real server takes a minute.
const BOOKMARKS: Duration = Duration::from_millis(500);

pub(crate) async fn serve(listener: TcpListener, store: Arc<Store>) {
    while let Ok((stream, _)) = listener.accept().await {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&store)));
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, store: Arc<Store>) -> Result<Answer, Infallible> {
    Ok(match handle(request, store).await {
        Ok(answer) => answer,
        Err(Refusal(code, reason, message)) => whole(
            code,
            &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                                "message": message, "reason": reason, "code": code}),
        ),
    })
}

fn whole(code: u16, body: &Value) -> Answer {
    let body = Full::new(Bytes::from(body.to_string())).boxed();
    Response::builder().status(code).header("content-type", "application/json").body(body).unwrap()
}

async fn handle(request: Request<Incoming>, store: Arc<Store>) -> Result<Answer, Refusal> {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let path = Path::parse(request.uri().path())
        .ok_or_else(|| Refusal(404, "NotFound", "the server could not find the requested resource".to_owned()))?;
    let kind = store.kind(&path)?;
    let (parts, body) = request.into_parts();
    let accept = parts.headers.get("accept").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let part = if accept.contains("as=PartialObjectMetadata") { Part::Metadata } else { Part::Whole };
    let is_dry = query.text("dryRun") == "All";
    let bytes = body.collect().await.map_err(|error| bad(error.to_string()))?.to_bytes();
    let body = || serde_json::from_slice::<Value>(&bytes).map_err(|error| bad(error.to_string()));
    match parts.method {
        Method::GET if query.is_set("watch") => watch(store, path, query, part),
        Method::GET if path.name.is_empty() => list(&store, &path, &query, &kind.kind, part),
        Method::GET => {
            let key = Inner::key(&path, &path.name);
            let found = store.lock().objects.get(&key).cloned();
            let missing = || Refusal(404, "NotFound", format!("{} \"{}\" not found", path.plural, path.name));
            Ok(whole(200, &part.of(&found.ok_or_else(missing)?)))
        }
        Method::POST => Ok(whole(201, &store.write(&path, Write::Create(body()?), is_dry)?)),
        Method::PUT => Ok(whole(200, &store.write(&path, Write::Replace(body()?), is_dry)?)),
        Method::DELETE => {
            let options = if bytes.is_empty() { Value::Null } else { body()? };
            store.write(&path, Write::Delete { options }, false)?;
            Ok(whole(
                200,
                &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 200, "message": "", "reason": ""}),
            ))
        }
        Method::PATCH => {
            let content = parts.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
            let write = if content.starts_with("application/apply-patch") {
                let manager = query.text("fieldManager").to_owned();
                if manager.is_empty() {
                    return Err(bad("fieldManager is required for apply patch".to_owned()));
                }
                Write::Apply { manager, force: query.is_set("force"), config: body()? }
            } else if content.starts_with("application/merge-patch") {
                Write::Merge(body()?)
            } else {
                return Err(Refusal(415, "UnsupportedMediaType", format!("{content} is not served")));
            };
            Ok(whole(200, &store.write(&path, write, is_dry)?))
        }
        _ => Err(Refusal(405, "MethodNotAllowed", "the server does not allow this method".to_owned())),
    }
}

/// How much of an object is asked for.
#[derive(Debug, Clone, Copy)]
enum Part {
    Whole,
    Metadata,
}

impl Part {
    fn of(self, object: &Value) -> Value {
        match self {
            Self::Whole => object.clone(),
            Self::Metadata => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
            }
        }
    }
}

fn bad(message: String) -> Refusal {
    Refusal(400, "BadRequest", message)
}

fn list(store: &Store, path: &Path, query: &Query, kind: &str, part: Part) -> Result<Answer, Refusal> {
    let inner = store.lock();
    let of = (path.group.clone(), path.plural.clone());
    let selected = inner.objects.iter().filter(|((kind, namespace, _), object)| {
        *kind == of && (path.namespace.is_empty() || *namespace == path.namespace) && query.selects(object)
    });
    // A token is the version of the list and how many objects were given out: a list that changed is gone.
    let (version, skip) = match query.text("continue").split_once(':') {
        Some((version, skip)) => (version.to_owned(), skip.parse().unwrap_or(0)),
        None => (inner.version.to_string(), 0_usize),
    };
    if version.parse::<u64>().is_ok_and(|version| version < inner.forgotten) {
        return Err(Refusal(410, "Expired", "The provided continue parameter is too old".to_owned()));
    }
    let all: Vec<&Value> = selected.map(|(_, object)| object).skip(skip).collect();
    let limit = query.number("limit").and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
    let page: Vec<Value> = all.iter().take(limit.unwrap_or(usize::MAX)).map(|object| part.of(object)).collect();
    let mut metadata = json!({"resourceVersion": version});
    if page.len() < all.len() {
        metadata["continue"] = json!(format!("{version}:{}", skip + page.len()));
        metadata["remainingItemCount"] = json!(all.len() - page.len());
    }
    let api = if path.group.is_empty() { path.version.clone() } else { format!("{}/{}", path.group, path.version) };
    Ok(whole(200, &json!({"kind": format!("{kind}List"), "apiVersion": api, "metadata": metadata, "items": page})))
}

fn watch(store: Arc<Store>, path: Path, query: Query, part: Part) -> Result<Answer, Refusal> {
    let from: u64 = query.text("resourceVersion").parse().unwrap_or_default();
    if from < store.lock().forgotten {
        return Err(Refusal(410, "Expired", format!("too old resource version: {from}")));
    }
    let (sender, receiver) = mpsc::unbounded();
    tokio::spawn(stream(store, (path, query, part), from, sender));
    let body = BodyExt::boxed(StreamBody::new(receiver));
    Ok(Response::builder().status(200).header("content-type", "application/json").body(body).unwrap())
}

async fn stream(
    store: Arc<Store>,
    (path, query, part): (Path, Query, Part),
    mut place: u64,
    sender: mpsc::UnboundedSender<Result<Frame<Bytes>, Infallible>>,
) {
    let until = Instant::now() + Duration::from_secs(query.number("timeoutSeconds").unwrap_or(300));
    let send = |what: &str, object: &Value| {
        let line = format!("{}\n", json!({"type": what, "object": object}));
        sender.unbounded_send(Ok(Frame::data(Bytes::from(line)))).is_ok()
    };
    let mut bookmark = Instant::now() + BOOKMARKS;
    loop {
        let changed = store.changed.notified();
        let (events, forgotten, version) = {
            let inner = store.lock();
            let of = (path.group.clone(), path.plural.clone());
            let events: Vec<_> = inner
                .history
                .iter()
                .filter(|event| event.version > place && event.of == of)
                .filter(|event| {
                    path.namespace.is_empty() || event.object["metadata"]["namespace"] == path.namespace.as_str()
                })
                .filter(|event| query.selects(&event.object))
                .cloned()
                .collect();
            (events, inner.forgotten, inner.version)
        };
        if place < forgotten {
            send(
                "ERROR",
                &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                                  "message": format!("too old resource version: {place}"), "reason": "Expired", "code": 410}),
            );
            return;
        }
        for event in events {
            if !send(event.what, &part.of(&event.object)) {
                return;
            }
        }
        place = version;
        tokio::select! {
            () = changed => {}
            () = sleep_until(bookmark) => {
                bookmark = Instant::now() + BOOKMARKS;
                let api = if path.group.is_empty() { path.version.clone() } else { format!("{}/{}", path.group, path.version) };
                let kind = store.kind(&path).map(|kind| kind.kind).unwrap_or_default();
                let object = json!({"kind": kind, "apiVersion": api, "metadata": {"resourceVersion": place.to_string(), "creationTimestamp": null}});
                if query.is_set("allowWatchBookmarks") && !send("BOOKMARK", &object) {
                    return;
                }
            }
            () = sleep_until(until) => return,
        }
    }
}
