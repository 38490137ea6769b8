//! `coordinator-agent`: the roles and the installation, one word each.

#![forbid(unsafe_code)]

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use coordinator_agent::{guests::Guests, install, options::Options, run};
use coordinator_objects::crd;

/// Where a container's image has the files to install.
const IMAGE: &str = "/usr/share/coordinator";

const USAGE: &str = "\
usage: coordinator-agent node        write the node's defaults, care for its attachments, answer metrics
       coordinator-agent lead        lead, or stand ready: SpiderCoordinator's status, networks' definitions
       coordinator-agent install     put plugin, pipelines and guests on the node
       coordinator-agent uninstall   take them away again, when no Pod needs them any more
       coordinator-agent idle        do nothing until stopped, as a DaemonSet's Pod must after uninstalling
       coordinator-agent crds        print the CustomResourceDefinitions; --before-1.31 without address functions

The environment says the rest: docs/agent.md lists the variables.";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let options = match Options::read(|name| std::env::var(name).ok()) {
        Ok(options) => options,
        Err(wrong) => return failed(&wrong.join("\n")),
    };
    tracing_subscriber::fmt()
        .with_max_level(options.log)
        .with_ansi(false)
        .with_target(false)
        .with_writer(std::io::stderr)
        .init();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["node"] => until_stopped(run::node(&options, || install_all(&options))),
        ["lead"] => until_stopped(run::lead(&options)),
        ["install"] => install_all(&options),
        ["uninstall"] => uninstall(&options),
        ["idle"] => until_stopped(run::idle()),
        ["crds"] => print_definitions(true),
        ["crds", "--before-1.31"] => print_definitions(false),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => failed(&reason),
    }
}

fn failed(reason: &str) -> ExitCode {
    eprintln!("coordinator-agent: {reason}");
    ExitCode::FAILURE
}

/// One thread is enough: what blocks has threads of its own.
fn until_stopped(role: impl Future<Output = Result<(), run::RunError>>) -> Result<(), String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(role).map_err(|error| error.to_string())
}

/// A place as the container sees it.
fn on_node(variable: &str, usual: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| PathBuf::from(usual), PathBuf::from)
}

fn plugin() -> PathBuf {
    on_node("COORDINATOR_CNI_BIN", "/opt/cni/bin").join("coordinator")
}

fn pipelines() -> PathBuf {
    on_node("COORDINATOR_PIPELINES", coordinator_core::pipeline::DIRECTORY)
}

fn guests(options: &Options) -> Guests {
    Guests {
        tool: image().join("bin/coordinatorctl"),
        mounted: image().join("stages"),
        references: options.guests.clone(),
        pulled: on_node("COORDINATOR_PULLED", "/var/lib/coordinator/pulled"),
        folder: on_node("COORDINATOR_STAGES", "/opt/coordinator/stages"),
        artefacts: on_node("COORDINATOR_ARTEFACTS", coordinator_core::guest::DIRECTORY),
    }
}

fn image() -> PathBuf {
    on_node("COORDINATOR_IMAGE", IMAGE)
}

/// Guests, then pipelines that name them, then the plugin that runs both, then what only an older plugin ran.
fn install_all(options: &Options) -> Result<(), String> {
    let guests = guests(options);
    guests.install().map_err(|error| error.to_string())?;
    install_pipelines()?;
    install_plugin()?;
    guests.prune().map_err(|error| error.to_string())
}

fn install_plugin() -> Result<(), String> {
    let source = image().join("bin/coordinator");
    // A role may run where there is nothing to install.
    if !source.exists() {
        return Ok(());
    }
    install::put(&source, &plugin(), 0o755).map(drop).map_err(|error| error.to_string())
}

fn install_pipelines() -> Result<(), String> {
    let source = image().join("pipelines");
    if !source.is_dir() {
        return Ok(());
    }
    let sources = install::with_inner(&source).map_err(|error| error.to_string())?;
    install::put_folder(&sources, &pipelines()).map(drop).map_err(|error| error.to_string())
}

fn uninstall(options: &Options) -> Result<(), String> {
    let text = |error: install::InstallError| error.to_string();
    install::unused(&options.state).map_err(text)?;
    install::take_away(&plugin()).map_err(text)?;
    install::take_away_folder(&pipelines()).map_err(text)?;
    guests(options).uninstall().map_err(text)?;
    for path in [options.defaults.as_path(), &options.calls, &options.socket] {
        remove(path)?;
    }
    let pods = options.defaults.with_file_name(coordinator_core::node_defaults::POD_FOLDER);
    if pods.is_dir() {
        std::fs::remove_dir_all(&pods).map_err(|error| format!("cannot remove {}: {error}", pods.display()))?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), String> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", path.display()))
        }
        _ => Ok(()),
    }
}

fn print_definitions(has_addresses: bool) -> Result<(), String> {
    let mut text = String::new();
    for definition in crd::definitions(has_addresses) {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(&definition).map_err(|error| error.to_string())?);
    }
    std::io::stdout().lock().write_all(text.as_bytes()).map_err(|error| error.to_string())
}
