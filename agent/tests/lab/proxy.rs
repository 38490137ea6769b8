//! What stands between the agent and an API server, and does to it what networks and busy servers do.
//!
//! It passes requests on and can refuse them, throttle them, cut connections in the middle of an event, tell watches
//! that their place is gone, hide kinds and give them another version. It knows nothing of what is behind it, so a
//! test runs the same against the stand-in and against a real server.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use futures::StreamExt as _;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Request, Response,
    body::{Bytes, Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use kube::{Client, Config, client::Body};
use serde_json::json;
use tokio::sync::{Notify, oneshot};

/// What happens to requests.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Connections are cut before an answer, open ones at once.
    pub(crate) away: bool,
    /// Requests whose path contains the text get this status, so many times: (text, status, count).
    pub(crate) refuse: Vec<(&'static str, u16, usize)>,
    /// Parts of paths that do not exist.
    pub(crate) hide: Vec<&'static str>,
    /// Parts of paths that are asked for under another name: (asked, real).
    pub(crate) rename: Vec<(&'static str, &'static str)>,
    /// Whose requests they are; a server that knows users holds its rights against them.
    pub(crate) user: Option<String>,
    /// Requests of this method are kept back until [`Proxy::release`], and go on even when nobody waits any more.
    pub(crate) hold: Option<&'static str>,
}

/// A request that was passed on: method and path with query.
pub(crate) type Seen = (String, String);

struct Shared {
    faults: Mutex<Faults>,
    seen: Mutex<Vec<Seen>>,
    /// Requests that the server itself forbade.
    forbidden: Mutex<Vec<Seen>>,
    /// Cuts every open answer.
    cut: Notify,
    /// Tells every open watch that its place is gone.
    gone: Notify,
    /// Lets held requests go.
    release: Notify,
    /// Connections that were cut before an answer.
    turned_away: AtomicUsize,
    /// Requests that wait for their answer: a watch for its head, every other one for all of it.
    waiting: AtomicUsize,
    /// The server's clock where a test has one of its own, seconds.
    clock: AtomicUsize,
    /// It has moved.
    tick: Notify,
}

/// A proxy; it ends with this value.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
}

type Answer = Response<BoxBody<Bytes, std::io::Error>>;

impl Proxy {
    /// Starts one in front of a server, on a thread and a clock of its own.
    pub(crate) fn start(upstream: Config) -> Self {
        let shared = Arc::new(Shared {
            faults: Mutex::default(),
            seen: Mutex::default(),
            forbidden: Mutex::default(),
            cut: Notify::new(),
            gone: Notify::new(),
            release: Notify::new(),
            turned_away: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            clock: AtomicUsize::new(0),
            tick: Notify::new(),
        });
        let (stop, stopped) = oneshot::channel();
        let (sender, address) = mpsc::channel();
        let served = Arc::clone(&shared);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let client = Client::try_from(upstream).unwrap();
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                sender.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    () = serve(listener, client, served) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address: address.recv().unwrap(), shared, stop: Some(stop) }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What happens to requests from now on.
    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.shared.faults.lock().unwrap()
    }

    /// The server goes away, with every open connection.
    pub(crate) fn leave(&self) {
        self.faults().away = true;
        self.cut();
    }

    /// And comes back.
    pub(crate) fn come_back(&self) {
        self.faults().away = false;
    }

    /// Cuts every open answer, in the middle of a line.
    pub(crate) fn cut(&self) {
        self.shared.cut.notify_waiters();
    }

    /// Tells every open watch that its place is gone.
    pub(crate) fn gone(&self) {
        self.shared.gone.notify_waiters();
    }

    /// Lets the held requests go, late.
    pub(crate) fn release(&self) {
        self.faults().hold = None;
        self.shared.release.notify_waiters();
    }

    /// How many connections were cut before an answer.
    pub(crate) fn turned_away(&self) -> usize {
        self.shared.turned_away.load(Ordering::Relaxed)
    }

    /// The requests that the server forbade since the last call.
    pub(crate) fn take_forbidden(&self) -> Vec<Seen> {
        std::mem::take(&mut self.shared.forbidden.lock().unwrap())
    }

    /// True while a request waits for its answer, other than those that are held.
    pub(crate) fn is_asked(&self) -> bool {
        self.shared.waiting.load(Ordering::Relaxed) > 0
    }

    /// A second passes: watches that have lasted as long as they were asked to are closed, as the server would.
    pub(crate) fn tick(&self) {
        self.shared.clock.fetch_add(1, Ordering::Relaxed);
        self.shared.tick.notify_waiters();
    }

    /// The requests since the last call.
    pub(crate) fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.shared.seen.lock().unwrap())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

async fn serve(listener: tokio::net::TcpListener, client: Client, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        if shared.faults.lock().unwrap().away {
            shared.turned_away.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let (client, shared) = (client.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let held = Arc::clone(&shared);
            let service = service_fn(move |request| pass(request, client.clone(), Arc::clone(&held)));
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::pin!(connection);
            loop {
                let cut = shared.cut.notified();
                tokio::select! {
                    _ = connection.as_mut() => return,
                    // An idle connection of a server that went away is closed; a busy one ends with its answer.
                    () = cut => if shared.faults.lock().unwrap().away { return },
                }
            }
        });
    }
}

/// A request that waits for its answer.
struct Waiting(Arc<Shared>);

impl Waiting {
    fn of(shared: &Arc<Shared>) -> Self {
        shared.waiting.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

fn refusal(code: u16, reason: &str) -> Answer {
    let retry = if code == 429 { json!({"retryAfterSeconds": 1}) } else { json!({}) };
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": format!("the test says {code}"),
                      "reason": reason, "details": retry, "code": code});
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {}).boxed();
    Response::builder()
        .status(code)
        .header("content-type", "application/json")
        .header("retry-after", "1")
        .body(body)
        .unwrap()
}

async fn pass(request: Request<Incoming>, client: Client, shared: Arc<Shared>) -> Result<Answer, std::io::Error> {
    let asked = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    shared.seen.lock().unwrap().push((request.method().to_string(), asked.clone()));
    let real = {
        let mut faults = shared.faults.lock().unwrap();
        if faults.away {
            return Err(std::io::Error::other("away"));
        }
        if faults.hide.iter().any(|part| asked.contains(part)) {
            return Ok(refusal(404, "NotFound"));
        }
        if let Some((_, code, left)) =
            faults.refuse.iter_mut().find(|(part, _, left)| *left > 0 && asked.contains(part))
        {
            *left -= 1;
            let code = *code;
            return Ok(refusal(code, if code == 429 { "TooManyRequests" } else { "Forbidden" }));
        }
        faults.rename.iter().fold(asked.clone(), |path, (from, to)| path.replace(from, to))
    };
    let (parts, body) = request.into_parts();
    let method = parts.method.to_string();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let mut onward = Request::builder().method(parts.method).uri(real);
    for name in ["content-type", "accept"] {
        if let Some(value) = parts.headers.get(name) {
            onward = onward.header(name, value);
        }
    }
    if let Some(user) = &shared.faults.lock().unwrap().user {
        onward = onward.header("impersonate-user", user);
    }
    let is_held =
        shared.faults.lock().unwrap().hold.is_some_and(|method| method == onward.method_ref().unwrap().as_str());
    let onward = onward.body(Body::from(body)).unwrap();
    let waiting = (!is_held).then(|| Waiting::of(&shared));
    let held = Arc::clone(&shared);
    let sent = tokio::spawn(async move {
        if is_held {
            held.release.notified().await;
        }
        client.send(onward).await
    });
    let answer = sent.await.map_err(std::io::Error::other)?.map_err(std::io::Error::other)?;
    let length = asked.split("timeoutSeconds=").nth(1).and_then(|rest| rest.split('&').next()?.parse().ok());
    let is_watch = asked.contains("watch=true");
    let until = length.filter(|_| is_watch).map(|length: usize| shared.clock.load(Ordering::Relaxed) + length);
    let (head, body) = answer.into_parts();
    if head.status == 403 {
        shared.forbidden.lock().unwrap().push((method, asked.clone()));
    }
    let waiting = waiting.filter(|_| !is_watch);
    let body = BodyExt::boxed(StreamBody::new(cuttable(body, is_watch, until, shared, waiting)));
    let mut answer = Response::builder().status(head.status);
    if let Some(value) = head.headers.get("content-type") {
        answer = answer.header("content-type", value);
    }
    Ok(answer.body(body).unwrap())
}

/// An answer's frames, until somebody cuts them.
fn cuttable(
    body: Body,
    is_watch: bool,
    until: Option<usize>,
    shared: Arc<Shared>,
    waiting: Option<Waiting>,
) -> impl futures::Stream<Item = Result<Frame<Bytes>, std::io::Error>> + Send + Sync {
    let (sender, receiver) = futures::channel::mpsc::unbounded();
    tokio::spawn(async move {
        let _waiting = waiting;
        let mut frames = body.into_data_stream();
        loop {
            let (cut, gone, tick) = (shared.cut.notified(), shared.gone.notified(), shared.tick.notified());
            let next = tokio::select! {
                next = frames.next() => next,
                () = cut => {
                    if is_watch {
                        let _ = sender.unbounded_send(Ok(Frame::data(Bytes::from_static(b"{\"type\":\"MODIFIED\",\"obj"))));
                    }
                    // Not an end, but a break.
                    let _ = sender.unbounded_send(Err(std::io::Error::other("cut")));
                    return;
                }
                () = tick, if until.is_some() => match until {
                    Some(until) if shared.clock.load(Ordering::Relaxed) >= until => return,
                    _ => continue,
                },
                () = gone, if is_watch => {
                    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "too old", "reason": "Expired", "code": 410});
                    let line = format!("{}\n", json!({"type": "ERROR", "object": status}));
                    let _ = sender.unbounded_send(Ok(Frame::data(Bytes::from(line))));
                    return;
                }
            };
            let frame = match next {
                Some(Ok(data)) => Ok(Frame::data(data)),
                Some(Err(error)) => Err(std::io::Error::other(error)),
                None => return,
            };
            if sender.unbounded_send(frame).is_err() {
                return;
            }
        }
    });
    receiver
}
