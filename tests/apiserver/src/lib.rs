//! A stand-in for the Kubernetes API server: list, watch, get, create, update, patch, apply, delete over HTTP.
//!
//! It holds objects in memory and does with them what the API's documentation says a server does: versions and
//! conflicts, a history that watches go on from and that is forgotten (410), bookmarks, pages, the status
//! subresource, generations, server-side apply with its field ownership, CustomResourceDefinitions that make new
//! kinds, with their schemas' types and rules. It prunes nothing, and knows no user. Faults are not its business: tests put a proxy in front of it, and
//! can do the same in front of a real server.

mod apply;
mod path;
mod query;
mod rules;
mod serve;
mod store;

use std::{net::SocketAddr, sync::Arc, thread};

use tokio::sync::oneshot;

pub use rules::{Refused, Rules};
pub use store::Store;

/// A server on a port of the loopback interface; it ends with this value.
pub struct Server {
    address: SocketAddr,
    store: Arc<Store>,
    stop: Option<oneshot::Sender<()>>,
}

impl Server {
    /// Starts one, on a thread and a clock of its own: a test's virtual time does not stop it.
    pub fn start() -> Self {
        let store = Arc::new(Store::new());
        let (stop, stopped) = oneshot::channel();
        let (sender, address) = std::sync::mpsc::channel();
        let served = Arc::clone(&store);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                sender.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    () = serve::serve(listener, served) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address: address.recv().unwrap(), store, stop: Some(stop) }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it holds.
    pub fn store(&self) -> &Store {
        &self.store
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}
