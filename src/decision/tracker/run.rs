//! What is pending or open rests on: the windows since it began.

use std::time::Duration;

use zeroize::Zeroize as _;

use super::{Beat, Heard, seconds, single};
use crate::decision::alert::Evidence;

/// Windows since something was pending.
#[derive(Debug, Clone)]
pub(super) struct Run {
    start: Duration,
    end: Duration,
    /// So many were scored.
    pub(super) windows: u32,
    /// Speech that they add to those before.
    pub(super) spoken_seconds: f64,
    ratio_sum: f64,
    peak: f64,
    peak_at: Duration,
    snr_sum: f64,
    snr_windows: u32,
}

impl Run {
    /// Begins with the stretch of this beat; nothing is heard yet.
    pub(super) fn new(beat: &Beat<'_>) -> Self {
        Self {
            start: beat.start,
            end: beat.end,
            windows: 0,
            spoken_seconds: 0.0,
            ratio_sum: 0.0,
            peak: 0.0,
            peak_at: beat.end,
            snr_sum: 0.0,
            snr_windows: 0,
        }
    }

    /// Takes a window in.
    pub(super) fn add(&mut self, beat: &Beat<'_>, heard: &Heard<'_>, level: f64) {
        self.end = beat.end;
        self.windows += 1;
        self.spoken_seconds += heard.spoken_seconds;
        self.ratio_sum += f64::from(heard.speech_ratio);
        if level > self.peak {
            (self.peak, self.peak_at) = (level, beat.end);
        }
        if let Some(snr_db) = heard.snr_db {
            self.snr_sum += f64::from(snr_db);
            self.snr_windows += 1;
        }
    }

    /// What an alert rests on, at this level, counted from the usual one.
    pub(super) fn evidence(&self, level: f32, usual: f32, scores: Vec<f32>) -> Evidence {
        Evidence {
            start: self.start,
            end: self.end,
            windows: self.windows,
            speech: seconds(self.spoken_seconds),
            speech_ratio: single(self.ratio_sum / f64::from(self.windows.max(1))),
            level,
            usual,
            peak: single(self.peak),
            peak_at: self.peak_at,
            scores,
            snr_db: (self.snr_windows > 0).then(|| single(self.snr_sum / f64::from(self.snr_windows))),
        }
    }

    /// Leaves nothing of what was heard.
    pub(super) fn forget(&mut self) {
        self.peak.zeroize();
        self.snr_sum.zeroize();
        self.snr_windows.zeroize();
    }
}
