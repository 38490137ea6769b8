//! Giving a Pod's addresses back: one HTTP request to Spiderpool's agent on this node, who gave them out.

use std::{path::Path, time::Duration};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::timeout,
};

use super::ConflictReport;

/// How long the exchange may take: the other side asks the API server.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why addresses were not given back.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// It is there and cannot be talked to.
    #[error("Spiderpool's agent cannot be talked to: {0}")]
    Io(#[from] std::io::Error),
    /// It says no.
    #[error("Spiderpool's agent answers {0}")]
    Refused(String),
    /// It takes too long.
    #[error("Spiderpool's agent did not answer within {} s", PATIENCE.as_secs())]
    Late,
}

/// Has the Pod's addresses given back; false when nobody is there to do it.
///
/// # Errors
/// Somebody is there, and it did not happen.
pub async fn release(socket: &Path, report: &ConflictReport, uid: &str) -> Result<bool, ReleaseError> {
    if !socket.exists() {
        return Ok(false);
    }
    timeout(PATIENCE, exchange(socket, report, uid)).await.map_err(|_| ReleaseError::Late)??;
    Ok(true)
}

async fn exchange(socket: &Path, report: &ConflictReport, uid: &str) -> Result<(), ReleaseError> {
    let body = json!({
        "containerID": report.container,
        // The other side wants one and does not use it; the plugin's report has none.
        "netNamespace": "unknown",
        "podNamespace": report.pod_namespace,
        "podName": report.pod_name,
        "podUID": uid,
        "isReleaseConflictIPs": true,
    })
    .to_string();
    let request = format!(
        "DELETE /v1/ipam/ips HTTP/1.1\r\nHost: localhost\r\nUser-Agent: coordinator-agent\r\nAccept: application/json\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    (&mut stream).take(4096).read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some("200" | "204") => Ok(()),
        _ => Err(ReleaseError::Refused(format!("{status:?}"))),
    }
}
