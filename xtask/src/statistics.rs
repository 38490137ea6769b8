//! Medians and percentiles of measurements, and the Markdown table that shows them.

use std::time::Duration;

/// What one run of one process cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// From before it was started until it was gone.
    pub wall: Duration,
    /// The most memory it had resident at once.
    pub peak_rss_kib: u64,
}

/// What many runs cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Half of the runs were faster.
    pub median: Duration,
    /// A tenth was faster.
    pub p10: Duration,
    /// A tenth was slower.
    pub p90: Duration,
    /// The median of the peaks.
    pub peak_rss_kib: u64,
}

impl Summary {
    /// Sums up; absent when there is no sample.
    pub fn of(samples: &[Sample]) -> Option<Self> {
        let mut nanoseconds: Vec<u128> = samples.iter().map(|sample| sample.wall.as_nanos()).collect();
        let mut peaks: Vec<u128> = samples.iter().map(|sample| sample.peak_rss_kib.into()).collect();
        nanoseconds.sort_unstable();
        peaks.sort_unstable();
        let wall = |percent| {
            let nanoseconds = u64::try_from(percentile(&nanoseconds, percent)?).unwrap_or(u64::MAX);
            Some(Duration::from_nanos(nanoseconds))
        };
        Some(Self {
            median: wall(50)?,
            p10: wall(10)?,
            p90: wall(90)?,
            peak_rss_kib: u64::try_from(percentile(&peaks, 50)?).unwrap_or(u64::MAX),
        })
    }
}

/// The value below which `percent` of the sorted values lie; between two of them, the line that
/// joins them decides.
fn percentile(sorted: &[u128], percent: u128) -> Option<u128> {
    let last = u128::try_from(sorted.len().checked_sub(1)?).ok()?;
    let (whole, part) = (last * percent / 100, last * percent % 100);
    let at = usize::try_from(whole).ok()?;
    let low = *sorted.get(at)?;
    let high = sorted.get(at + 1).copied().unwrap_or(low);
    Some(low + (high - low) * part / 100)
}

/// A Markdown table; the first entry is the reference that the others are set against.
pub fn table(entries: &[(String, Summary)]) -> String {
    let Some((reference, base)) = entries.first() else { return String::new() };
    let mut text = format!("| | median | p10 | p90 | × {reference} | peak RSS |\n|---|--:|--:|--:|--:|--:|\n");
    for (name, summary) in entries {
        let ratio = summary.median.as_secs_f64() / base.median.as_secs_f64().max(f64::MIN_POSITIVE);
        let [median, p10, p90] = [summary.median, summary.p10, summary.p90].map(milliseconds);
        let peak = mebibytes(summary.peak_rss_kib);
        text.push_str(&format!("| {name} | {median} | {p10} | {p90} | {ratio:.2} | {peak} |\n"));
    }
    text
}

/// As tables show it.
pub fn milliseconds(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1000.0)
}

/// As tables show it.
pub fn mebibytes(kib: u64) -> String {
    format!("{}.{} MiB", kib / 1024, kib % 1024 * 10 / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(milliseconds: &[u64]) -> Vec<Sample> {
        milliseconds.iter().map(|&it| Sample { wall: Duration::from_millis(it), peak_rss_kib: it }).collect()
    }

    #[test]
    fn the_median_of_an_odd_and_an_even_number() {
        assert_eq!(Summary::of(&samples(&[9, 1, 5])).unwrap().median, Duration::from_millis(5));
        assert_eq!(Summary::of(&samples(&[4, 1, 3, 2])).unwrap().median, Duration::from_micros(2500));
        assert_eq!(Summary::of(&samples(&[7])).unwrap().p90, Duration::from_millis(7));
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn percentiles_lie_between_their_neighbours() {
        let summary = Summary::of(&samples(&(0..=100).rev().collect::<Vec<_>>())).unwrap();
        assert_eq!((summary.p10, summary.p90), (Duration::from_millis(10), Duration::from_millis(90)));
        let summary = Summary::of(&samples(&[0, 10])).unwrap();
        assert_eq!((summary.p10, summary.p90), (Duration::from_millis(1), Duration::from_millis(9)));
        assert_eq!(summary.peak_rss_kib, 5);
    }

    #[test]
    fn one_slow_run_moves_the_median_by_at_most_one_place() {
        let summary = Summary::of(&samples(&[10, 11, 12, 13, 9000])).unwrap();
        assert_eq!(summary.median, Duration::from_millis(12));
    }

    #[test]
    fn the_table_sets_each_against_the_first() {
        let entry = |name: &str, it| (name.to_owned(), Summary::of(&samples(&[it])).unwrap());
        let table = table(&[entry("floor", 2000), entry("ADD", 3000)]);
        assert_eq!(
            table,
            "| | median | p10 | p90 | × floor | peak RSS |\n|---|--:|--:|--:|--:|--:|\n\
             | floor | 2000.000 ms | 2000.000 ms | 2000.000 ms | 1.00 | 1.9 MiB |\n\
             | ADD | 3000.000 ms | 3000.000 ms | 3000.000 ms | 1.50 | 2.9 MiB |\n"
        );
    }
}
