//! A real registry on this machine, a wire to it that breaks, and the least that HTTP needs to look into it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// How long a registry may take to begin.
const PATIENCE: Duration = Duration::from_secs(30);
/// Its user with the password "rails-and-more", as `htpasswd -B` writes it.
const USERS: &str = "bob:$2y$05$abcdefghijklmnopqrstuuHspro8.MtWYq2N2D8ljG269diBHvCzK\n";

/// Debian's `docker-registry`; the process ends with this.
pub struct Server {
    pub folder: tempfile::TempDir,
    child: Child,
    address: (&'static str, u16),
}

/// What came back.
pub struct Answer {
    pub status: u16,
    pub headers: String,
    pub body: Vec<u8>,
}

impl Server {
    /// Starts one that everybody may use.
    pub fn start(port: u16) -> Result<Self> {
        Self::with(("127.0.0.1", port), "", "")
    }

    /// Starts one that only bob may use.
    pub fn for_bob(port: u16) -> Result<Self> {
        let users = "auth: {htpasswd: {realm: stages, path: USERS}}\n";
        Self::with(("127.0.0.1", port), users, "")
    }

    /// Starts one at another address, which is known by a certificate; that of its authority lies in `authority.pem`.
    pub fn with_certificate(address: (&'static str, u16)) -> Result<Self> {
        Self::with(address, "", ", tls: {certificate: CERTIFICATE, key: KEY}")
    }

    fn with(address: (&'static str, u16), more: &str, tls: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        if !tls.is_empty() {
            certify(folder.path(), address.0)?;
        }
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(folder.path().join("users"), USERS)?;
        let configuration = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: {}:{}{}}}\n{}",
            path("data"),
            address.0,
            address.1,
            tls.replace("CERTIFICATE", &path("certificate.pem")).replace("KEY", &path("key.pem")),
            more.replace("USERS", &path("users"))
        );
        fs::write(folder.path().join("config.yml"), configuration)?;
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(folder.path().join("config.yml")).stdin(Stdio::null());
        command.stdout(fs::File::create(folder.path().join("log"))?).stderr(Stdio::null());
        let child = command.spawn().context("cannot start docker-registry; cargo xtask test says what is missing")?;
        let server = Self { folder, child, address };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            let log = || fs::read_to_string(server.folder.path().join("log")).unwrap_or_default();
            ensure!(begun.elapsed() < PATIENCE, "the registry does not begin: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// A name for this stage in it.
    pub fn reference(&self, rest: &str) -> String {
        format!("{}:{}/{rest}", self.address.0, self.address.1)
    }

    /// Where a blob lies.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let blobs = self.folder.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }

    /// Asks it something.
    pub fn ask(&self, method: &str, path: &str, content_type: &str, body: &[u8]) -> Result<Answer> {
        let mut stream = TcpStream::connect(self.address)?;
        let kinds = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAccept: {kinds}\r\n\
             Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").context("an answer has a head")?;
        let headers = String::from_utf8(answer[..end].to_vec())?;
        let status = headers.split_whitespace().nth(1).context("an answer has a status")?.parse()?;
        Ok(Answer { status, headers, body: answer[end + 4..].to_vec() })
    }

    /// The manifest under a tag or digest.
    pub fn manifest(&self, repository: &str, name: &str) -> Result<Value> {
        let answer = self.ask("GET", &format!("/v2/{repository}/manifests/{name}"), "", b"")?;
        ensure!(answer.status == 200, "{}", answer.headers);
        Ok(serde_json::from_slice(&answer.body)?)
    }

    /// Puts a blob into it; its digest.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> Result<String> {
        let digest = format!("sha256:{}", coordinator_core::guest::Digest::of(bytes));
        let begun = self.ask("POST", &format!("/v2/{repository}/blobs/uploads/"), "", b"")?;
        let location = begun.headers.lines().find_map(|line| line.strip_prefix("Location: ")).context("a location")?;
        let path = location.split_once("127.0.0.1").map_or(location, |(_, path)| path);
        let put = self.ask("PUT", &format!("{path}&digest={digest}"), "application/octet-stream", bytes)?;
        ensure!(put.status == 201, "{}", put.headers);
        Ok(digest)
    }

    /// Puts a manifest into it.
    pub fn put_manifest(&self, repository: &str, tag: &str, manifest: &Value) -> Result<()> {
        let kind = manifest["mediaType"].as_str().context("a manifest has a media type")?;
        let path = format!("/v2/{repository}/manifests/{tag}");
        let put = self.ask("PUT", &path, kind, manifest.to_string().as_bytes())?;
        ensure!(put.status == 201, "{} {}", put.headers, String::from_utf8_lossy(&put.body));
        Ok(())
    }
}

/// An authority, and its certificate for an address.
fn certify(folder: &Path, address: &str) -> Result<()> {
    let make = |words: &str| -> Result<()> {
        let begin = "req -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1";
        let mut openssl = Command::new("openssl");
        openssl.current_dir(folder).args(begin.split(' ').chain(words.split(' '))).stderr(Stdio::null());
        let status = openssl.status().context("cannot start openssl; cargo xtask test says what is missing")?;
        ensure!(status.success(), "openssl {words}: {status}");
        Ok(())
    };
    make("-subj /CN=lab -keyout authority.key -out authority.pem")?;
    make(&format!(
        "-subj /CN=registry -keyout key.pem -out certificate.pem -CA authority.pem -CAkey authority.key \
         -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=IP:{address}"
    ))
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Which way a wire breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// What is sent to the registry.
    Up,
    /// What comes from it.
    Down,
}

/// A wire from port to port of this machine; each connection breaks after so many bytes in one direction.
pub fn breaking_wire(from: u16, to: u16, way: Way, after: u64) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", from))?;
    // The threads end with the test's namespace, at the latest with its process.
    std::thread::spawn(move || {
        while let Ok((near, _)) = listener.accept() {
            let Ok(far) = TcpStream::connect(("127.0.0.1", to)) else { return };
            for (here, there, is_broken) in [(&near, &far, way == Way::Up), (&far, &near, way == Way::Down)] {
                let (Ok(mut here), Ok(mut there)) = (here.try_clone(), there.try_clone()) else { return };
                std::thread::spawn(move || {
                    let limit = if is_broken { after } else { u64::MAX };
                    drop(std::io::copy(&mut (&mut here).take(limit), &mut there));
                    // At its end nothing goes either way any more, whatever was to come.
                    drop((here.shutdown(Shutdown::Both), there.shutdown(Shutdown::Both)));
                });
            }
        }
    });
    Ok(())
}
