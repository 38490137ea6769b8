//! Where the plugin's reports arrive: a unix socket that only root reaches, and only root is heard on.
//!
//! The plugin waits a tenth of a second at most, so a report is acknowledged as soon as it is understood; what follows
//! from it takes its time afterwards.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    time::timeout,
};
use tracing::{debug, warn};

use coordinator_core::conflict_report::{ConflictReport, PATH};

use super::{Desk, parse};

/// How long a client may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most that a request may hold, bytes.
const LIMIT: usize = 64 * 1024;
/// The most reports at work at once: each asks the API.
const AT_WORK: usize = 8;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {path}: {source}")]
pub struct SocketError {
    path: PathBuf,
    source: io::Error,
}

/// Makes the socket in a directory of root's; one that an earlier agent left is replaced.
///
/// # Errors
/// The directory or the socket cannot be made.
pub fn bind(path: &Path) -> Result<UnixListener, SocketError> {
    let failed = |source| SocketError { path: path.to_owned(), source };
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// Takes reports for ever; `owner` is the user who is heard, root.
pub async fn serve(listener: UnixListener, desk: Arc<Desk>, owner: u32) {
    let places = Arc::new(Semaphore::new(AT_WORK));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Too many open files, for one: it passes.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let peer = stream.peer_cred().map(|peer| peer.uid());
        if !peer.as_ref().is_ok_and(|uid| *uid == owner) {
            warn!(?peer, "A report of somebody who is not root is not heard.");
            continue;
        }
        let (desk, places) = (Arc::clone(&desk), Arc::clone(&places));
        tokio::spawn(async move {
            let taken = timeout(PATIENCE, take(stream, places.available_permits() > 0)).await;
            if let Ok(Ok(Some(report))) = taken
                && let Ok(_place) = places.acquire().await
            {
                desk.handle(&report).await;
            }
        });
    }
}

/// Reads a request and answers it; the report, when it is one.
async fn take(mut stream: UnixStream, has_place: bool) -> io::Result<Option<ConflictReport>> {
    let parsed = match read(&mut stream).await? {
        Ok(_) if !has_place => Err((503, "too many reports at once".to_owned())),
        Ok(body) => parse(&body).map_err(|error| (400, error)),
        Err(refusal) => Err(refusal),
    };
    let (status, text) = match &parsed {
        Ok(_) => ("202 Accepted".to_owned(), String::new()),
        Err((code, reason)) => {
            debug!(code, reason, "Not a report.");
            (format!("{code} Refused"), format!("{reason}\n"))
        }
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
    // A plugin that went away has reported all the same.
    let _ = stream.write_all(answer.as_bytes()).await;
    Ok(parsed.ok())
}

/// The body of a request, or what is wrong with it.
async fn read(stream: &mut UnixStream) -> io::Result<Result<Vec<u8>, (u16, String)>> {
    let mut received = Vec::new();
    let mut chunk = [0; 4096];
    let refused = |code: u16, reason: &str| Ok(Err((code, reason.to_owned())));
    loop {
        let length = stream.read(&mut chunk).await?;
        received.extend_from_slice(chunk.get(..length).unwrap_or_default());
        if received.len() > LIMIT {
            return refused(413, "the request is too large");
        }
        let end = received.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some((head, body)) = end.and_then(|end| received.split_at_checked(end.saturating_add(4))) {
            let head = String::from_utf8_lossy(head).into_owned();
            let mut words = head.split(' ');
            match (words.next(), words.next()) {
                (Some("POST"), Some(PATH)) => {}
                _ => return refused(404, "there is only POST /v1/conflicts"),
            }
            let value = head.lines().filter_map(|line| line.split_once(':'));
            let value = value.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            let expected = value.filter_map(|(_, value)| value.trim().parse::<usize>().ok()).next();
            let Some(expected) = expected else { return refused(411, "Content-Length is missing") };
            if let Some(body) = body.get(..expected) {
                return Ok(Ok(body.to_vec()));
            }
        }
        if length == 0 {
            return refused(400, "the request ends too early");
        }
    }
}
