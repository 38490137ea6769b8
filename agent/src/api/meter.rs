//! What the agent asks of the API server, counted: requests, bytes of answers, events of watches.
//!
//! The counts are the agent's metrics, and what `docs/agent.md` says of large clusters is measured with them.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use kube::client::{Body, DynBody};
use tower::{BoxError, Layer, Service};

/// What one kind of request came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many.
    pub requests: u64,
    /// How many were answered with an error, or not at all.
    pub failures: u64,
    /// Bytes of the answers' bodies.
    pub bytes: u64,
    /// Events, of watches.
    pub events: u64,
}

/// By verb and resource (`list`, `pods`).
pub type Usages = BTreeMap<(String, String), Usage>;

/// The counts of one client.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Mutex<Usages>>);

impl Meter {
    /// The counts so far.
    pub fn read(&self) -> Usages {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes a watch's event.
    pub fn event(&self, resource: &str) {
        self.note(&("watch".to_owned(), resource.to_owned()), |usage| usage.events = usage.events.saturating_add(1));
    }

    fn note(&self, key: &(String, String), change: impl FnOnce(&mut Usage)) {
        let mut usages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(usages.entry(key.clone()).or_default());
    }
}

impl<S> Layer<S> for Meter {
    type Service = Metered<S>;

    fn layer(&self, inner: S) -> Metered<S> {
        Metered { inner, meter: self.clone() }
    }
}

/// A service that is counted.
#[derive(Debug)]
pub struct Metered<S> {
    inner: S,
    meter: Meter,
}

impl<S> Service<Request<Body>> for Metered<S>
where
    S: Service<Request<Body>, Response = Response<Box<DynBody>>, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<Counted>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Counted>, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let key = key_of(request.method().as_str(), request.uri().path(), request.uri().query().unwrap_or_default());
        let meter = self.meter.clone();
        meter.note(&key, |usage| usage.requests = usage.requests.saturating_add(1));
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            if !answer.as_ref().is_ok_and(|response| response.status().is_success()) {
                meter.note(&key, |usage| usage.failures = usage.failures.saturating_add(1));
            }
            answer.map(|response| response.map(|body| Counted { body, meter, key }))
        })
    }
}

/// A body whose bytes are counted as they come.
pub struct Counted {
    body: Box<DynBody>,
    meter: Meter,
    key: (String, String),
}

impl http_body::Body for Counted {
    type Data = <DynBody as http_body::Body>::Data;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, BoxError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            let length = u64::try_from(data.len()).unwrap_or_default();
            self.meter.note(&self.key, |usage| usage.bytes = usage.bytes.saturating_add(length));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Verb and resource of a request, as the API's conventions lay out paths.
fn key_of(method: &str, path: &str, query: &str) -> (String, String) {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    match parts.next() {
        Some("api") => _ = parts.next(),
        Some("apis") => _ = (parts.next(), parts.next()),
        _ => {}
    }
    let mut rest: Vec<&str> = parts.collect();
    // `namespaces/x/pods` is about Pods; `namespaces/x` is about a namespace.
    if rest.first() == Some(&"namespaces") && rest.len() > 2 {
        rest.drain(..2);
    }
    let has_name = rest.len() > 1;
    let resource = match rest.as_slice() {
        [resource, _, subresource, ..] => format!("{resource}/{subresource}"),
        [resource, ..] => (*resource).to_owned(),
        [] => String::new(),
    };
    let is_watch = query.split('&').any(|pair| pair == "watch=true" || pair == "watch=1");
    let verb = match (method, has_name) {
        ("GET", _) if is_watch => "watch",
        ("GET", false) => "list",
        ("GET", true) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", _) => "delete",
        _ => "other",
    };
    (verb.to_owned(), resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_by_verb_and_resource() {
        for (method, path, query, verb, resource) in [
            ("GET", "/api/v1/namespaces/kube-system/configmaps", "fieldSelector=x", "list", "configmaps"),
            ("GET", "/api/v1/namespaces/kube-system/configmaps", "&watch=true&timeoutSeconds=9", "watch", "configmaps"),
            ("GET", "/api/v1/namespaces/default/pods/p", "", "get", "pods"),
            ("GET", "/api/v1/namespaces/default", "", "get", "namespaces"),
            (
                "PATCH",
                "/apis/spiderpool.spidernet.io/v2beta1/spidercoordinators/default/status",
                "",
                "patch",
                "spidercoordinators/status",
            ),
            ("PUT", "/apis/coordination.k8s.io/v1/namespaces/n/leases/l", "", "update", "leases"),
            ("POST", "/api/v1/namespaces/n/events", "", "create", "events"),
        ] {
            assert_eq!(key_of(method, path, query), (verb.to_owned(), resource.to_owned()), "{method} {path}");
        }
    }
}
