//! The HTTP endpoint: `/metrics` for Prometheus, `/healthz` and `/readyz` for the kubelet.
//!
//! Three paths, no keep-alive, nothing that a client sends but its first line is looked at.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};

use super::Metrics;

/// How long a client may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most that is read of a request, bytes.
const LIMIT: usize = 8192;
/// The most clients at once.
const CLIENTS: usize = 16;

/// Says whether the agent is ready, and why not.
pub type Probe = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Answers for ever.
///
/// # Errors
/// The listener fails.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>, ready: Probe) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let (stream, _) = listener.accept().await?;
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let (metrics, ready) = (Arc::clone(&metrics), Arc::clone(&ready));
        tokio::spawn(async move {
            let _ = timeout(PATIENCE, answer(stream, &metrics, &ready)).await;
            drop(place);
        });
    }
}

async fn answer(mut stream: TcpStream, metrics: &Metrics, ready: &Probe) -> io::Result<()> {
    let mut received = Vec::new();
    let mut chunk = [0; 1024];
    while !received.windows(4).any(|window| window == b"\r\n\r\n") {
        let length = stream.read(&mut chunk).await?;
        received.extend_from_slice(chunk.get(..length).unwrap_or_default());
        if length == 0 || received.len() > LIMIT {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&received);
    let path = head.split(' ').nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let plain = "text/plain; charset=utf-8";
    let (status, kind, body) = match path {
        "/metrics" => match metrics.text() {
            Ok(text) => ("200 OK", "application/openmetrics-text; version=1.0.0; charset=utf-8", text),
            Err(error) => ("500 Internal Server Error", plain, error.to_string()),
        },
        "/healthz" => ("200 OK", plain, "ok\n".to_owned()),
        "/readyz" => match ready() {
            Ok(()) => ("200 OK", plain, "ok\n".to_owned()),
            Err(reason) => ("503 Service Unavailable", plain, format!("{reason}\n")),
        },
        _ => ("404 Not Found", plain, "there is /metrics, /healthz and /readyz\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Meter;

    async fn get(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn three_paths_are_answered() {
        // In a namespace that was just made, the loopback interface is down.
        let _ = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Arc::new(Metrics::new(&Meter::default()));
        let ready: Probe = Arc::new(|| Err("no defaults yet".to_owned()));
        let server = tokio::spawn(serve(listener, metrics, ready));
        for (path, status, part) in [
            ("/metrics", "200", "# EOF"),
            ("/healthz", "200", "ok"),
            ("/readyz", "503", "no defaults yet"),
            ("/secret", "404", "there is /metrics"),
        ] {
            let answer = get(address, path).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(part), "{answer}");
        }
        server.abort();
    }
}
