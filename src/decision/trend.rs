//! How a leg's emotions changed from its beginning to its end, in bounded memory.
//!
//! Speech time is cut into [`SPANS`] spans of equal length at most. When there are more, neighbours are joined, so that every span is
//! as long as two were. The last quarter of speech time is then known to within a part of a span, which is taken as even.

use zeroize::Zeroizing;

/// Spans kept: between 32 and 64 after the first join, so that a quarter of a call is at least 8 of them.
const SPANS: usize = 64;
/// The length of a span at first: a stride of speech. Seconds.
const FIRST_SPAN_SECONDS: f64 = 0.5;
/// A quarter shorter than this says nothing. Seconds of speech, that of one long window.
const LEAST_QUARTER_SECONDS: f64 = 2.0;

/// Mean probabilities over the course of a leg. Wiped when dropped.
#[derive(Debug, Clone)]
pub(super) struct Trend {
    labels: usize,
    span_seconds: f64,
    /// Full ones, the last perhaps not.
    spans: Vec<Span>,
}

/// A stretch of speech time.
#[derive(Debug, Clone)]
struct Span {
    seconds: f64,
    /// Probability times seconds, one a label.
    sums: Zeroizing<Vec<f64>>,
}

impl Trend {
    pub(super) fn new(labels: usize) -> Self {
        Self { labels, span_seconds: FIRST_SPAN_SECONDS, spans: Vec::new() }
    }

    pub(super) fn add(&mut self, probabilities: &[f32], spoken_seconds: f64) {
        if self.spans.last().is_none_or(|span| span.seconds >= self.span_seconds) {
            if self.spans.len() == SPANS {
                self.join();
            }
            self.spans.push(Span { seconds: 0.0, sums: vec![0.0; self.labels].into() });
        }
        if let Some(span) = self.spans.last_mut() {
            span.seconds += spoken_seconds;
            for (sum, &probability) in span.sums.iter_mut().zip(probabilities) {
                *sum += f64::from(probability) * spoken_seconds;
            }
        }
    }

    /// The mean of each label over the last quarter of speech time, less that over the rest; `None` while that is too little speech.
    pub(super) fn changes(&self) -> Option<Vec<f64>> {
        let all: f64 = self.spans.iter().map(|span| span.seconds).sum();
        let quarter = all / 4.0;
        if quarter < LEAST_QUARTER_SECONDS {
            return None;
        }
        let mut last = vec![0.0; self.labels];
        let mut total = vec![0.0; self.labels];
        let mut missing = quarter;
        for span in self.spans.iter().rev() {
            let part = if span.seconds > 0.0 { (missing / span.seconds).min(1.0) } else { 0.0 };
            missing -= part * span.seconds;
            for ((last, total), sum) in last.iter_mut().zip(&mut total).zip(span.sums.iter()) {
                *last += part * sum;
                *total += sum;
            }
        }
        let change = |(last, total): (&f64, &f64)| last / quarter - (total - last) / (all - quarter);
        Some(last.iter().zip(&total).map(change).collect())
    }

    /// Joins neighbours, so that half as many are left.
    fn join(&mut self) {
        self.span_seconds *= 2.0;
        let mut joined: Vec<Span> = Vec::with_capacity(SPANS);
        for (index, span) in self.spans.drain(..).enumerate() {
            match joined.last_mut().filter(|_| index % 2 == 1) {
                None => joined.push(span),
                Some(last) => {
                    last.seconds += span.seconds;
                    for (sum, more) in last.sums.iter_mut().zip(span.sums.iter()) {
                        *sum += more;
                    }
                }
            }
        }
        self.spans = joined;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trend(windows: impl IntoIterator<Item = (f32, f64)>) -> Trend {
        let mut trend = Trend::new(1);
        windows.into_iter().for_each(|(probability, seconds)| trend.add(&[probability], seconds));
        trend
    }

    #[test]
    fn compares_the_last_quarter_with_the_rest() {
        let windows = (0..80).map(|window| (if window < 60 { 0.2 } else { 0.8 }, 0.5));
        let change = trend(windows).changes().unwrap()[0];
        assert!((change - 0.6).abs() < 1e-6, "{change}");
    }

    #[test]
    fn says_nothing_of_a_short_leg() {
        assert_eq!(trend([]).changes(), None);
        assert_eq!(trend(vec![(0.5, 0.5); 15]).changes(), None);
        assert!(trend(vec![(0.5, 0.5); 16]).changes().is_some());
    }

    #[test]
    fn a_day_of_speech_takes_no_more_memory_than_a_minute() {
        let long = trend((0..200_000).map(|window| (if window < 150_000 { 0.5 } else { 0.25 }, 0.5)));
        assert!(long.spans.len() <= SPANS);
        let change = long.changes().unwrap()[0];
        assert!((change + 0.25).abs() < 0.01, "{change}");
    }

    proptest! {
        /// Against all windows kept: no more than a span's part of the quarter is taken as even.
        #[test]
        fn is_near_what_all_windows_say(windows in prop::collection::vec((0.0_f32..=1.0, 0.1_f64..=0.5), 100..600)) {
            let all: f64 = windows.iter().map(|window| window.1).sum();
            let (mut last, mut rest, mut behind) = (0.0, 0.0, 0.0);
            for &(probability, seconds) in windows.iter().rev() {
                let part = ((all / 4.0 - behind) / seconds).clamp(0.0, 1.0);
                last += f64::from(probability) * seconds * part;
                rest += f64::from(probability) * seconds * (1.0 - part);
                behind += seconds;
            }
            let expected = last / (all / 4.0) - rest / (all * 0.75);
            let change = trend(windows).changes().unwrap()[0];
            prop_assert!((change - expected).abs() < 0.15, "{change} is not {expected}");
        }
    }
}
