//! The two roles, put together from their parts.

use std::{path::PathBuf, sync::Arc, time::Duration};

use kube::Client;
use tokio::{net::TcpListener, sync::watch};
use tracing::{error, info, warn};

use crate::{
    api::{ApiError, Events, Meter, Rhythm, campaign, connect},
    care::Care,
    conflict::{self, Desk, SocketError},
    election::Timing,
    leader::Leader,
    metrics::{self, Metrics, Probe, TallyError},
    node::{Node, Pods, Standing},
    options::Options,
};

/// Only root is heard on the socket.
const ROOT: u32 = 0;
/// How often the plugin's calls are counted.
const COUNTING: Duration = Duration::from_secs(5);

/// How often what is installed is compared with what should be.
const INSTALLING: Duration = Duration::from_secs(60);

/// Why an agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no way to the API server: neither a service account nor a kubeconfig.
    #[error("no way to the API server is configured: {0}")]
    Configuration(String),
    /// The client cannot be made.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Metrics cannot be answered.
    #[error("cannot answer on {address}: {source}")]
    Metrics {
        /// Where.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The plugin's calls cannot be counted.
    #[error(transparent)]
    Tally(#[from] TallyError),
    /// Reports cannot be taken.
    #[error(transparent)]
    Socket(#[from] SocketError),
}

/// What both roles have.
struct Common {
    client: Client,
    meter: Meter,
    events: Arc<Events>,
    metrics: Arc<Metrics>,
    listener: TcpListener,
}

async fn common(options: &Options, host: &str) -> Result<Common, RunError> {
    let meter = Meter::default();
    let config = kube::Config::infer().await.map_err(|error| RunError::Configuration(error.to_string()))?;
    let client = connect(config, &meter)?;
    let events = Arc::new(Events::new(client.clone(), host.to_owned()));
    let metrics = Arc::new(Metrics::new(&meter));
    let address = options.metrics;
    let listener = TcpListener::bind(address).await.map_err(|source| RunError::Metrics { address, source })?;
    Ok(Common { client, meter, events, metrics, listener })
}

/// A node's agent, until it is told to stop. The plugin is put into its place once the defaults are.
///
/// # Errors
/// It cannot begin.
pub async fn node(options: &Options, install: impl Fn() -> Result<(), String>) -> Result<(), RunError> {
    let Common { client, meter, events, metrics, listener } = common(options, &options.node).await?;
    let (sender, mut standing) =
        watch::channel(Standing { is_written: options.defaults.exists(), ..Standing::default() });
    let told = standing.clone();
    let ready: Probe = Arc::new(move || match &*told.borrow() {
        standing if standing.is_written => Ok(()),
        standing => Err(format!("no defaults yet: {}", standing.trouble)),
    });
    let pods = Pods {
        client: client.clone(),
        meter: meter.clone(),
        rhythm: Rhythm::default(),
        events: Arc::clone(&events),
        node: options.node.clone(),
        defaults: options.defaults.clone(),
    };
    let node = Node {
        client: client.clone(),
        meter,
        rhythm: Rhythm::default(),
        file: options.defaults.clone(),
        resync: Duration::from_secs(60),
    };
    let desk = Desk {
        client,
        events: Arc::clone(&events),
        metrics: Arc::clone(&metrics),
        spiderpool: options.spiderpool.clone(),
        is_release_enabled: options.is_release_enabled,
    };
    let care = Care {
        state: options.state.clone(),
        namespaces: options.namespaces.clone(),
        every: options.care,
        treatment: options.repair,
        events,
        metrics: Arc::clone(&metrics),
    };
    let socket = conflict::bind(&options.socket)?;
    let gauge = Arc::clone(&metrics);
    let installing = async {
        loop {
            let now = standing.borrow_and_update().clone();
            gauge.defaults_right.set(i64::from(now.is_written && now.trouble.is_empty()));
            if now.is_written
                && let Err(reason) = install()
            {
                error!(reason, "The plugin cannot be installed.");
            }
            // What is to be installed may change too: a ConfigMap with pipelines is a mounted folder.
            tokio::select! {
                changed = standing.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(INSTALLING) => {}
            }
        }
    };
    let caring = async {
        if options.care.is_zero() {
            std::future::pending::<()>().await;
        }
        care.run().await;
    };
    tokio::select! {
        () = node.run(Arc::new(sender)) => {}
        () = pods.run() => {}
        () = installing => {}
        () = caring => {}
        () = conflict::serve(socket, Arc::new(desk), ROOT) => {}
        counted = metrics::count(&options.calls, &metrics, COUNTING) => counted?,
        served = metrics::serve(listener, Arc::clone(&metrics), ready) => served_ended(options, served)?,
        () = stopped() => {}
    }
    let _ = std::fs::remove_file(&options.socket);
    Ok(())
}

/// A candidate for leading, until it is told to stop.
///
/// # Errors
/// It cannot begin.
pub async fn lead(options: &Options) -> Result<(), RunError> {
    let Common { client, meter, events, metrics, listener } = common(options, &options.pod).await?;
    let mut leadership = campaign(&client, &options.namespace, &options.pod, Timing::default());
    let cni = &options.cni_configurations;
    let leader = Leader {
        client,
        meter,
        events,
        rhythm: Rhythm::default(),
        resync: Duration::from_secs(300),
        grace: Duration::from_secs(60),
        system_namespace: options.system_namespace.clone(),
        cilium_namespace: options.cilium_namespace.clone(),
        cni_directory: Some(cni).filter(|path| path.is_dir()).map(PathBuf::from),
    };
    let mine = leadership.clone();
    let watching = async {
        loop {
            metrics.leading.set(i64::from(leadership.borrow_and_update().remaining().is_some()));
            if leadership.changed().await.is_err() {
                return;
            }
        }
    };
    let ready: Probe = Arc::new(|| Ok(()));
    tokio::select! {
        () = leader.run(mine) => {}
        () = watching => {}
        served = metrics::serve(listener, Arc::clone(&metrics), ready) => served_ended(options, served)?,
        () = stopped() => {}
    }
    drop(leadership);
    // The campaign gives the Lease back when nobody looks any more; it is a request or two.
    tokio::time::sleep(Duration::from_millis(500)).await;
    Ok(())
}

/// Does nothing until it is told to stop.
///
/// # Errors
/// None.
pub async fn idle() -> Result<(), RunError> {
    stopped().await;
    Ok(())
}

fn served_ended(options: &Options, served: std::io::Result<()>) -> Result<(), RunError> {
    served.map_err(|source| RunError::Metrics { address: options.metrics, source })
}

/// Waits for the kubelet's signal.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        warn!("Signals cannot be awaited.");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    info!("Stopping.");
}
