//! What the command line says of itself: completions, man pages, and the reference in `docs/cli.md`.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use clap::{Arg, Args, Command, CommandFactory as _};
use clap_complete::Shell;

use crate::{CommandLine, exit::Exit, failure::Failure, terminal::Terminal};

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The directory, made when it is missing
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(crate) fn completions(arguments: &Completions, terminal: &Terminal) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut CommandLine::command(), "coordinatorctl", &mut script);
    terminal.answer(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Success)
}

pub(crate) fn man(arguments: &Man, terminal: &Terminal) -> Result<Exit, Failure> {
    let write = |source| Failure::Write { path: arguments.directory.clone(), source };
    fs::create_dir_all(&arguments.directory).map_err(write)?;
    let mut command = CommandLine::command();
    command.build();
    let written = pages(&command, "coordinatorctl", &arguments.directory)?;
    for path in written {
        terminal.answer(&format!("{}\n", path.display()))?;
    }
    Ok(Exit::Success)
}

/// Writes the page of a command and those of its subcommands.
fn pages(command: &Command, name: &str, directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let path = directory.join(format!("{}.1", name.replace(' ', "-")));
    let write = |source| Failure::Write { path: path.clone(), source };
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page).map_err(write)?;
    fs::write(&path, page).map_err(write)?;
    let mut written = vec![path];
    for inner in shown(command) {
        written.extend(pages(inner, &format!("{name} {}", inner.get_name()), directory)?);
    }
    Ok(written)
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help")
}

pub(crate) fn markdown(terminal: &Terminal) -> Result<Exit, Failure> {
    terminal.answer(&reference())?;
    Ok(Exit::Success)
}

/// The whole command line as Markdown.
fn reference() -> String {
    let mut command = CommandLine::command().term_width(0);
    command.build();
    let mut text = "# coordinatorctl\n\n".to_owned();
    text.push_str("Written by `coordinatorctl reference`; a test holds it to the program.\n\n");
    text.push_str(
        "Answers go to standard output, everything else to standard error. With `--json` the answer is one JSON\n",
    );
    text.push_str("document, and where there is none, `{\"error\": …, \"exit\": …}` stands in its place.\n\n```text\n");
    // Writing to a text cannot fail.
    let _ = writeln!(text, "{}\n```\n", Exit::help());
    describe(&command, "coordinatorctl", &mut text);
    let mut text = text.trim_end().to_owned();
    text.push('\n');
    text
}

fn describe(command: &Command, name: &str, text: &mut String) {
    let is_leaf = shown(command).next().is_none();
    if is_leaf {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(text, "## {name}\n\n{about}.\n");
        let _ = writeln!(text, "```text\n{}\n```\n", usage(command, name));
        let arguments: Vec<&Arg> = command.get_arguments().filter(|arg| !is_general(arg)).collect();
        if !arguments.is_empty() {
            text.push_str("| argument | meaning |\n|---|---|\n");
        }
        for argument in &arguments {
            let _ = writeln!(text, "| {} | {} |", spelling(argument), meaning(argument));
        }
        if !arguments.is_empty() {
            text.push('\n');
        }
    }
    for inner in shown(command) {
        describe(inner, &format!("{name} {}", inner.get_name()), text);
    }
}

fn usage(command: &Command, name: &str) -> String {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    let rest = usage.strip_prefix(name).unwrap_or(usage);
    format!("{name}{rest}")
}

/// Options that every subcommand has.
fn is_general(argument: &Arg) -> bool {
    matches!(argument.get_id().as_str(), "help" | "version" | "color")
}

fn spelling(argument: &Arg) -> String {
    let value = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    let takes_value = argument.get_action().takes_values();
    let value = value.filter(|_| takes_value);
    match (argument.get_short(), argument.get_long(), value) {
        (Some(short), Some(long), Some(value)) => format!("`-{short}`, `--{long} {value}`"),
        (None, Some(long), Some(value)) => format!("`--{long} {value}`"),
        (_, Some(long), None) => format!("`--{long}`"),
        (_, _, value) => format!("`{}`", value.unwrap_or_default()),
    }
}

fn meaning(argument: &Arg) -> String {
    let mut text = argument.get_help().map(ToString::to_string).unwrap_or_default().replace('\n', " ");
    let values: Vec<String> =
        argument.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if !values.is_empty() && argument.get_action().takes_values() {
        let _ = write!(text, ": {}", values.join(", "));
    }
    let defaults: Vec<String> =
        argument.get_default_values().iter().map(|it| it.to_string_lossy().into_owned()).collect();
    if !defaults.is_empty() && argument.get_action().takes_values() {
        let _ = write!(text, " (default `{}`)", defaults.join(" "));
    }
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Run `coordinatorctl reference > docs/cli.md` after a change.
    #[test]
    fn the_reference_in_the_documentation_is_this_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
        assert_eq!(fs::read_to_string(path).unwrap(), reference());
    }

    #[test]
    fn every_command_has_its_man_page_and_every_shell_its_completions() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = CommandLine::command();
        command.build();
        let written = pages(&command, "coordinatorctl", folder.path()).unwrap();
        let has = |name: &str| written.iter().any(|path| path.ends_with(name));
        assert!(
            has("coordinatorctl.1") && has("coordinatorctl-pipeline-validate.1") && !has("coordinatorctl-reference.1")
        );
        for path in &written {
            let text = fs::read_to_string(path).unwrap();
            assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{}", path.display());
        }
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut CommandLine::command(), "coordinatorctl", &mut script);
            assert!(String::from_utf8(script).unwrap().contains("deny-warnings"), "{shell}");
        }
    }

    #[test]
    fn every_command_that_answers_can_answer_in_json() {
        // They make files or drawings, or answer in JSON anyway.
        let silent = ["graph", "schema", "completions", "man", "report", "new", "build", "facts"];
        fn leaves(command: &Command) -> Vec<Command> {
            let inner: Vec<Command> = shown(command).flat_map(leaves).collect();
            if inner.is_empty() { vec![command.clone()] } else { inner }
        }
        for leaf in leaves(&CommandLine::command()) {
            let has_json = leaf.get_arguments().any(|argument| argument.get_id() == "json");
            assert!(has_json || silent.contains(&leaf.get_name()), "{} has no --json", leaf.get_name());
        }
    }
}
