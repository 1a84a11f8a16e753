//! Samples of one leg at its own rate → raw frames, each with what the gate found there. Calls and the trainer both listen here.
//!
//! A frame is what the gate's block around its centre is. It is told as soon as its last sample can be: half a frame after
//! its centre (46 ms of `thesis154`, 32 ms of `logmel8k`), and the resampler's look-ahead (10 to 30 ms) later, where it is
//! resampled; [`Listener::samples_needed`] says it to the sample. What the gate found may change while 832 ms more are heard, and is
//! then told again. All is told in the order of the samples that it depends on, however they came.

use std::{cell::Cell, ops::Range};

use zeroize::Zeroizing;

use super::{
    FrontEnd,
    raw::{Extractor, Layout},
};
use crate::audio::{
    gate::{Activity, Finding, Gate},
    resample::{Error, Resampler},
};

pub use super::raw::{RawFrame, RawSequence};

/// Samples handled at a time, so that what is between resampler and extractor stays small however large a push is.
const SLICE_SAMPLES: usize = 512;

thread_local! {
    /// What a slice becomes at the front end's rate. The thread's, so that no leg keeps it; empty and wiped between two pushes.
    static RESAMPLED: Cell<Zeroizing<Vec<f32>>> = Cell::default();
}

#[cfg(test)]
thread_local! {
    /// Samples that this thread's listeners took in: by it tests know what reached the features, whoever keeps books elsewhere.
    pub(crate) static HEARD_SAMPLES: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}
/// What a frame is where nothing was heard yet.
const NOTHING: Finding = Finding { activity: Activity::Silence, power: 0.0, background: 0.0 };
/// What every frame is without a gate.
const EVERYTHING: Finding = Finding { activity: Activity::Speech, power: 1.0, background: 0.0 };

/// Hears one leg.
pub struct Listener {
    clock: Clock,
    resampler: Resampler,
    gate: Option<GateTrack>,
    extractor: Extractor,
    frames: u64,
}

/// Where frames stand in the source's samples.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) source_hz: u64,
    pub(super) rate_hz: u64,
    pub(super) layout: Layout,
}

/// The gate, and what was told of it.
struct GateTrack {
    gate: Gate,
    /// Blocks that frames were told again for.
    heard: u64,
}

/// What is heard of a leg.
#[derive(Debug, Clone, Copy)]
pub enum Heard<'a> {
    /// The next frame, and what is known of it so far.
    Frame(RawFrame<'a>, Finding),
    /// What is known of an earlier frame, now that more was heard.
    Again(Again),
}

/// What is known of a frame that was told before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Again {
    /// The frame's number.
    pub frame: u64,
    /// Samples that had to be heard.
    pub at_samples: u64,
    /// What it is.
    pub finding: Finding,
}

/// All raw frames of a recording: computed once, kept on disk if need be, and cut into windows as often as wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct RawFrames {
    /// The frames.
    pub raw: RawSequence,
    /// Whether each frame is speech, all told.
    pub speech: Vec<bool>,
    /// What was known of each frame at first.
    pub first: Vec<Finding>,
    /// What was known of frames later, in that order.
    pub again: Vec<Again>,
    /// Samples of the recording.
    pub samples: u64,
    /// Its rate.
    pub source_hz: u32,
}

impl Listener {
    /// Listens to samples at `source_hz`; without a gate every frame counts as speech.
    ///
    /// # Errors
    /// [`Error::Rate`] when the source's rate is not supported.
    pub fn new(front_end: &FrontEnd, source_hz: u32, gate: bool) -> Result<Self, Error> {
        let rate_hz = front_end.sample_rate_hz();
        let resampler = Resampler::new(source_hz, rate_hz)?;
        let gate = gate.then(|| GateTrack { gate: Gate::new(source_hz), heard: 0 });
        let clock = Clock { source_hz: source_hz.into(), rate_hz: rate_hz.into(), layout: front_end.layout() };
        Ok(Self { clock, resampler, gate, extractor: Extractor::new(front_end), frames: 0 })
    }

    /// Takes samples in and tells each raw frame that they complete, and what is known anew.
    pub fn push(&mut self, samples: &[f32], mut tell: impl FnMut(Heard<'_>)) {
        #[cfg(test)]
        HEARD_SAMPLES.set(HEARD_SAMPLES.get() + samples.len() as u64);
        let mut resampled = RESAMPLED.take();
        for slice in samples.chunks(SLICE_SAMPLES) {
            if let Some(track) = &mut self.gate {
                track.gate.push(slice);
            }
            self.resampler.push(slice, &mut resampled);
            self.extract(&mut resampled, false, &mut tell);
        }
        RESAMPLED.set(resampled);
    }

    /// Ends the stream: the frames still under way end in silence.
    pub fn finish(&mut self, mut tell: impl FnMut(Heard<'_>)) {
        if let Some(track) = &mut self.gate {
            track.gate.finish();
        }
        let mut resampled = RESAMPLED.take();
        self.resampler.finish(&mut resampled);
        self.extract(&mut resampled, true, &mut tell);
        RESAMPLED.set(resampled);
    }

    /// Samples that must have been pushed before the first `frames` frames are told.
    pub fn samples_needed(&self, frames: u64) -> u64 {
        match frames.checked_sub(1) {
            None => 0,
            Some(last) => self.resampler.input_needed(self.clock.layout.end(last)),
        }
    }

    /// Bytes that it takes beside itself; what legs share is not counted.
    pub(super) fn bytes(&self) -> usize {
        let gate = self.gate.as_ref().map_or(0, |track| track.gate.bytes());
        self.resampler.bytes() + gate + self.extractor.bytes()
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    /// Hears what was resampled, and wipes it.
    fn extract(&mut self, resampled: &mut Vec<f32>, last: bool, tell: &mut impl FnMut(Heard<'_>)) {
        let Self { clock, gate, resampler, extractor, frames } = self;
        let mut tell_frame = |raw: RawFrame<'_>| {
            let finding = gate.as_mut().map_or(EVERYTHING, |track| {
                let needed = resampler.input_needed(clock.layout.end(*frames));
                track.hear(needed / track.block_samples(), *frames, *clock, tell);
                track.finding(clock.centre(*frames))
            });
            *frames += 1;
            tell(Heard::Frame(raw, finding));
        };
        extractor.push(resampled, &mut tell_frame);
        resampled.fill(0.0);
        resampled.clear();
        if last {
            extractor.finish(&mut tell_frame);
        }
        if let Some(track) = gate {
            track.hear(u64::MAX, *frames, *clock, tell);
        }
    }
}

impl Clock {
    /// The source's sample at a frame's centre.
    fn centre(self, frame: u64) -> u64 {
        let Layout { hop_samples, frame_samples, lead_samples } = self.layout;
        (frame * hop_samples + frame_samples / 2 - lead_samples) * self.source_hz / self.rate_hz
    }

    /// The first frame whose centre is not before a sample.
    fn first_centred_from(self, sample: u64) -> u64 {
        let Layout { hop_samples, frame_samples, lead_samples } = self.layout;
        let at = (sample * self.rate_hz).div_ceil(self.source_hz) + lead_samples;
        at.saturating_sub(frame_samples / 2).div_ceil(hop_samples)
    }

    /// A frame's first sample; that of the stream if the frame begins in the silence before.
    pub(super) fn start(self, frame: u64) -> u64 {
        let start = (frame * self.layout.hop_samples).saturating_sub(self.layout.lead_samples);
        start * self.source_hz / self.rate_hz
    }

    /// One past the last sample that a frame looks at.
    pub(super) fn end(self, frame: u64) -> u64 {
        (self.layout.end(frame) * self.source_hz).div_ceil(self.rate_hz)
    }

    /// The first frame that begins at or after a sample.
    pub(super) fn first_frame_from(self, sample: u64) -> u64 {
        if sample == 0 {
            return 0;
        }
        let at = (sample * self.rate_hz).div_ceil(self.source_hz);
        (at + self.layout.lead_samples).div_ceil(self.layout.hop_samples)
    }

    /// The time between frames.
    pub(super) fn hop_seconds(self) -> f64 {
        self.layout.hop_samples as f64 / self.rate_hz as f64
    }
}

impl GateTrack {
    fn block_samples(&self) -> u64 {
        self.gate.block_samples() as u64
    }

    /// Goes on to as many blocks, as far as they were heard, and tells frames again that the new ones say something of.
    fn hear(&mut self, blocks: u64, frames: u64, clock: Clock, tell: &mut impl FnMut(Heard<'_>)) {
        while self.heard < blocks.min(self.gate.track().heard()) {
            self.heard += 1;
            for (block, finding) in self.gate.track().changed_by(self.heard) {
                let from = clock.first_centred_from(block * self.block_samples());
                // The last block also stands for what lies behind it until that is heard.
                let to = clock.first_centred_from((block + 1) * self.block_samples());
                let to = if block + 1 == self.heard { frames } else { to };
                let at_samples = self.heard * self.block_samples();
                for frame in from..to.min(frames) {
                    tell(Heard::Again(Again { frame, at_samples, finding }));
                }
            }
        }
    }

    /// What the block around a sample is, or, before it is heard, the last one.
    fn finding(&self, sample: u64) -> Finding {
        self.gate.track().finding(sample / self.block_samples(), self.heard).unwrap_or(NOTHING)
    }
}

impl RawFrames {
    /// Listens to a whole recording, as a [`Listener`] hears it.
    ///
    /// # Errors
    /// [`Error::Rate`] when the recording's rate is not supported.
    pub fn of(samples: &[f32], source_hz: u32, front_end: &FrontEnd, gate: bool) -> Result<Self, Error> {
        let mut listener = Listener::new(front_end, source_hz, gate)?;
        let mut sequence = RawSequence::new(front_end.raw_values());
        let (mut now, mut first, mut again) = (Vec::new(), Vec::new(), Vec::new());
        let mut keep = |heard: Heard<'_>| match heard {
            Heard::Frame(raw, finding) => {
                sequence.push(raw);
                now.push(finding);
                first.push(finding);
            }
            Heard::Again(known) => {
                let before = &mut now[usize::try_from(known.frame).expect("a recording's frames fit into memory")];
                if std::mem::replace(before, known.finding) != known.finding {
                    again.push(known);
                }
            }
        };
        listener.push(samples, &mut keep);
        listener.finish(&mut keep);
        let speech = now.iter().map(|finding| finding.activity == Activity::Speech).collect();
        Ok(Self { raw: sequence, speech, first, again, samples: samples.len() as u64, source_hz })
    }

    /// Frames there are.
    pub fn frames(&self) -> usize {
        self.speech.len()
    }

    /// A range of frames; ranges of several recordings may be chained.
    pub fn range(&self, frames: Range<usize>) -> impl Iterator<Item = RawFrame<'_>> + Clone {
        self.raw.iter(frames)
    }
}
