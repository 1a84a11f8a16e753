//! The search for the largest load that a server carries: by halves, each step a run of its own. A load that does not hold is tried
//! once more before it counts, since a machine's other work disturbs a run now and then.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    load::{self, GRACE, Options},
    material::Material,
    progress,
    report::Report,
    target::Target,
};
use crate::cli::Usage;

/// In all, whatever is left to be tried.
const AT_MOST: Duration = Duration::from_secs(300);
/// The search ends when it is as near as this: one part in so many.
const NEARNESS: usize = 50;

/// Where the limit may lie. Without clock or I/O.
#[derive(Debug)]
pub(super) struct Search {
    /// Held.
    least: usize,
    /// Did not hold, or is one more than may be tried.
    most: usize,
    /// Did not hold once.
    doubted: Option<usize>,
}

impl Search {
    /// A limit of 0 to `most`.
    pub(super) fn new(most: usize) -> Self {
        Self { least: 0, most: most + 1, doubted: None }
    }

    /// The next load to be tried; `None` when the limit is known as well as it need be.
    pub(super) fn next(&self) -> Option<usize> {
        if self.doubted.is_some() {
            return self.doubted;
        }
        let left = self.most - self.least;
        if left <= 1 || (self.least > 0 && left <= self.least / NEARNESS) {
            return None;
        }
        Some(self.least + left.div_ceil(2).min(left - 1))
    }

    /// Takes in how a load went.
    pub(super) fn tell(&mut self, calls: usize, held: bool) {
        if held {
            self.least = calls;
            self.doubted = None;
        } else if self.doubted.take() == Some(calls) {
            self.most = calls;
        } else {
            self.doubted = Some(calls);
        }
    }

    /// The largest load that held.
    pub(super) fn limit(&self) -> usize {
        self.least
    }
}

/// Refuses steps of which not even one fits.
pub(super) fn check(options: &Options) -> Result<(), Usage> {
    if longest_step(options) <= AT_MOST {
        return Ok(());
    }
    let most = (AT_MOST - GRACE).as_secs();
    Err(Usage(format!(
        "a search takes 5 minutes at most; set --seconds and --ramp to {most} s together, better 10, or leave --find-limit out"
    )))
}

/// The ramp, the measured time, and the longest that answers are waited for.
fn longest_step(options: &Options) -> Duration {
    options.ramp + options.seconds + GRACE
}

/// Searches, and reports the largest load that held, or, if none did, the last.
pub(super) async fn find(target: &Target, material: &Arc<Material>, options: &Options) -> anyhow::Result<Report> {
    let (ends, step) = (Instant::now() + AT_MOST, longest_step(options));
    let mut search = Search::new(options.calls);
    let mut best: Option<Report> = None;
    let mut last = None;
    let mut most_calls = 0;
    while let Some(calls) = search.next() {
        if last.is_some() && Instant::now() + step > ends {
            progress("the time for the search is over");
            break;
        }
        let mut report = load::run(target, material, &Options { calls, ..options.clone() }).await?;
        if calls < most_calls {
            report.forget_memory();
        }
        most_calls = most_calls.max(calls);
        if report.measured_nothing() {
            let seconds = options.seconds.as_secs_f64();
            anyhow::bail!("nothing was scored within a step of {seconds} s; set --seconds higher, to 5 or more");
        }
        progress(report.line());
        search.tell(calls, report.holds());
        if report.holds() {
            best = Some(report.clone());
        }
        last = Some(report);
    }
    let mut found = best.or(last).ok_or_else(|| anyhow::anyhow!("nothing was tried"))?;
    found.limit_calls = Some(search.limit());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches a limit that is exact; gives what was found and the steps it took.
    fn find(limit: usize, most: usize) -> (usize, usize) {
        let mut search = Search::new(most);
        let mut steps = 0;
        while let Some(calls) = search.next() {
            assert!((1..=most).contains(&calls));
            search.tell(calls, calls <= limit);
            steps += 1;
        }
        (search.limit(), steps)
    }

    #[test]
    fn the_limit_is_found_to_a_fiftieth() {
        for (limit, most) in [(1, 2000), (49, 2000), (375, 2000), (1312, 2000), (1999, 2000), (3, 7), (1, 1)] {
            let (found, steps) = find(limit, most);
            assert!(found <= limit && limit - found <= limit / NEARNESS, "{found} of {limit}");
            assert!(steps <= 24, "{steps} steps");
        }
        assert_eq!(find(0, 100).0, 0);
        assert!(find(5000, 2000).0 >= 1960);
    }

    #[test]
    fn a_load_is_tried_again_before_it_counts() {
        let mut search = Search::new(100);
        let calls = search.next().unwrap();
        search.tell(calls, false);
        assert_eq!(search.next(), Some(calls));
        search.tell(calls, true);
        assert!(search.next().unwrap() > calls);
    }
}
