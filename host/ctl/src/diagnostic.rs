//! Problems of files as people, scripts and code scanners read them.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use clap::Args;
use coordinator_core::pipeline::{Problem, Severity};
use serde_json::{Value, json};

use crate::{exit::Exit, failure::Failure, terminal::Terminal};

/// How problems are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// With the line and a caret under the place
    #[default]
    Human,
    /// A JSON array, one object for each problem
    Json,
    /// A SARIF 2.1.0 log, for code scanners
    Sarif,
}

/// What every command says that finds problems in files.
#[derive(Debug, Args)]
pub(crate) struct Manner {
    /// How problems are shown
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    format: Format,
    /// As `--format json`
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Take warnings for errors
    #[arg(long)]
    deny_warnings: bool,
}

/// What problems break, for code scanners.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Its name.
    pub(crate) id: &'static str,
    /// What it says.
    pub(crate) description: &'static str,
}

impl Manner {
    /// Whether people read the answer.
    pub(crate) fn is_for_people(&self) -> bool {
        !self.json && self.format == Format::Human
    }

    /// Shows problems; `text` is the content of the file at a path.
    ///
    /// # Errors
    /// As [`Terminal::answer`].
    pub(crate) fn show<'t>(
        &self,
        problems: &[Problem],
        text: impl Fn(&str) -> &'t str,
        rule: &Rule,
        terminal: &Terminal,
    ) -> Result<Exit, Failure> {
        match if self.json { Format::Json } else { self.format } {
            Format::Human => {
                for problem in problems {
                    terminal.answer(&human(problem, text(&problem.path)))?;
                }
            }
            Format::Json => terminal.answer_json(&problems.iter().map(json).collect::<Vec<_>>().into())?,
            Format::Sarif => terminal.answer_json(&sarif(problems, rule))?,
        }
        Ok(exit(problems, self.deny_warnings))
    }
}

/// A problem with the lines of its file's text that it is about.
pub(crate) fn human(problem: &Problem, text: &str) -> String {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    // The question is advice, not the complaint.
    let (complaint, question) = match problem.message.split_once("; did you mean ") {
        Some((complaint, question)) => (complaint, Some(format!("did you mean {question}"))),
        None => (problem.message.as_str(), None),
    };
    let annotation = AnnotationKind::Primary.span(within(text, problem));
    let snippet = Snippet::source(text).path(problem.path.as_str()).annotation(annotation);
    let mut group: Group<'_> = level.primary_title(complaint).element(snippet);
    if let Some(question) = &question {
        group = group.element(Level::HELP.message(question.as_str()));
    }
    format!("{}\n\n", Renderer::styled().render(&[group]))
}

/// The first line of what the problem is about: an entry of many lines is named by its head.
fn within(text: &str, problem: &Problem) -> std::ops::Range<usize> {
    let start = problem.span.start.min(text.len());
    let line = text.get(start..).and_then(|rest| rest.find('\n')).map_or(text.len(), |end| start.saturating_add(end));
    start..problem.span.end.clamp(start, line.max(start))
}

/// A problem as an object.
pub(crate) fn json(problem: &Problem) -> Value {
    json!({
        "path": problem.path,
        "line": problem.line,
        "column": problem.column,
        "severity": severity(problem),
        "message": problem.message,
    })
}

/// How many there are.
pub(crate) fn summary(problems: &[Problem]) -> String {
    let counted = |severity, what: &str| {
        let count = problems.iter().filter(|problem| problem.severity == severity).count();
        format!("{count} {what}{}", if count == 1 { "" } else { "s" })
    };
    format!("{}, {}\n", counted(Severity::Error, "error"), counted(Severity::Warning, "warning"))
}

/// All problems as a SARIF log; what they break is one rule.
fn sarif(problems: &[Problem], rule: &Rule) -> Value {
    let result = |problem: &Problem| {
        json!({
            "ruleId": rule.id,
            "level": severity(problem),
            "message": {"text": problem.message},
            "locations": [{"physicalLocation": {
                "artifactLocation": {"uri": problem.path},
                "region": {"startLine": problem.line, "startColumn": problem.column},
            }}],
        })
    };
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "coordinatorctl",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": [{"id": rule.id, "shortDescription": {"text": rule.description}}],
            }},
            "columnKind": "unicodeCodePoints",
            "results": problems.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

fn severity(problem: &Problem) -> &'static str {
    match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// Configuration is wrong, or it is well.
pub(crate) fn exit(problems: &[Problem], are_warnings_denied: bool) -> Exit {
    let matters = |problem: &Problem| are_warnings_denied || problem.severity == Severity::Error;
    if problems.iter().any(matters) { Exit::Configuration } else { Exit::Success }
}
