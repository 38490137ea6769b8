//! `cargo xtask apiserver`: the agent's tests before Kubernetes' own machinery instead of the stand-in.
//!
//! Debian has Kubernetes' libraries in its unstable suite, and not kube-apiserver: `tests/apiserver/kubernetes/main.go`
//! makes a server of them. Packages are fetched with a state of apt's own and unpacked below the target directory;
//! nothing is installed. This takes 5 GB and the first time ten minutes, so no other subcommand does it.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    need::Job,
    setup,
    workspace::{self, cargo},
};

/// What is unpacked, with what it depends on.
const PACKAGES: [&str; 7] = [
    "etcd-server",
    "golang-go",
    "golang-k8s-apiextensions-apiserver-dev",
    "golang-k8s-apiserver-dev",
    "golang-k8s-kube-openapi-dev",
    "golang-etcd-server-dev",
    "kubectl",
];
const SUITE: &str = "sid";
/// The packages whose types the server describes.
const TYPES: [&str; 12] = [
    "k8s.io/api/apps/v1",
    "k8s.io/api/autoscaling/v1",
    "k8s.io/api/coordination/v1",
    "k8s.io/api/core/v1",
    "k8s.io/api/networking/v1",
    "k8s.io/api/networking/v1beta1",
    "k8s.io/api/rbac/v1",
    "k8s.io/apimachinery/pkg/api/resource",
    "k8s.io/apimachinery/pkg/apis/meta/v1",
    "k8s.io/apimachinery/pkg/runtime",
    "k8s.io/apimachinery/pkg/util/intstr",
    "k8s.io/apimachinery/pkg/version",
];

/// A program that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Builds and starts the server, and runs the tests; arguments go to `cargo test`.
pub fn run(arguments: &[String]) -> Result<()> {
    let folder = workspace::target()?.join("apiserver");
    fs::create_dir_all(&folder)?;
    let root = folder.join("root");
    if !root.exists() {
        unpack(&folder, &root)?;
    }
    let server = build(&folder, &root)?;
    setup::provide(Job::Manifests)?;
    // Some tests execute the plugin.
    workspace::run(cargo().args(["build", "--package", "coordinator"]))?;

    let data = folder.join("run");
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    fs::create_dir_all(&data)?;
    let url = format!("http://127.0.0.1:{}", free_port()?);
    let peers = format!("http://127.0.0.1:{}", free_port()?);
    let mut etcd = Command::new(root.join("usr/bin/etcd"));
    etcd.arg("--data-dir").arg(data.join("etcd")).args(["--unsafe-no-fsync", "--log-level=error"]);
    etcd.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
    etcd.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
    etcd.args(["--initial-cluster", &format!("default={peers}")]);
    let _etcd = start(&mut etcd, &data.join("etcd.log"))?;

    let port = free_port()?.to_string();
    fs::write(data.join("tokens"), "secret,admin,1,\"system:masters\"\n")?;
    let mut api = Command::new(server);
    api.args(["-port", &port, "-etcd", &url, "-tokens"]).arg(data.join("tokens"));
    api.arg("-certificates").arg(data.join("certificates"));
    let log = data.join("apiserver.log");
    let _api = start(&mut api, &log)?;
    let kubeconfig = data.join("kubeconfig");
    fs::write(&kubeconfig, kubeconfig_text(&port))?;
    wait(&root.join("usr/bin/kubectl"), &kubeconfig).with_context(|| format!("see {}", log.display()))?;
    workspace::run(
        cargo().args(["test", "--package", "coordinator-agent"]).args(arguments).env("KUBECONFIG", kubeconfig),
    )
}

fn kubeconfig_text(port: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters: [{{name: c, cluster: {{server: \"https://127.0.0.1:{port}\", insecure-skip-tls-verify: true}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{token: secret}}}}]\n"
    )
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn start(command: &mut Command, log: &Path) -> Result<Running> {
    let log = fs::File::create(log)?;
    let shown = workspace::shown(command);
    let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
    Ok(Running(child.with_context(|| format!("cannot run {shown}"))?))
}

fn wait(kubectl: &Path, kubeconfig: &Path) -> Result<()> {
    for _ in 0..60 {
        let mut asked = Command::new(kubectl);
        asked.arg("--kubeconfig").arg(kubeconfig).args(["get", "--raw", "/readyz"]);
        if asked.stdout(Stdio::null()).stderr(Stdio::null()).status()?.success() {
            return Ok(());
        }
        thread::sleep(Duration::from_secs(1));
    }
    bail!("the API server is not ready in a minute")
}

/// What a program says.
fn said(command: &mut Command) -> Result<String> {
    let shown = workspace::shown(command);
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot run {shown}"))?;
    if !output.status.success() {
        bail!("{shown}: {}", output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Fetches the packages from the mirror that the machine itself uses, and unpacks them.
fn unpack(folder: &Path, root: &Path) -> Result<()> {
    let sites =
        said(Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]))?;
    let mirror = sites.lines().find(|site| site.ends_with("/debian/")).context("apt knows no mirror of Debian")?;
    let (state, packages) = (folder.join("apt"), folder.join("packages"));
    for part in ["lists/partial", "archives/partial"] {
        fs::create_dir_all(state.join(part))?;
    }
    fs::create_dir_all(&packages)?;
    fs::write(state.join("sources.list"), format!("deb {mirror} {SUITE} main\n"))?;
    fs::write(state.join("status"), "")?;
    let at = state.display();
    let configuration = format!(
        "Dir::Etc::SourceList \"{at}/sources.list\";\nDir::Etc::SourceParts \"/dev/null\";\nDir::State::Lists \"{at}/lists\";\n\
         Dir::State::status \"{at}/status\";\nDir::Cache \"{at}\";\nDir::Cache::archives \"{at}/archives\";\n"
    );
    fs::write(state.join("apt.conf"), configuration)?;
    let apt = |words: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.args(words).env("APT_CONFIG", state.join("apt.conf")).current_dir(&packages);
        apt
    };
    workspace::run(&mut apt(&["--quiet", "update"]))?;
    let plan = said(apt(&["install", "--simulate", "--no-install-recommends"]).args(PACKAGES))?;
    // Libraries of Go are sources; the system's own libraries are there.
    let names = plan.lines().filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next());
    let names: Vec<&str> = names.filter(|name| name.starts_with("golang-") || PACKAGES.contains(name)).collect();
    workspace::run(apt(&["--quiet", "download"]).args(names).stdout(Stdio::null()))?;
    let unpacked = folder.join("unpacked");
    for package in fs::read_dir(&packages)? {
        let mut dpkg = Command::new("dpkg-deb");
        workspace::run(dpkg.arg("--extract").arg(package?.path()).arg(&unpacked))?;
    }
    fs::remove_dir_all(&packages)?;
    fs::rename(unpacked, root)?;
    Ok(())
}

/// Builds the server; returns where it is.
fn build(folder: &Path, root: &Path) -> Result<PathBuf> {
    let source = folder.join("go/src/apiserver");
    let types = source.join("openapi");
    fs::create_dir_all(&types)?;
    fs::copy(workspace::root().join("tests/apiserver/kubernetes/main.go"), source.join("main.go"))?;
    let goroot = root.join("usr/lib/go");
    let prepared = |program: PathBuf| {
        let mut command = Command::new(program);
        let path = format!("{}:{}", folder.join("go").display(), root.join("usr/share/gocode").display());
        let search = format!("{}/bin:{}", goroot.display(), std::env::var("PATH").unwrap_or_default());
        command.env("GOROOT", &goroot).env("GOPATH", path).env("GO111MODULE", "off").env("CGO_ENABLED", "0");
        command.env("GOCACHE", folder.join("cache")).env("GOTOOLCHAIN", "local").env("PATH", search);
        command.current_dir(&source);
        command
    };
    let go = || prepared(goroot.join("bin/go"));
    if !types.join("generated.go").exists() {
        let generator = folder.join("openapi-gen");
        workspace::run(go().arg("build").arg("-o").arg(&generator).arg("k8s.io/kube-openapi/cmd/openapi-gen"))?;
        fs::write(types.join("doc.go"), "package openapi\n")?;
        let mut generate = prepared(generator);
        generate.arg("--output-dir").arg(&types).args(["--output-pkg", "apiserver/openapi"]);
        generate.args(["--output-file", "generated.go", "--report-filename"]).arg(folder.join("violations"));
        workspace::run(generate.args(TYPES))?;
    }
    let server = folder.join("kube-machinery");
    workspace::run(go().args(["build", "-o"]).arg(&server).arg("apiserver"))?;
    Ok(server)
}
