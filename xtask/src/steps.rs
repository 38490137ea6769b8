//! A row of programs that must all succeed, each shown with its time in a summary at the end.
//!
//! A step that fails does not stop the ones after it: one run shows everything that is wrong.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// The steps done so far.
#[derive(Debug, Default)]
pub struct Steps {
    done: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    name: String,
    time: Duration,
    outcome: Result<String, String>,
}

/// What the test programs of one cargo invocation counted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: usize,
    failed: usize,
    ignored: usize,
}

impl Steps {
    /// Runs a program.
    pub fn run(&mut self, name: &str, command: &mut Command) {
        self.take(name, || workspace::run(command).map(|()| "ok".to_owned()));
    }

    /// Runs test programs and counts their tests.
    pub fn run_tests(&mut self, name: &str, command: &mut Command) {
        self.take(name, || {
            let shown = workspace::shown(command);
            let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot run {shown}"))?;
            let mut tally = Tally::default();
            for line in BufReader::new(child.stdout.take().context("no output to read")?).lines() {
                let line = line.with_context(|| format!("cannot read what {shown} says"))?;
                println!("{line}");
                tally.add(&line);
            }
            let status = child.wait().with_context(|| format!("cannot wait for {shown}"))?;
            if !status.success() {
                bail!("{status}, {}", tally.shown());
            }
            if tally.passed == 0 {
                bail!("no test ran");
            }
            Ok(tally.shown())
        });
    }

    /// Does something that has a result in words.
    pub fn take(&mut self, name: &str, work: impl FnOnce() -> Result<String>) {
        eprintln!("\n== {name}");
        let begin = Instant::now();
        let outcome = work().map_err(|error| format!("{error:#}"));
        if let Err(error) = &outcome {
            eprintln!("error: {error}");
        }
        self.done.push(Step { name: name.to_owned(), time: begin.elapsed(), outcome });
    }

    /// Names a step that is not taken, and why.
    pub fn leave_out(&mut self, name: &str, why: &str) {
        let outcome = Ok(format!("not run: {why}"));
        self.done.push(Step { name: name.to_owned(), time: Duration::ZERO, outcome });
    }

    /// Prints the summary; fails when a step did.
    pub fn finish(self) -> Result<()> {
        println!("\n{}", self.summary());
        let failed: Vec<&str> = self.done.iter().filter(|it| it.outcome.is_err()).map(|it| it.name.as_str()).collect();
        if !failed.is_empty() {
            bail!("failed: {}", failed.join(", "));
        }
        Ok(())
    }

    fn summary(&self) -> String {
        let width = self.done.iter().map(|step| step.name.chars().count()).max().unwrap_or(0);
        let line = |step: &Step| {
            let outcome = match &step.outcome {
                Ok(outcome) => outcome.clone(),
                Err(error) => format!("FAILED: {}", error.lines().next().unwrap_or_default()),
            };
            format!("{:<width$}  {:>6.1} s  {outcome}", step.name, step.time.as_secs_f64())
        };
        self.done.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

impl Tally {
    /// Adds what a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; …` says.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        for part in result.split([';', '.']) {
            let mut words = part.split_whitespace();
            let (Some(number), Some(word)) = (words.next().and_then(|word| word.parse::<usize>().ok()), words.next())
            else {
                continue;
            };
            match word {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    fn shown(&self) -> String {
        let mut text = format!("{} passed", self.passed);
        for (number, word) in [(self.failed, "failed"), (self.ignored, "ignored")] {
            if number > 0 {
                text.push_str(&format!(", {number} {word}"));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_programs_add_up() {
        let mut tally = Tally::default();
        tally.add("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.02s");
        tally.add("test result: FAILED. 40 passed; 2 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.20s");
        tally.add("test a_name ... ok");
        assert_eq!(tally, Tally { passed: 43, failed: 2, ignored: 1 });
        assert_eq!(tally.shown(), "43 passed, 2 failed, 1 ignored");
    }

    #[test]
    fn a_failure_does_not_stop_the_rest_and_is_named_at_the_end() {
        let mut steps = Steps::default();
        steps.run("first", &mut Command::new("false"));
        steps.run("second", &mut Command::new("true"));
        steps.leave_out("third", "no root");
        let summary = steps.summary();
        let lines: Vec<&str> = summary.lines().collect();
        assert!(lines[0].starts_with("first ") && lines[0].ends_with("FAILED: false: exit status: 1"), "{summary}");
        assert!(lines[1].ends_with("ok") && lines[2].ends_with("not run: no root"), "{summary}");
        assert_eq!(steps.finish().unwrap_err().to_string(), "failed: first");
    }

    #[test]
    fn test_programs_without_a_test_are_a_failure() {
        let mut steps = Steps::default();
        steps.run_tests("none", &mut Command::new("true"));
        assert!(steps.finish().is_err());
    }
}
