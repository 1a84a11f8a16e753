//! What a call's audio is like and what it costs, told every half second of audio, so that nothing is recorded by chunk.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::Output;
use crate::audio::{Encoding, level::Meter};

/// Time that one [`Spent`] stands for: half a second, a stride at the default, so that the work of a window lies in one.
const STRETCHES_PER_SECOND: u64 = 2;

/// What half a second of audio took, all legs of the call together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// From bytes to samples.
    pub decode: Duration,
    /// From samples to windows: resampling, gate, front end, and the windows that fell due.
    pub features: Duration,
}

/// When a chunk was worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worked {
    /// Decoding began.
    pub began: Instant,
    /// Decoding ended, features began.
    pub decoded: Instant,
    /// Features ended.
    pub heard: Instant,
}

/// One call's own.
#[derive(Debug)]
pub(super) struct Measure {
    /// Read for [`Spent`] alone: nothing that a call decides depends on it. Without one nothing is timed.
    pub(super) clock: Option<fn() -> Instant>,
    /// One a leg.
    pub(super) meters: Vec<Meter>,
    stretch_samples: u64,
    samples: u64,
    spent: Spent,
    worked: Option<Worked>,
}

impl Measure {
    pub(super) fn new(encoding: Encoding, sample_rate_hz: u32, legs: usize) -> Self {
        Self {
            clock: None,
            meters: vec![Meter::new(encoding, sample_rate_hz); legs],
            stretch_samples: u64::from(sample_rate_hz) / STRETCHES_PER_SECOND,
            samples: 0,
            spent: Spent::default(),
            worked: None,
        }
    }

    pub(super) fn read(&self) -> Option<Instant> {
        self.clock.map(|clock| clock())
    }

    /// Counts a chunk of so many samples a leg that `began` to be worked on and was decoded then; features end now.
    pub(super) fn count(&mut self, samples: u64, began: Instant, decoded: Option<Instant>, out: &mut VecDeque<Output>) {
        let (Some(decoded), Some(heard)) = (decoded, self.read()) else { return };
        self.worked = Some(Worked { began, decoded, heard });
        self.spent.decode += decoded.saturating_duration_since(began);
        self.spent.features += heard.saturating_duration_since(decoded);
        self.samples += samples;
        if self.samples >= self.stretch_samples {
            out.push_back(Output::Spent(std::mem::take(&mut self.spent)));
            self.samples = 0;
        }
    }

    /// When the last chunk was worked on; told once.
    pub(super) fn take_worked(&mut self) -> Option<Worked> {
        self.worked.take()
    }
}
