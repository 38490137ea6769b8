//! Where things stand: the files that a pipeline is made of, places in them, and problems at places.
//!
//! Positions are kept across files: what a pipeline takes from the one that it extends is complained about there.

use std::{borrow::Cow, fmt, ops::Range};

/// How much a problem matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The pipeline can run, but probably not as it is meant.
    Warning,
    /// The pipeline cannot run.
    Error,
}

/// What is wrong with a pipeline, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problem {
    /// The file.
    pub path: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The bytes of the file's text that it is about.
    pub span: Range<usize>,
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.severity == Severity::Warning { "warning: " } else { "" };
        write!(f, "{}:{}:{}: {kind}{}", self.path, self.line, self.column, self.message)
    }
}

/// A file's text and the name under which messages speak of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// The name.
    pub path: String,
    /// The text.
    pub text: Cow<'static, str>,
}

/// A stretch of one of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub(super) file: usize,
    pub(super) span: Range<usize>,
}

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where.
    pub place: Place,
}

/// A problem that does not know its line yet.
#[derive(Debug, Clone)]
pub(super) struct Flaw {
    pub(super) place: Place,
    pub(super) severity: Severity,
    pub(super) message: String,
}

impl Flaw {
    pub(super) fn error(place: &Place, message: impl Into<String>) -> Self {
        Self { place: place.clone(), severity: Severity::Error, message: message.into() }
    }

    pub(super) fn warning(place: &Place, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(place, message) }
    }
}

/// The files of one pipeline: itself first, then what it extends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    files: Vec<SourceFile>,
}

impl Sources {
    pub(super) fn push(&mut self, file: SourceFile) -> usize {
        self.files.push(file);
        self.files.len().saturating_sub(1)
    }

    /// The files.
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// A file's text.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|file| file.path == path).map(|file| file.text.as_ref())
    }

    /// `path:line` of a place, as messages name it.
    pub fn line(&self, place: &Place) -> String {
        let path = self.files.get(place.file).map(|file| file.path.as_str()).unwrap_or_default();
        format!("{path}:{}", self.position(place).0)
    }

    /// Line and column of a place's beginning, both from 1.
    pub(super) fn position(&self, place: &Place) -> (usize, usize) {
        let text = self.files.get(place.file).map(|file| file.text.as_ref()).unwrap_or_default();
        let before = text.get(..place.span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |end| end.saturating_add(1));
        let line = before.matches('\n').count().saturating_add(1);
        let column = before.get(line_start..).unwrap_or_default().chars().count().saturating_add(1);
        (line, column)
    }

    /// Every problem, in the order of files and lines.
    pub(super) fn problems(&self, mut flaws: Vec<Flaw>) -> Vec<Problem> {
        flaws.sort_by_key(|flaw| (flaw.place.file, flaw.place.span.start));
        flaws.into_iter().map(|flaw| self.problem(flaw)).collect()
    }

    fn problem(&self, flaw: Flaw) -> Problem {
        let (line, column) = self.position(&flaw.place);
        let path = self.files.get(flaw.place.file).map(|file| file.path.clone()).unwrap_or_default();
        Problem { path, line, column, span: flaw.place.span, severity: flaw.severity, message: flaw.message }
    }
}
