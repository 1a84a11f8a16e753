//! Samples of one leg at its own rate → raw frames, each with whether it is speech. Calls and the trainer both listen here.
//!
//! A frame is speech when the gate's block around its centre is. It is told as soon as its last sample can be: half a frame after
//! its centre (46 ms of `thesis154`, 32 ms of `logmel8k`), and the resampler's look-ahead (10 to 30 ms) later, where it is
//! resampled; [`Listener::samples_needed`] says it to the sample.

use std::{collections::VecDeque, ops::Range};

use zeroize::Zeroizing;

use super::{
    FrontEnd,
    raw::{Extractor, Layout},
};
use crate::audio::{
    gate::{Activity, Gate},
    resample::{Error, Resampler},
};

pub use super::raw::{RawFrame, RawSequence};

/// Samples handled at a time, so that what is between resampler and extractor stays small however large a push is.
const SLICE_SAMPLES: usize = 1_024;

#[cfg(test)]
thread_local! {
    /// Samples that this thread's listeners took in: by it tests know what reached the features, whoever keeps books elsewhere.
    pub(crate) static HEARD_SAMPLES: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Hears one leg.
pub struct Listener {
    clock: Clock,
    resampler: Resampler,
    gate: Option<GateTrack>,
    extractor: Extractor,
    resampled: Zeroizing<Vec<f32>>,
    frames: u64,
}

/// Where frames stand in the source's samples.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) source_hz: u64,
    pub(super) rate_hz: u64,
    pub(super) layout: Layout,
}

/// The gate's decisions that frames still ask for.
struct GateTrack {
    gate: Gate,
    first_block: u64,
    blocks: VecDeque<Activity>,
}

/// All raw frames of a recording: computed once, kept on disk if need be, and cut into windows as often as wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct RawFrames {
    /// The frames.
    pub raw: RawSequence,
    /// Whether each frame is speech.
    pub speech: Vec<bool>,
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
        let gate = gate.then(|| GateTrack { gate: Gate::new(source_hz), first_block: 0, blocks: VecDeque::new() });
        let clock = Clock { source_hz: source_hz.into(), rate_hz: rate_hz.into(), layout: front_end.layout() };
        Ok(Self {
            clock,
            resampler,
            gate,
            extractor: Extractor::new(front_end),
            resampled: Zeroizing::default(),
            frames: 0,
        })
    }

    /// Takes samples in and tells each raw frame that they complete, with whether it is speech.
    pub fn push(&mut self, samples: &[f32], mut tell: impl FnMut(RawFrame<'_>, bool)) {
        #[cfg(test)]
        HEARD_SAMPLES.set(HEARD_SAMPLES.get() + samples.len() as u64);
        for slice in samples.chunks(SLICE_SAMPLES) {
            if let Some(track) = &mut self.gate {
                track.push(slice);
            }
            self.resampler.push(slice, &mut self.resampled);
            self.extract(false, &mut tell);
        }
    }

    /// Ends the stream: the frames still under way end in silence.
    pub fn finish(&mut self, mut tell: impl FnMut(RawFrame<'_>, bool)) {
        if let Some(track) = &mut self.gate {
            track.blocks.extend(track.gate.finish());
        }
        self.resampler.finish(&mut self.resampled);
        self.extract(true, &mut tell);
    }

    /// Samples that must have been pushed before the first `frames` frames are told.
    pub fn samples_needed(&self, frames: u64) -> u64 {
        match frames.checked_sub(1) {
            None => 0,
            Some(last) => self.resampler.input_needed(self.clock.layout.end(last)),
        }
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    fn extract(&mut self, last: bool, tell: &mut impl FnMut(RawFrame<'_>, bool)) {
        let Self { clock, gate, extractor, resampled, frames, .. } = self;
        let mut tell = |raw: RawFrame<'_>| {
            let speech = gate.as_mut().is_none_or(|track| track.is_speech(clock.centre(*frames)));
            *frames += 1;
            tell(raw, speech);
        };
        extractor.push(resampled, &mut tell);
        resampled.clear();
        if last {
            extractor.finish(&mut tell);
        }
    }
}

impl Clock {
    /// The source's sample at a frame's centre.
    fn centre(self, frame: u64) -> u64 {
        let Layout { hop_samples, frame_samples, lead_samples } = self.layout;
        (frame * hop_samples + frame_samples / 2 - lead_samples) * self.source_hz / self.rate_hz
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
    fn push(&mut self, samples: &[f32]) {
        let Self { gate, blocks, .. } = self;
        gate.push(samples, |activity| blocks.push_back(activity));
    }

    /// What the block around a sample is; samples are asked for in order. The last block also answers for a sample behind it,
    /// where a frame's centre is the stream's end.
    fn is_speech(&mut self, sample: u64) -> bool {
        let block = sample / self.gate.block_samples() as u64;
        while self.first_block < block && self.blocks.len() > 1 {
            self.blocks.pop_front();
            self.first_block += 1;
        }
        self.blocks.front() == Some(&Activity::Speech)
    }
}

impl RawFrames {
    /// Listens to a whole recording, as a [`Listener`] hears it.
    ///
    /// # Errors
    /// [`Error::Rate`] when the recording's rate is not supported.
    pub fn of(samples: &[f32], source_hz: u32, front_end: &FrontEnd, gate: bool) -> Result<Self, Error> {
        let mut listener = Listener::new(front_end, source_hz, gate)?;
        let (mut sequence, mut speech) = (RawSequence::new(front_end.raw_values()), Vec::new());
        let mut keep = |raw: RawFrame<'_>, is_speech| {
            sequence.push(raw);
            speech.push(is_speech);
        };
        listener.push(samples, &mut keep);
        listener.finish(&mut keep);
        Ok(Self { raw: sequence, speech, samples: samples.len() as u64, source_hz })
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
