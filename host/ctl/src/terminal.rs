//! Where answers and complaints are written: colours on a terminal only, or as the caller says.

use std::{
    fmt,
    io::{self, Write as _},
};

use anstream::{AutoStream, ColorChoice};
use coordinator_core::chain::chain;
use serde_json::Value;

use crate::{diagnostic, failure::Failure};

/// Whether colours are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR says otherwise.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        })
    }
}

/// For whom answers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// They are text.
    Person,
    /// Standard output holds one JSON document, whatever happens.
    Program,
}

/// The two streams of a person or a script.
#[derive(Debug)]
pub(crate) struct Terminal {
    choice: ColorChoice,
    reader: Reader,
}

impl Terminal {
    pub(crate) fn new(color: Color, reader: Reader) -> Self {
        let choice = match color {
            Color::Auto => ColorChoice::Auto,
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
        };
        Self { choice, reader }
    }

    /// Writes an answer, as it is, to standard output.
    ///
    /// # Errors
    /// It cannot be written; a reader that went away is one case of it.
    pub(crate) fn answer(&self, text: &str) -> Result<(), Failure> {
        let mut stream = AutoStream::new(io::stdout(), self.choice).lock();
        stream.write_all(text.as_bytes()).and_then(|()| stream.flush()).map_err(Failure::Output)
    }

    /// Writes an answer for programs.
    ///
    /// # Errors
    /// As [`Terminal::answer`].
    pub(crate) fn answer_json(&self, value: &Value) -> Result<(), Failure> {
        self.answer(&format!("{value:#}\n"))
    }

    /// Writes what is not the answer to standard error.
    pub(crate) fn remark(&self, text: &str) {
        let mut stream = AutoStream::new(io::stderr(), self.choice).lock();
        // There is nobody left to tell.
        drop(stream.write_all(text.as_bytes()));
    }

    /// Says why there is no answer, with all that stands behind it; to a program, too, in the answer's place.
    ///
    /// # Errors
    /// As [`Terminal::answer`].
    pub(crate) fn complain(&self, failure: &Failure) -> Result<(), Failure> {
        match failure {
            Failure::Mistakes { problems, sources } => {
                for problem in problems {
                    let text = sources.text(&problem.path).unwrap_or_default();
                    self.remark(&diagnostic::human(problem, text));
                }
                self.remark(&diagnostic::summary(problems));
            }
            failure => self.remark(&format!("coordinatorctl: {}\n", chain(failure))),
        }
        match self.reader {
            Reader::Person => Ok(()),
            Reader::Program => self.answer_json(&failure.to_json()),
        }
    }
}
