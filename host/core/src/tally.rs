//! One line for each call of the plugin, for the node's agent to count.
//!
//! A call is a process that lives for two milliseconds, so it keeps no counters: it appends a line to a file, when the
//! agent has made one, and the agent turns lines into metrics. Nobody waits for anybody, a line that cannot be written
//! is lost, and where there is no agent the cost is one failed `open`.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::Path,
    time::Duration,
};

/// The file; its directory is root's, and the agent makes both.
pub const FILE: &str = "/run/coordinator-agent/calls";
/// Where nobody has read for so long that it holds more, nothing is added.
pub const LIMIT: u64 = 4 << 20;

/// A call that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `ADD`, `DEL`, `CHECK`, `GC`, `STATUS`.
    pub command: String,
    /// The error's code; 0 for a success.
    pub code: u32,
    /// The stage that the error names, or empty.
    pub stage: String,
    /// From the process' start to its end, microseconds.
    pub micros: u64,
}

impl Call {
    /// A call that took `took`; the stage is the one that the error's message begins with.
    pub fn new(command: &str, failure: Option<(u32, &str)>, took: Duration) -> Self {
        let (code, message) = failure.unwrap_or_default();
        let stage = message.strip_prefix("stage ").and_then(|rest| rest.split([' ', ':']).next()).unwrap_or_default();
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        Self { command: command.to_owned(), code, stage: stage.to_owned(), micros }
    }

    /// The line: one write of it is never mixed with another process' (`O_APPEND`).
    fn line(&self) -> String {
        let stage = if self.stage.is_empty() { "-" } else { &self.stage };
        format!("{} {} {} {stage}\n", self.command, self.code, self.micros)
    }

    /// The call that a line tells of; nothing when it is of another form.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (command, code, micros, stage) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let is_command = matches!(command, "ADD" | "DEL" | "CHECK" | "GC" | "STATUS");
        let is_name =
            stage.len() <= 64 && stage.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        (is_command && is_name && words.next().is_none()).then_some(())?;
        Some(Self {
            command: command.to_owned(),
            code: code.parse().ok()?,
            stage: if stage == "-" { String::new() } else { stage.to_owned() },
            micros: micros.parse().ok()?,
        })
    }

    /// Appends the line, when there is a file for it.
    pub fn note(&self, file: &Path) {
        let Ok(mut file) = OpenOptions::new().append(true).open(file) else { return };
        if has_room(&file) {
            let _ = file.write_all(self.line().as_bytes());
        }
    }
}

fn has_room(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() < LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_micros(1784);

    #[test]
    fn a_call_comes_back_from_its_line() {
        for (failure, line, stage) in [
            (None, "ADD 0 1784 -\n", ""),
            (Some((100, "stage mode refuses: overlay is …")), "ADD 100 1784 mode\n", "mode"),
            (Some((104, "stage pod-routes: add route …")), "ADD 104 1784 pod-routes\n", "pod-routes"),
            (Some((7, "the configuration is not valid")), "ADD 7 1784 -\n", ""),
        ] {
            let call = Call::new("ADD", failure, TOOK);
            assert_eq!((call.line().as_str(), call.stage.as_str()), (line, stage));
            assert_eq!(Call::parse(line.trim_end()), Some(call));
        }
        for bad in ["", "ADD", "ADD 0 1", "ADD 0 1 - -", "RUN 0 1 -", "ADD x 1 -", "ADD 0 1 a\"b"] {
            assert_eq!(Call::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_line_is_added_only_where_a_file_with_room_waits() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("calls");
        let call = Call::new("DEL", None, TOOK);
        call.note(&file);
        assert!(!file.exists());
        std::fs::write(&file, "").unwrap();
        call.note(&file);
        call.note(&file);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "DEL 0 1784 -\nDEL 0 1784 -\n");
        let large = File::options().write(true).open(&file).unwrap();
        large.set_len(LIMIT).unwrap();
        call.note(&file);
        assert_eq!(large.metadata().unwrap().len(), LIMIT);
    }
}
