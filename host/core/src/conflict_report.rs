//! Tells the node's agent of an address conflict: one HTTP request, `POST /v1/conflicts`, on its unix socket.
//!
//! The agent can do what a plugin should not: release the Pod's addresses and write an Event. It is told when it is
//! there and at best effort: an ADD that has failed is not held up for longer than [`PATIENCE`], whatever the agent does.

use std::{
    io::{self, Read as _, Write as _},
    net::IpAddr,
    os::unix::net::UnixStream,
    path::Path,
    sync::mpsc,
    time::Duration,
};

use coordinator_sdk::{ContainerId, Finding, InterfaceName, Mac, Request};
use serde::{Deserialize, Serialize};
use tracing::debug;

/// Where our agent listens; only root can reach it.
pub const SOCKET: &str = "/run/coordinator-agent/agent.sock";
/// What is asked for.
pub const PATH: &str = "/v1/conflicts";
/// The most that a failed ADD is held up.
pub const PATIENCE: Duration = Duration::from_millis(100);
/// The version of the message.
const VERSION: u32 = 1;

/// What the agent is told, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConflictReport {
    /// 1; another number means that fields mean something else.
    pub version: u32,
    /// The container.
    pub container: ContainerId,
    /// Its interface.
    pub interface: InterfaceName,
    /// The network's name.
    pub network: String,
    /// The Pod's namespace, or empty.
    pub pod_namespace: String,
    /// The Pod's name, or empty.
    pub pod_name: String,
    /// The Pod's uid, or empty.
    pub pod_uid: String,
    /// Every address that another host uses.
    pub conflicts: Vec<Conflict>,
}

/// An address that another host uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The address.
    pub ip: IpAddr,
    /// The other host, when it said so itself.
    pub mac: Option<Mac>,
}

impl ConflictReport {
    /// The report of an attachment; none when there is nothing to report.
    pub fn new<'f>(request: &Request, conflicts: impl Iterator<Item = &'f Finding>) -> Option<Self> {
        let conflicts: Vec<Conflict> =
            conflicts.map(|finding| Conflict { ip: finding.probe.target, mac: finding.mac }).collect();
        (!conflicts.is_empty()).then(|| Self {
            version: VERSION,
            container: request.container.clone(),
            interface: request.interface.clone(),
            network: request.network.clone(),
            pod_namespace: request.pod_namespace.clone(),
            pod_name: request.pod_name.clone(),
            pod_uid: request.pod_uid.clone(),
            conflicts,
        })
    }

    /// Sends it; nothing happens when nobody listens.
    pub fn send(&self, socket: &Path) {
        if !socket.exists() {
            return;
        }
        match self.try_send(socket) {
            Ok(answer) => debug!(%answer, "Told the agent of the conflict."),
            Err(error) => debug!(%error, "The agent could not be told of the conflict."),
        }
    }

    fn try_send(&self, socket: &Path) -> io::Result<String> {
        let body = serde_json::to_string(self)?;
        let request = format!(
            "POST {PATH} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: coordinator\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        // Connecting to a unix socket whose queue is full blocks without a limit, so another thread does it.
        let socket = socket.to_owned();
        let (sender, receiver) = mpsc::sync_channel(1);
        let exchange = move || {
            let _ = sender.send(exchange(&socket, request.as_bytes()));
        };
        std::thread::Builder::new().name("agent".to_owned()).spawn(exchange)?;
        receiver.recv_timeout(PATIENCE).map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}

/// The answer's first line: a server may drop the work of a client that has gone away before.
fn exchange(socket: &Path, request: &[u8]) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(request)?;
    let mut answer = [0; 256];
    let length = stream.read(&mut answer)?;
    let text = String::from_utf8_lossy(answer.get(..length).unwrap_or_default()).into_owned();
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, time::Instant};

    use coordinator_sdk::{Device, OnFinding, Outcome, Probe, ProbeKind};

    use super::*;

    fn report() -> ConflictReport {
        let probe = Probe {
            kind: ProbeKind::Address,
            device: Device::pod("eth0"),
            target: [10, 6, 2, 20].into(),
            retries: 3,
            interval_ms: 10,
            timeout_ms: 100,
            on_finding: OnFinding::Refuse,
        };
        let mac = Some(Mac([2, 0, 0, 0, 0, 9]));
        let finding = Finding { probe, outcome: Outcome::Conflict, mac };
        let request = Request { pod_namespace: "ns".to_owned(), pod_name: "p".to_owned(), ..Request::default() };
        assert_eq!(ConflictReport::new(&request, [].into_iter()), None);
        ConflictReport::new(&request, [&finding].into_iter()).unwrap()
    }

    #[test]
    fn the_agent_gets_the_report_as_json() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut received = String::new();
            while !received.contains("]}") {
                let mut chunk = [0; 1024];
                let length = stream.read(&mut chunk).unwrap();
                received.push_str(std::str::from_utf8(&chunk[..length]).unwrap());
            }
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
            received
        });
        assert_eq!(report().try_send(&path).unwrap(), "HTTP/1.1 204 No Content");
        let received = server.join().unwrap();
        let (head, body) = received.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /v1/conflicts HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        assert_eq!(serde_json::from_str::<ConflictReport>(body).unwrap(), report());
        assert!(body.contains(r#""podNamespace":"ns","podName":"p""#), "{body}");
        assert!(body.contains(r#""conflicts":[{"ip":"10.6.2.20","mac":"02:00:00:00:00:09"}]"#), "{body}");
    }

    #[test]
    fn an_agent_that_hangs_or_is_not_there_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        report().send(&path);
        let _silent = UnixListener::bind(&path).unwrap();
        let begun = Instant::now();
        assert!(report().try_send(&path).is_err());
        // The contract's 100 ms, and room for a busy machine.
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
}
