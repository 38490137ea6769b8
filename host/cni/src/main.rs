//! The CNI plugin: what the container runtime executes. The protocol and nothing else.
//!
//! Result or error go to standard output as JSON, and nothing else does; what happened is in the log.

#![forbid(unsafe_code)]

mod add;
mod call;
mod check;
mod collect;
mod delete;
mod error;
mod log;
mod result;
mod status;
mod version;

use std::{
    io::{self, Read, Write},
    path::Path,
    process::ExitCode,
    time::Instant,
};

use call::{Command, Configuration, Environment};
use coordinator_core::{
    process,
    tally::{self, Call},
};
// The heap and the copying.
use coordinator_memory as _;
use error::{CniError, Code};
use serde_json::{Value, json};
use version::SpecVersion;

/// The most that a configuration may take, bytes; runtimes write a few thousand.
const LIMIT: u64 = 4 << 20;

fn main() -> ExitCode {
    let begun = Instant::now();
    report_panics();
    process::ends_with_its_call();
    let environment = Environment::of_process();
    let text = read_configuration();
    // Errors are given in the caller's version, when that much of the configuration can be read.
    let configuration = text.and_then(|text| Configuration::parse(&text));
    let version = configuration.as_ref().map_or(SpecVersion::LATEST, |configuration| configuration.version);
    let outcome = serve(&environment, configuration);
    let failure = outcome.as_ref().err().map(|error| (error.code.number(), error.message.as_str()));
    if environment.command().is_ok_and(|command| command != Command::Version) {
        Call::new(&environment.command_text(), failure, begun.elapsed()).note(Path::new(tally::FILE));
    }
    match outcome {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(result)) => print(&result),
        Err(error) => {
            tracing::error!(code = error.code.number(), "{}", error.message);
            print(&error.to_json(version));
            ExitCode::FAILURE
        }
    }
}

/// Serves the call; what is to be printed, if anything is.
fn serve(environment: &Environment, configuration: Result<Configuration, CniError>) -> Result<Option<Value>, CniError> {
    let command = environment.command()?;
    if command == Command::Version {
        let version = configuration.map_or(SpecVersion::LATEST, |configuration| configuration.version);
        let supported = SpecVersion::ALL.map(SpecVersion::as_str);
        return Ok(Some(json!({"cniVersion": version.as_str(), "supportedVersions": supported})));
    }
    if matches!(command, Command::Gc | Command::Status) {
        let configuration = configuration?;
        return match command {
            Command::Gc => collect::collect(&configuration),
            _ => status::status(&configuration),
        }
        .map(|()| None);
    }
    let target = environment.target(command)?;
    let configuration = configuration?;
    match command {
        Command::Add => add::add(&configuration, &target).map(Some),
        Command::Check => check::check(&configuration, &target).map(|()| None),
        _ => delete::delete(&configuration, &target).map(|()| None),
    }
}

fn read_configuration() -> Result<Vec<u8>, CniError> {
    let mut text = Vec::new();
    let read = io::stdin().lock().take(LIMIT.saturating_add(1)).read_to_end(&mut text);
    match read.map(|length| u64::try_from(length).unwrap_or(u64::MAX)) {
        Ok(length) if length <= LIMIT => Ok(text),
        Ok(_) => Err(CniError::new(Code::Decode, format!("the configuration on stdin has more than {LIMIT} bytes"))),
        Err(error) => Err(CniError::new(Code::Io, format!("cannot read the configuration on stdin: {error}"))),
    }
}

fn print(value: &Value) -> ExitCode {
    let written = writeln!(io::stdout().lock(), "{value}");
    // A runtime that went away is no reason for a panic.
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A fault of ours still ends in an error that the runtime can read.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let error = CniError::new(Code::Internal, format!("coordinator has a fault: {panic}"))
            .details("please report it with the log; the next ADD or DEL of the container cleans up");
        print(&error.to_json(SpecVersion::LATEST));
        std::process::exit(1);
    }));
}
