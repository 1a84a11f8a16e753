//! What is counted of calls, and put together over all of them.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use hdrhistogram::Histogram;

/// Problems that are told in words; the rest is counted.
const TOLD: usize = 5;
/// The longest that is told apart, in microseconds: an hour.
const LONGEST: u64 = 3_600_000_000;

/// What became of one call, or of many.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Calls that were acknowledged.
    pub(super) admitted: u64,
    /// Calls that were refused for want of room.
    pub(super) refused: u64,
    /// Streams that grew too old, whose calls went on by another.
    pub(super) resumed: u64,
    /// From the opening of a refused call to its status.
    pub(super) refusals: Vec<Duration>,
    /// Of scored windows, while measured: from the sending of the last sample that each depends on to its event.
    pub(super) latencies: Vec<Duration>,
    /// Strides at which something was scored, from begin to end.
    pub(super) scored: u64,
    /// Strides at which nothing was, sheds left out.
    pub(super) not_scored: u64,
    /// Windows given up by the server, for each call that was acknowledged.
    pub(super) sheds: Vec<u64>,
    /// Calls that broke, answers that are missing or wrong.
    pub(super) errors: u64,
    /// Events that did not follow the one before.
    pub(super) out_of_order: u64,
    /// The first of both, in words.
    pub(super) problems: Vec<String>,
}

/// Counts in classes of one width, by many tasks at once; the last class also holds all that is above.
pub(super) struct Classes {
    width: Duration,
    counts: Box<[AtomicU64]>,
}

impl Tally {
    /// Notes an error.
    pub(super) fn error(&mut self, problem: String) {
        self.errors += 1;
        self.tell(problem);
    }

    /// Notes an event that is not the next.
    pub(super) fn disorder(&mut self, problem: String) {
        self.out_of_order += 1;
        self.tell(problem);
    }

    /// Adds another's.
    pub(super) fn merge(&mut self, other: Self) {
        self.admitted += other.admitted;
        self.refused += other.refused;
        self.resumed += other.resumed;
        self.refusals.extend(other.refusals);
        self.latencies.extend(other.latencies);
        self.scored += other.scored;
        self.not_scored += other.not_scored;
        self.sheds.extend(other.sheds);
        self.errors += other.errors;
        self.out_of_order += other.out_of_order;
        for problem in other.problems {
            self.tell(problem);
        }
    }

    /// Windows given up, of all calls.
    pub(super) fn shed(&self) -> u64 {
        self.sheds.iter().sum()
    }

    fn tell(&mut self, problem: String) {
        if self.problems.len() < TOLD {
            self.problems.push(problem);
        }
    }
}

impl Classes {
    /// So many classes of this width.
    pub(super) fn new(width: Duration, classes: usize) -> Self {
        Self { width, counts: (0..classes.max(1)).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Counts one.
    pub(super) fn note(&self, value: Duration) {
        let class = value.as_micros() / self.width.as_micros().max(1);
        let class = usize::try_from(class).unwrap_or(usize::MAX).min(self.counts.len() - 1);
        self.counts[class].fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted in each class.
    pub(super) fn counts(&self) -> Vec<u64> {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// The upper bound of the class in which this part of all lies.
    pub(super) fn quantile(&self, part: f64) -> Duration {
        let counts = self.counts();
        let wanted = part * counts.iter().sum::<u64>() as f64;
        let mut seen = 0;
        for (class, count) in (1_u32..).zip(counts) {
            seen += count;
            if count > 0 && seen as f64 >= wanted {
                return self.width * class;
            }
        }
        Duration::ZERO
    }
}

/// Durations in a histogram of microseconds, to three digits.
pub(super) fn histogram(durations: &[Duration]) -> Histogram<u64> {
    let mut histogram = Histogram::new_with_max(LONGEST, 3).expect("an hour to three digits is supported");
    for duration in durations {
        histogram.saturating_record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_tell_where_a_part_lies() {
        let classes = Classes::new(Duration::from_millis(1), 10);
        assert_eq!(classes.quantile(0.5), Duration::ZERO);
        for millis in [0, 0, 0, 3, 70] {
            classes.note(Duration::from_millis(millis));
        }
        assert_eq!(classes.counts()[0..4], [3, 0, 0, 1]);
        assert_eq!(classes.quantile(0.5), Duration::from_millis(1));
        assert_eq!(classes.quantile(0.8), Duration::from_millis(4));
        assert_eq!(classes.quantile(1.0), Duration::from_millis(10));
    }

    #[test]
    fn tallies_add_up_and_tell_few_problems() {
        let mut all = Tally::default();
        for call in 0..8 {
            let mut one = Tally { admitted: 1, sheds: vec![call], ..Tally::default() };
            one.error(format!("call {call}"));
            one.disorder(format!("call {call}"));
            all.merge(one);
        }
        assert_eq!((all.admitted, all.shed(), all.errors, all.out_of_order), (8, 28, 8, 8));
        assert_eq!(all.problems.len(), TOLD);
    }
}
