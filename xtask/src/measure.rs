//! What one whole process costs: wall time and peak memory, from outside.
//!
//! The kernel adds up the peak memory of *all* children that a process waited for, so a fresh process
//! stands between this program and each one that is measured: it has only that child to report on.
//! A process cannot show less peak memory than the one that started it.

use std::{
    ffi::{OsStr, OsString},
    io::{PipeWriter, Write},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};

use crate::statistics::Sample;

/// The name under which this program stands between; it is not in the usage.
pub const SUBCOMMAND: &str = "measured";

/// Where measured programs find others.
const SEARCH_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// What fits into a pipe before anyone reads (pipe(7)).
const PIPE_BYTES: usize = 65536;

/// A process to measure. Its environment holds what is set here and a search path, nothing else.
#[derive(Debug, Clone)]
pub struct Program {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    input: Vec<u8>,
}

impl Program {
    /// A program that reads nothing.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref().to_owned();
        Self { program, arguments: Vec::new(), environment: Vec::new(), input: Vec::new() }
    }

    /// Adds an argument.
    #[must_use]
    pub fn argument(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn environment(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Sets what it reads: at most what fits into a pipe.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Runs it in the calling thread's namespaces; returns the costs and what it said.
    ///
    /// All input waits in a pipe before it starts, so the clock shows no wait for us.
    pub fn measure(&self) -> Result<(Sample, String)> {
        let shown = self.program.to_string_lossy();
        let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
        self.fill(writer)?;
        let output = Command::new(std::env::current_exe().context("cannot find this program")?)
            .arg(SUBCOMMAND)
            .arg(&self.program)
            .args(&self.arguments)
            .env_clear()
            .env("PATH", SEARCH_PATH)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::from(reader))
            .output()
            .with_context(|| format!("cannot run {shown}"))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        let (said, report) =
            said.rsplit_once(MARK).with_context(|| format!("cannot run {shown}: {}", errors.trim()))?;
        let Report { sample, success } = Report::read(report).with_context(|| format!("strange report {report:?}"))?;
        if !success {
            bail!("{shown} failed: {} {}", said.trim(), errors.trim());
        }
        Ok((sample, said.to_owned()))
    }

    /// Starts it, with nobody in between and without measuring it.
    pub fn start(&self) -> Result<Running> {
        let shown = self.program.to_string_lossy().into_owned();
        let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
        self.fill(writer)?;
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .env("PATH", SEARCH_PATH)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::from(reader))
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {shown}"))?;
        Ok(Running { child, shown })
    }

    fn fill(&self, mut writer: PipeWriter) -> Result<()> {
        let length = self.input.len();
        if length > PIPE_BYTES {
            bail!("{length} bytes of input do not fit into a pipe");
        }
        writer.write_all(&self.input).context("cannot fill a pipe")
    }
}

/// A program that was started.
#[derive(Debug)]
pub struct Running {
    child: Child,
    shown: String,
}

impl Running {
    /// Waits for its end; fails when it did.
    pub fn finish(self) -> Result<()> {
        let output = self.child.wait_with_output().with_context(|| format!("cannot wait for {}", self.shown))?;
        if !output.status.success() {
            bail!("{} failed: {}", self.shown, String::from_utf8_lossy(&output.stdout).trim());
        }
        Ok(())
    }
}

/// Separates what the program said from the report.
const MARK: &str = "\n\u{1}measured ";

#[derive(Debug, PartialEq, Eq)]
struct Report {
    sample: Sample,
    success: bool,
}

impl Report {
    fn write(&self) -> String {
        let Sample { wall, peak_rss_kib } = self.sample;
        format!("{} {peak_rss_kib} {}", wall.as_nanos(), self.success)
    }

    fn read(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let wall = Duration::from_nanos(words.next()?.parse().ok()?);
        let peak_rss_kib = words.next()?.parse().ok()?;
        Some(Self { sample: Sample { wall, peak_rss_kib }, success: words.next()?.parse().ok()? })
    }
}

/// Stands between: starts the program that `arguments` name, with our own standard streams, and reports.
pub fn stand_between(arguments: &[String]) -> ExitCode {
    match once(arguments) {
        Ok(report) => {
            print!("{MARK}{}", report.write());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn once(arguments: &[String]) -> Result<Report> {
    let (program, arguments) = arguments.split_first().context("nothing to measure")?;
    let begin = Instant::now();
    let status = Command::new(program).args(arguments).status().with_context(|| format!("cannot start {program}"))?;
    let wall = begin.elapsed();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("cannot ask what the child used")?;
    let peak_rss_kib = u64::try_from(usage.max_rss()).unwrap_or(0);
    Ok(Report { sample: Sample { wall, peak_rss_kib }, success: status.success() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let sample = Sample { wall: Duration::from_nanos(1_234_567), peak_rss_kib: 4242 };
        for success in [true, false] {
            let report = Report { sample, success };
            assert_eq!(Report::read(&report.write()), Some(report));
        }
        assert_eq!(Report::read("12"), None);
    }

    #[test]
    fn a_sleep_takes_its_time_and_a_failure_is_told() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let report = once(&words("sleep 0.05")).unwrap();
        assert!(report.success && report.sample.wall >= Duration::from_millis(50) && report.sample.peak_rss_kib > 0);
        assert!(!once(&words("false")).unwrap().success);
        assert!(once(&words("/nonexistent")).unwrap_err().to_string().contains("cannot start /nonexistent"));
    }

    #[test]
    fn too_much_input_is_refused_before_anything_starts() {
        let error = Program::new("cat").input(vec![b'x'; PIPE_BYTES + 1]).measure().unwrap_err();
        assert_eq!(error.to_string(), "65537 bytes of input do not fit into a pipe");
    }
}
