//! The exit codes: one table for scripts. Those from 64 on are `sysexits.h`'s.

use std::process::ExitCode;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It is well.
    Success,
    /// The answer is no.
    No,
    /// The command line is wrong (clap's code).
    Usage,
    /// `EX_NOINPUT`: what it is about does not exist.
    NoInput,
    /// `EX_IOERR`: the system refuses.
    Io,
    /// `EX_CONFIG`: a pipeline or a setting is wrong.
    Configuration,
}

impl Exit {
    /// Every code, in ascending order.
    const ALL: [Self; 6] = [Self::Success, Self::No, Self::Usage, Self::NoInput, Self::Io, Self::Configuration];

    /// The number.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::No => 1,
            Self::Usage => 2,
            Self::NoInput => 66,
            Self::Io => 74,
            Self::Configuration => 78,
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::Success => "it is well",
            Self::No => "the answer is no: a difference, a failed test, an asymmetric path",
            Self::Usage => "the command line is wrong",
            Self::NoInput => "a file, an attachment, a Pod or a stage in a registry does not exist",
            Self::Io => "a file, the kernel, a record or a registry could not be read or written",
            Self::Configuration => "a pipeline or a setting is wrong",
        }
    }

    /// What `--help` says of the codes.
    pub(crate) fn help() -> String {
        let lines = Self::ALL.map(|exit| format!("\n  {:>2}  {}", exit.number(), exit.meaning()));
        format!("Exit codes:{}", lines.concat())
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.number().into()
    }
}
