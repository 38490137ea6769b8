//! Spiderpool's agent: one HTTP request on a unix socket, `GET /v1/coordinator/config`.
//!
//! It is spoken by hand, since one request to a local socket is all there is: no client library, no
//! keep-alive, no redirects, no TLS. The whole exchange ends after [`PATIENCE`], whatever the other
//! side does, and never reads more than [`super::LIMIT`].

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    sync::mpsc,
    time::Duration,
};

use serde_json::{Map, Value, json};

/// How long the exchange may take, from connecting to the last byte.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// The Pod for which the agent is asked; it looks up the Pod's annotation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pod<'a> {
    /// Its namespace, or empty.
    pub namespace: &'a str,
    /// Its name, or empty.
    pub name: &'a str,
}

/// What is wrong with the agent or its answer.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Nobody listens, or the exchange broke off.
    #[error("cannot talk to it")]
    Io(#[from] io::Error),
    /// It took too long.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Timeout,
    /// More than anybody should say.
    #[error("its answer is larger than {} bytes", super::LIMIT)]
    TooLarge,
    /// Not HTTP/1.
    #[error("its answer is not HTTP: {0}")]
    Http(&'static str),
    /// It says no.
    #[error("it answers {status}: {text}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// The agent's own words.
        text: String,
    },
    /// The body is not what was asked for.
    #[error("its answer is not a JSON object")]
    Json(#[source] Option<serde_json::Error>),
}

/// Asks for the defaults; `None` when there is no socket.
pub(super) fn ask(socket: &Path, pod: Pod<'_>) -> Result<Option<Map<String, Value>>, AgentError> {
    ask_within(socket, pod, PATIENCE)
}

fn ask_within(socket: &Path, pod: Pod<'_>, patience: Duration) -> Result<Option<Map<String, Value>>, AgentError> {
    // Most nodes have no such agent: then no thread is started.
    if !socket.try_exists()? {
        return Ok(None);
    }
    // Connecting to a unix socket whose queue is full blocks without a limit, so another thread
    // does it. When it is late it is left behind; the process ends soon after.
    let (socket, request) = (socket.to_owned(), request(pod));
    let (sender, receiver) = mpsc::sync_channel(1);
    let exchange = move || {
        let _ = sender.send(exchange(&socket, &request, patience));
    };
    std::thread::Builder::new().name("agent".to_owned()).spawn(exchange)?;
    let Some(response) = receiver.recv_timeout(patience).map_err(|_| AgentError::Timeout)?? else { return Ok(None) };
    match response.status {
        200 => match serde_json::from_slice(&response.body) {
            Ok(Value::Object(defaults)) => Ok(Some(defaults)),
            Ok(_) => Err(AgentError::Json(None)),
            Err(error) => Err(AgentError::Json(Some(error))),
        },
        status => Err(AgentError::Status { status, text: said(&response.body) }),
    }
}

fn request(pod: Pod<'_>) -> Vec<u8> {
    let body = json!({"podName": pod.name, "podNamespace": pod.namespace}).to_string();
    let head = format!(
        "GET /v1/coordinator/config HTTP/1.1\r\nHost: localhost\r\nUser-Agent: coordinator\r\nAccept: application/json\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body.into_bytes()].concat()
}

/// The agent's error in its own words: a JSON string, or plain text.
fn said(body: &[u8]) -> String {
    let text = match serde_json::from_slice(body) {
        Ok(Value::String(text)) => text,
        _ => String::from_utf8_lossy(body).trim().to_owned(),
    };
    let short: String = text.chars().filter(|c| !c.is_control()).take(500).collect();
    if short.is_empty() { "no reason given".to_owned() } else { short }
}

fn exchange(socket: &Path, request: &[u8], patience: Duration) -> Result<Option<Response>, AgentError> {
    let mut stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(request)?;
    let limit = usize::try_from(super::LIMIT).unwrap_or(usize::MAX);
    let mut received = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let count = match stream.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            outcome => outcome?,
        };
        received.extend_from_slice(chunk.get(..count).unwrap_or_default());
        if received.len() > limit {
            return Err(AgentError::TooLarge);
        }
        if let Some(response) = Response::parse(&received, count == 0)? {
            return Ok(Some(response));
        }
    }
}

/// A whole answer.
#[derive(Debug, PartialEq, Eq)]
struct Response {
    status: u16,
    body: Vec<u8>,
}

/// How a body's end is known (RFC 9112 section 6.3).
enum Framing {
    Chunked,
    Length(usize),
    UntilClose,
}

impl Response {
    /// The answer in `received`; `None` when more must come.
    fn parse(received: &[u8], closed: bool) -> Result<Option<Self>, AgentError> {
        let Some((head, rest)) = split_at(received, b"\r\n\r\n") else {
            return if closed { Err(AgentError::Http("it ends within the head")) } else { Ok(None) };
        };
        let head = std::str::from_utf8(head).map_err(|_| AgentError::Http("the head is not text"))?;
        let mut lines = head.split("\r\n");
        let status = status_of(lines.next().unwrap_or_default())?;
        if (100..200).contains(&status) {
            // An interim answer; the real one follows.
            return Self::parse(rest, closed);
        }
        let body = match framing_of(lines)? {
            Framing::Chunked => dechunked(rest)?,
            Framing::Length(length) => rest.get(..length).map(<[u8]>::to_vec),
            Framing::UntilClose => closed.then(|| rest.to_vec()),
        };
        match body {
            Some(body) => Ok(Some(Self { status, body })),
            None if closed => Err(AgentError::Http("it ends within the body")),
            None => Ok(None),
        }
    }
}

fn split_at<'b>(bytes: &'b [u8], mark: &[u8]) -> Option<(&'b [u8], &'b [u8])> {
    let at = bytes.windows(mark.len()).position(|window| window == mark)?;
    let (head, rest) = bytes.split_at_checked(at)?;
    Some((head, rest.get(mark.len()..)?))
}

fn status_of(line: &str) -> Result<u16, AgentError> {
    let mut words = line.split(' ');
    let is_http = words.next().is_some_and(|version| version.starts_with("HTTP/1."));
    let status = words.next().filter(|word| word.len() == 3).and_then(|word| word.parse().ok());
    status.filter(|status| is_http && (100..600).contains(status)).ok_or(AgentError::Http("there is no status line"))
}

fn framing_of<'l>(lines: impl Iterator<Item = &'l str>) -> Result<Framing, AgentError> {
    let mut framing = Framing::UntilClose;
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(AgentError::Http("a header has no colon"))?;
        if name.eq_ignore_ascii_case("transfer-encoding") && value.to_ascii_lowercase().contains("chunked") {
            return Ok(Framing::Chunked);
        }
        if name.eq_ignore_ascii_case("content-length") {
            let length = value.trim().parse().map_err(|_| AgentError::Http("Content-Length is no number"))?;
            framing = Framing::Length(length);
        }
    }
    Ok(framing)
}

/// The joined chunks; `None` when the last one has not come.
fn dechunked(mut rest: &[u8]) -> Result<Option<Vec<u8>>, AgentError> {
    let mut body = Vec::new();
    loop {
        let Some((line, after)) = split_at(rest, b"\r\n") else { return Ok(None) };
        let wrong = || AgentError::Http("a chunk has no size");
        let line = std::str::from_utf8(line).map_err(|_| wrong())?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(digits, 16).map_err(|_| wrong())?;
        if size == 0 {
            return Ok(Some(body));
        }
        let Some((chunk, after)) = after.split_at_checked(size) else { return Ok(None) };
        body.extend_from_slice(chunk);
        match after {
            [b'\r', b'\n', after @ ..] => rest = after,
            [] | [b'\r'] => return Ok(None),
            _ => return Err(AgentError::Http("a chunk is longer than it says")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{os::unix::net::UnixListener, time::Instant};

    const OK: &str = "HTTP/1.1 200 OK\r\n";

    #[test]
    fn answers_of_every_framing_are_read_and_half_ones_waited_for() {
        for answer in [
            format!("{OK}Content-Length: 2\r\n\r\n{{}}"),
            format!("{OK}content-length:2\r\nX: y\r\n\r\n{{}}trailing"),
            format!("{OK}Transfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n1;x=y\r\n}}\r\n0\r\n\r\n"),
            format!("HTTP/1.1 100 Continue\r\n\r\n{OK}Content-Length: 2\r\n\r\n{{}}"),
        ] {
            let whole = Response::parse(answer.as_bytes(), false).unwrap().unwrap();
            assert_eq!((whole.status, whole.body.as_slice()), (200, b"{}".as_slice()), "{answer}");
            let needed = answer.len()
                - if answer.contains("trailing") { 8 } else { 0 }
                - if answer.contains("chunked") { 2 } else { 0 };
            for cut in 0..needed {
                assert_eq!(Response::parse(&answer.as_bytes()[..cut], false).unwrap(), None, "{answer} cut at {cut}");
                assert!(Response::parse(&answer.as_bytes()[..cut], true).is_err(), "{answer} closed at {cut}");
            }
        }
        let open = format!("{OK}\r\n{{}}");
        assert_eq!(Response::parse(open.as_bytes(), false).unwrap(), None);
        assert_eq!(Response::parse(open.as_bytes(), true).unwrap().unwrap().body, b"{}");
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for bad in [
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 \r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        ] {
            assert!(matches!(Response::parse(bad.as_bytes(), false), Err(AgentError::Http(_))), "{bad}");
        }
    }

    /// Serves one connection: reads the request, answers, and returns what was asked.
    fn served(answer: Vec<u8>, patience: Duration) -> (Result<Option<Map<String, Value>>, AgentError>, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            let mut byte = [0];
            while !asked.ends_with(b"}") && stream.read(&mut byte).unwrap() == 1 {
                asked.push(byte[0]);
            }
            let _ = stream.write_all(&answer);
            // Held open: the answer's own length must end the exchange.
            std::thread::sleep(Duration::from_millis(300));
            String::from_utf8(asked).unwrap()
        });
        let pod = Pod { namespace: "default", name: "p\"1" };
        let outcome = ask_within(&path, pod, patience);
        (outcome, server.join().unwrap())
    }

    #[test]
    fn the_agent_is_asked_for_the_pod() {
        let body = r#"{"mode":"underlay"}"#;
        let answer = format!("{OK}Content-Length: {}\r\n\r\n{body}", body.len());
        let begun = Instant::now();
        let (outcome, asked) = served(answer.into_bytes(), PATIENCE);
        assert_eq!(outcome.unwrap().unwrap().get("mode"), Some(&json!("underlay")));
        assert!(begun.elapsed() < PATIENCE);
        let (head, body) = asked.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("GET /v1/coordinator/config HTTP/1.1\r\n"));
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body, json!({"podName": "p\"1", "podNamespace": "default"}));
    }

    #[test]
    fn a_failing_agent_is_an_error_in_its_own_words() {
        let no = "HTTP/1.1 500 x\r\nContent-Length: 20\r\n\r\n\"coordinator: later\"";
        let cases = [
            (no.as_bytes().to_vec(), "it answers 500: coordinator: later"),
            (b"HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n".to_vec(), "it answers 404: no reason given"),
            (format!("{OK}Content-Length: 2\r\n\r\n[]").into_bytes(), "its answer is not a JSON object"),
            (format!("{OK}Content-Length: 1\r\n\r\n{{").into_bytes(), "its answer is not a JSON object"),
            (vec![b'x'; 70_000], "its answer is larger than 65536 bytes"),
        ];
        for (answer, expected) in cases {
            let (outcome, _) = served(answer, PATIENCE);
            assert_eq!(outcome.unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn a_silent_agent_costs_the_patience_and_no_more() {
        let begun = Instant::now();
        let (outcome, _) = served(Vec::new(), Duration::from_millis(100));
        assert!(matches!(outcome, Err(AgentError::Timeout | AgentError::Io(_))), "{outcome:?}");
        assert!(begun.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn no_socket_means_no_agent_and_a_dead_one_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        assert!(matches!(ask(&path, Pod::default()), Ok(None)));
        assert!(matches!(ask(&directory.path().join("no/such"), Pod::default()), Ok(None)));
        drop(UnixListener::bind(&path).unwrap());
        let error = ask(&path, Pod::default()).unwrap_err();
        assert!(
            matches!(&error, AgentError::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused),
            "{error:?}"
        );
    }
}
