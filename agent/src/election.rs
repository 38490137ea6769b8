//! Who leads: one Lease, decided by one's own clock alone.
//!
//! Pure: what the Lease says and the time, in; what to write, out. No two machines' clocks are compared: a holder
//! counts as gone when the *same* record has been seen for a whole lease by this process' monotonic clock, so a
//! jump of anybody's wall clock changes nothing. A leader stops acting [`Timing::deadline`] after the beginning of
//! its last successful renewal, which is before anybody else may take over, so in a partition nobody acts twice.

use std::time::Duration;

use tokio::time::Instant;

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// How long a record must stand still before its holder counts as gone.
    pub lease: Duration,
    /// How long after a renewal a leader still acts; shorter than `lease`.
    pub deadline: Duration,
    /// The time between two looks.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { lease: Duration::from_secs(30), deadline: Duration::from_secs(20), retry: Duration::from_secs(5) }
    }
}

/// The Lease, as far as it matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; empty when nobody does.
    pub holder: String,
    /// Which version of the object it is: any write changes it.
    pub version: String,
    /// How often it went to another holder.
    pub transitions: i64,
}

/// What to do about the Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// There is none: make it.
    Create,
    /// It is ours: renew it, if it still has this version.
    Renew {
        /// The version that was seen.
        version: String,
        /// As it was.
        transitions: i64,
    },
    /// It is nobody's, or its holder is gone: take it, if it still has this version.
    Take {
        /// The version that was seen.
        version: String,
        /// One more than it was.
        transitions: i64,
    },
    /// Somebody else leads.
    Follow,
}

/// One candidate.
#[derive(Debug)]
pub struct Election {
    identity: String,
    timing: Timing,
    /// The record that was seen last, and since when it stands.
    seen: Option<(Record, Instant)>,
    /// The beginning of the last successful renewal.
    renewed: Option<Instant>,
}

impl Election {
    /// A candidate who has seen nothing.
    pub fn new(identity: String, timing: Timing) -> Self {
        Self { identity, timing, seen: None, renewed: None }
    }

    /// What to do, the Lease being as `record` says.
    pub fn decide(&mut self, record: Option<Record>, now: Instant) -> Move {
        let Some(record) = record else {
            self.seen = None;
            return Move::Create;
        };
        let since = match &self.seen {
            Some((seen, since)) if *seen == record => *since,
            _ => now,
        };
        let is_stale = now.duration_since(since) >= self.timing.lease;
        let Record { holder, version, transitions } = record.clone();
        self.seen = Some((record, since));
        if holder == self.identity {
            return Move::Renew { version, transitions };
        }
        self.renewed = None;
        if holder.is_empty() || is_stale {
            return Move::Take { version, transitions: transitions.saturating_add(1) };
        }
        Move::Follow
    }

    /// A write of ours succeeded that was begun at `begun`.
    pub fn wrote(&mut self, begun: Instant) {
        self.renewed = Some(begun);
    }

    /// A write of ours met another version: somebody else was faster.
    pub fn lost(&mut self) {
        self.renewed = None;
    }

    /// Until when this candidate leads; nothing when it does not.
    pub fn leads_until(&self) -> Option<Instant> {
        self.renewed.and_then(|renewed| renewed.checked_add(self.timing.deadline))
    }

    /// True when this candidate may act now.
    pub fn leads(&self, now: Instant) -> bool {
        self.leads_until().is_some_and(|until| now < until)
    }

    /// Who leads, as far as was seen.
    pub fn holder(&self) -> &str {
        self.seen.as_ref().map_or("", |(record, _)| record.holder.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn record(holder: &str, version: &str) -> Option<Record> {
        Some(Record { holder: holder.to_owned(), version: version.to_owned(), transitions: 4 })
    }

    #[test]
    fn nobody_is_followed_by_whoever_comes_first() {
        let now = Instant::now();
        let mut me = Election::new("me".to_owned(), Timing::default());
        assert_eq!(me.decide(None, now), Move::Create);
        assert!(!me.leads(now));
        me.wrote(now);
        assert!(me.leads(now + 19 * SECOND) && !me.leads(now + 20 * SECOND));
        assert_eq!(me.decide(record("me", "1"), now), Move::Renew { version: "1".to_owned(), transitions: 4 });
        assert_eq!(me.decide(record("", "2"), now), Move::Take { version: "2".to_owned(), transitions: 5 });
    }

    #[test]
    fn a_holder_is_gone_when_its_record_stands_still_for_a_lease() {
        let now = Instant::now();
        let mut me = Election::new("me".to_owned(), Timing::default());
        assert_eq!(me.decide(record("other", "1"), now), Move::Follow);
        assert_eq!(me.decide(record("other", "1"), now + 29 * SECOND), Move::Follow);
        assert_eq!(me.decide(record("other", "2"), now + 31 * SECOND), Move::Follow, "it was renewed meanwhile");
        let take = Move::Take { version: "2".to_owned(), transitions: 5 };
        assert_eq!(me.decide(record("other", "2"), now + 61 * SECOND), take);
    }

    #[test]
    fn a_leader_that_sees_another_holder_stops_at_once() {
        let now = Instant::now();
        let mut me = Election::new("me".to_owned(), Timing::default());
        me.decide(None, now);
        me.wrote(now);
        me.decide(record("other", "9"), now + SECOND);
        assert!(!me.leads(now + SECOND));
        assert_eq!(me.holder(), "other");
    }

    /// In a partition the old leader has stopped before the new one may begin, whenever each of them looks.
    #[test]
    fn the_old_leader_stops_before_the_new_one_begins() {
        let timing = Timing::default();
        for look in 0..30_u32 {
            let start = Instant::now();
            let (mut old, mut new) = (Election::new("old".to_owned(), timing), Election::new("new".to_owned(), timing));
            old.decide(None, start);
            old.wrote(start);
            // The write became visible at `start` or later, and the other one saw it later still.
            let seen = start + look * SECOND / 10;
            assert_eq!(new.decide(record("old", "1"), seen), Move::Follow);
            for tick in 0..600 {
                let now = seen + tick * SECOND / 10;
                let takes = matches!(new.decide(record("old", "1"), now), Move::Take { .. });
                assert!(!(takes && old.leads(now)), "both act {tick} ticks after it was seen");
            }
        }
    }
}
