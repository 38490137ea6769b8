//! `cargo xtask`: what a developer and CI type, one file per subcommand.
//!
//! Nothing here is part of the product, and no logic of the product is here: the subcommands start
//! cargo and other programs, measure them and say how it went.

mod apiserver;
mod bench;
mod ci;
mod demo;
mod dist;
mod languages;
mod manifests;
mod measure;
mod need;
mod rates;
mod setup;
mod statistics;
mod steps;
mod test;
mod workspace;

use std::process::ExitCode;

/// A subcommand: its name, its arguments and what it does in the words of the usage, its function.
struct Subcommand {
    name: &'static str,
    arguments: &'static str,
    summary: &'static str,
    run: fn(&[String]) -> anyhow::Result<()>,
}

const SUBCOMMANDS: [Subcommand; 8] = [
    Subcommand {
        name: "demo",
        arguments: "",
        summary: "show a pod without the plugin, what the plugin does, and the pod with it",
        run: demo::run,
    },
    Subcommand {
        name: "dist",
        arguments: "",
        summary: "build the release binaries, static, into target/dist/",
        run: dist::run,
    },
    Subcommand {
        name: "test",
        arguments: "[--all-languages]",
        summary: "run all tests, as root and as an ordinary user would",
        run: test::run,
    },
    Subcommand {
        name: "bench",
        arguments: "[--runs N] [NAME ...]",
        summary: "measure whole processes in turn; prints Markdown tables",
        run: bench::run,
    },
    Subcommand {
        name: "rates",
        arguments: "[--trials N]",
        summary: "count wrong answers of probes on a wire that loses frames; prints a Markdown table",
        run: rates::run,
    },
    Subcommand {
        name: "manifests",
        arguments: "",
        summary: "write deploy/'s definitions and plain manifests anew",
        run: manifests::run,
    },
    Subcommand {
        name: "apiserver",
        arguments: "[ARGUMENT ...]",
        summary: "run the agent's tests before a server of Kubernetes' own libraries; 5 GB, see CONTRIBUTING.md",
        run: apiserver::run,
    },
    Subcommand {
        name: "ci",
        arguments: "[--without-advisories]",
        summary: "what CI runs: formatting, clippy, cargo-deny, then all tests",
        run: ci::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else {
        println!("{}", usage());
        return ExitCode::SUCCESS;
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        println!("{}", usage());
        return ExitCode::SUCCESS;
    }
    if name == measure::SUBCOMMAND {
        return measure::stand_between(rest);
    }
    if name == demo::INSIDE {
        return ended(demo::tell_it());
    }
    if name == bench::INSIDE {
        return ended(bench::measure_inside(rest));
    }
    if name == rates::INSIDE {
        return ended(rates::try_inside(rest));
    }
    let Some(subcommand) = SUBCOMMANDS.iter().find(|subcommand| subcommand.name == name) else {
        eprintln!("error: there is no subcommand {name}\n\n{}", usage());
        return ExitCode::from(2);
    };
    ended((subcommand.run)(rest))
}

fn ended(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> String {
    let mut text = "usage: cargo xtask <subcommand>\n".to_owned();
    for Subcommand { name, arguments, summary, .. } in &SUBCOMMANDS {
        text.push_str(&format!("\n  {:<28}{summary}", format!("{name} {arguments}")));
    }
    text
}

/// Refuses arguments where a subcommand takes none.
fn no_arguments(arguments: &[String]) -> anyhow::Result<()> {
    match arguments.first() {
        None => Ok(()),
        Some(argument) => anyhow::bail!("unexpected argument {argument}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usage_names_every_subcommand() {
        let usage = usage();
        for subcommand in &SUBCOMMANDS {
            let line = usage.lines().find(|line| line.trim_start().starts_with(subcommand.name)).unwrap();
            assert!(line.ends_with(subcommand.summary), "{line}");
        }
    }

    #[test]
    fn a_surplus_argument_is_named() {
        assert_eq!(no_arguments(&["--fast".to_owned()]).unwrap_err().to_string(), "unexpected argument --fast");
    }
}
