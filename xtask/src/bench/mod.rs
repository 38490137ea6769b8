//! `cargo xtask bench`: whole processes, measured in turn, so that whatever else the machine does
//! meets them all alike.

mod crowd;
mod foreign;
mod guests;
mod interfaces;
mod seat;
mod underlay;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use coordinator_lab::{Lab, tell};

use crate::{
    dist,
    need::Job,
    setup,
    statistics::{Sample, Summary, table},
    workspace,
};

/// The subcommand of this program that measures, inside namespaces where it is root.
pub const INSIDE: &str = "bench-inside";

/// Rounds, when nobody says otherwise.
const RUNS: usize = 60;
/// Rounds before those that count: caches are warm then for everyone.
const WARM_UP: usize = 3;

type Work<'w, T> = Box<dyn FnMut() -> Result<T> + 'w>;

/// Something to measure: before each run `setup` makes the world it needs, `teardown` takes it away.
pub struct Contender<'w> {
    /// Its name in the table.
    pub name: String,
    /// Not measured.
    pub setup: Work<'w, ()>,
    /// Measured.
    pub run: Work<'w, Sample>,
    /// Not measured; called also when `run` failed.
    pub teardown: Work<'w, ()>,
}

/// What is measured of ours.
#[derive(Debug, Clone)]
struct Programs {
    plugin: PathBuf,
    floor: PathBuf,
}

impl Contender<'_> {
    fn once(&mut self) -> Result<Sample> {
        (self.setup)().context("setup")?;
        let sample = (self.run)();
        let down = (self.teardown)().context("teardown");
        let sample = sample?;
        down.map(|()| sample)
    }
}

/// Measures each contender `runs` times, one after the other in every round; each round begins with
/// another one. Each measured run follows an unmeasured one of the same contender: what the others do, and for how long,
/// would otherwise decide what of it is still in caches, and which memory a virtual machine's host has taken away meanwhile.
pub fn compete(contenders: &mut [Contender<'_>], runs: usize) -> Result<Vec<(String, Summary)>> {
    let mut samples = vec![Vec::with_capacity(runs); contenders.len()];
    for round in 0..WARM_UP + runs {
        for turn in 0..contenders.len() {
            let at = (round + turn) % contenders.len();
            let contender = &mut contenders[at];
            let mut once = || contender.once().with_context(|| format!("{}, round {round}", contender.name));
            once()?;
            let sample = once()?;
            if round >= WARM_UP {
                samples[at].push(sample);
            }
        }
    }
    let summary = |(contender, samples): (&Contender<'_>, &Vec<Sample>)| {
        Summary::of(samples).map(|summary| (contender.name.clone(), summary)).context("there must be at least one run")
    };
    contenders.iter().zip(&samples).map(summary).collect()
}

/// The benchmarks, by the names under which they are asked for.
const BENCHMARKS: [(&str, Measure); 5] = [
    ("underlay", underlay::measure),
    ("interfaces", interfaces::measure),
    ("foreign", foreign::measure),
    ("crowd", crowd::measure),
    ("guests", guests::measure),
];

type Measure = fn(&Lab, &Programs, usize) -> Result<()>;

/// Runs the benchmarks that are asked for, else all, and prints their tables.
pub fn run(arguments: &[String]) -> Result<()> {
    let (runs, names) = read(arguments)?;
    setup::provide(Job::Bench)?;
    let plugin = dist::build(&dist::PLUGIN)?;
    let floor = dist::build(&dist::FLOOR)?;
    if names.iter().any(|name| name == "guests") {
        guests::provide()?;
    }
    let mut inside = workspace::inside_namespaces(INSIDE)?;
    workspace::run(inside.arg(runs.to_string()).arg(plugin).arg(floor).args(names))
}

/// Measures, inside namespaces: `arguments` are the number of runs, the plugin, the floor program, and names.
pub fn measure_inside(arguments: &[String]) -> Result<()> {
    let [runs, plugin, floor, names @ ..] = arguments else { bail!("{INSIDE} RUNS PLUGIN FLOOR NAME ...") };
    let (runs, programs) = (runs.parse()?, Programs { plugin: plugin.into(), floor: floor.into() });
    for (_, measure) in BENCHMARKS.into_iter().filter(|(name, _)| names.iter().any(|wanted| wanted == name)) {
        let programs = programs.clone();
        tell(move |lab| measure(lab, &programs, runs))?;
    }
    Ok(())
}

/// Prints one table.
fn show(title: &str, contenders: &mut [Contender<'_>], runs: usize) -> Result<()> {
    println!("\n### {title}\n\n{}", table(&compete(contenders, runs)?));
    Ok(())
}

/// Rounds and benchmarks that the arguments ask for.
fn read(arguments: &[String]) -> Result<(usize, Vec<String>)> {
    let (mut runs, mut names) = (RUNS, Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--runs" => match rest.next().map(|number| number.parse()) {
                Some(Ok(number)) if number > 0 => runs = number,
                Some(_) => bail!("--runs wants a number above 0"),
                None => bail!("--runs wants a number"),
            },
            name if BENCHMARKS.iter().any(|(known, _)| *known == name) => names.push(name.to_owned()),
            other => bail!("unexpected argument {other}"),
        }
    }
    if names.is_empty() {
        names = BENCHMARKS.map(|(name, _)| name.to_owned()).into();
    }
    Ok((runs, names))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::RefCell, time::Duration};

    /// A contender that writes down what is done to it.
    fn noted<'w>(name: &'static str, log: &'w RefCell<Vec<String>>, wall: Option<u64>) -> Contender<'w> {
        let note = move |what: &str| -> Result<()> {
            log.borrow_mut().push(format!("{name} {what}"));
            Ok(())
        };
        Contender {
            name: name.to_owned(),
            setup: Box::new(move || note("setup")),
            run: Box::new(move || {
                note("run")?;
                let wall = Duration::from_millis(wall.context("broken")?);
                Ok(Sample { wall, peak_rss_kib: 1 })
            }),
            teardown: Box::new(move || note("teardown")),
        }
    }

    #[test]
    fn contenders_take_turns_and_rounds_begin_with_another() {
        let log = RefCell::default();
        let summaries = compete(&mut [noted("a", &log, Some(1)), noted("b", &log, Some(2))], 5).unwrap();
        let runs: Vec<String> = log.take().into_iter().filter(|line| line.ends_with("run")).collect();
        assert_eq!(runs.len(), 2 * 2 * (WARM_UP + 5));
        assert_eq!(runs[..8], ["a run", "a run", "b run", "b run", "b run", "b run", "a run", "a run"]);
        assert_eq!(summaries[1].0, "b");
        assert_eq!(summaries[1].1.median, Duration::from_millis(2));
    }

    #[test]
    fn a_failed_run_is_named_and_cleaned_up() {
        let log = RefCell::default();
        let error = compete(&mut [noted("a", &log, None)], 5).unwrap_err();
        assert_eq!(format!("{error:#}"), "a, round 0: broken");
        assert_eq!(log.take(), ["a setup", "a run", "a teardown"]);
    }

    #[test]
    fn arguments_are_read_strictly() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(read(&[]).unwrap(), (RUNS, words("underlay interfaces foreign crowd guests")));
        assert_eq!(read(&words("crowd --runs 5")).unwrap(), (5, words("crowd")));
        for wrong in ["--runs 0", "--runs x", "--runs", "5", "crowds"] {
            assert!(read(&words(wrong)).is_err(), "{wrong}");
        }
    }
}
