//! What may become an alert: the windows since it began, and what they add up to.
//!
//! A rule with `min_excess_seconds` is a cumulative sum (CUSUM; Page, Biometrika 41, 1954): every window adds what its probability exceeds
//! `enter` by, above what is usual, times its speech, and takes away what it lacks. The sum is never below 0, and fades with media time,
//! so that sparse windows in minutes of music add up to nothing. Short and certain or long and moderate, both are told; a window or two of a lively
//! voice are used up by the quiet ones between.

use std::time::Duration;

use zeroize::Zeroize as _;

use super::{Beat, Heard, run::Run};
use crate::decision::rules::Rule;

/// After so many half-lives without a window, all but a hundredth of a sum has faded: what comes next begins anew.
const FADED_HALF_LIVES: f64 = 7.0;

/// Rounding of sums of strides.
const ROUNDING: f64 = 1e-6;

/// What is pending.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) run: Run,
    /// What the windows have added up to, seconds.
    excess_seconds: f64,
    /// Media time of the last.
    at: Duration,
}

impl Pending {
    /// What is pending after a window, if anything is: what was before, this window, and how far the level and the window's own probability
    /// are above what is usual.
    pub(super) fn after(
        before: Option<Self>,
        rule: &Rule,
        beat: &Beat<'_>,
        heard: &Heard<'_>,
        (level, level_above, window_above): (f64, f64, f64),
    ) -> Option<Self> {
        let before = before.filter(|before| rule.min_excess_seconds.is_none() || !before.has_faded(rule, beat.media));
        let excess_seconds = match rule.min_excess_seconds {
            None if level_above < rule.enter => return None,
            None => 0.0,
            Some(_) => {
                let kept = before.as_ref().map_or(0.0, |before| before.left(rule, beat.media));
                let excess_seconds = kept + (window_above - rule.enter) * heard.spoken_seconds;
                if excess_seconds <= 0.0 {
                    return None;
                }
                excess_seconds
            }
        };
        let mut run = before.map_or_else(|| Run::new(beat), |before| before.run);
        run.add(beat, heard, level);
        Some(Self { run, excess_seconds, at: beat.media })
    }

    /// What is left of the sum.
    fn left(&self, rule: &Rule, media: Duration) -> f64 {
        self.excess_seconds * (-self.half_lives(rule, media)).exp2()
    }

    fn has_faded(&self, rule: &Rule, media: Duration) -> bool {
        self.half_lives(rule, media) >= FADED_HALF_LIVES
    }

    /// Since the last window.
    fn half_lives(&self, rule: &Rule, media: Duration) -> f64 {
        media.saturating_sub(self.at).as_secs_f64() / rule.excess_half_life_seconds()
    }

    /// Leaves nothing of what was heard.
    pub(super) fn forget(&mut self) {
        self.run.forget();
        self.excess_seconds.zeroize();
    }

    /// Whether it is an alert.
    pub(super) fn is_enough(&self, rule: &Rule) -> bool {
        self.run.spoken_seconds + ROUNDING >= rule.min_speech_seconds
            && self.run.windows >= rule.min_windows
            && rule.min_excess_seconds.is_none_or(|enough| self.excess_seconds + ROUNDING >= enough)
    }
}
