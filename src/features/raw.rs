//! Raw frames: all of a frame's values that do not depend on the window it will stand in; and what makes them of samples.

use std::ops::Range;

use super::{FrontEnd, logmel8k, spectrum, thesis154, waveform};

/// One raw frame.
#[derive(Debug, Clone, Copy)]
pub struct RawFrame<'a> {
    /// As many as [`FrontEnd::raw_values`] says.
    pub(super) values: &'a [f32],
    /// Of `thesis154`: magnitudes of samples between 0 and the least that counts as negative at full level. In a window of a lower
    /// level each larger than the threshold counts as a change of sign more, or, below 0, less.
    pub(super) faint: &'a [f32],
    /// How many of them, at the end, the frame before has not: frames overlap, and what they share is kept once.
    pub(super) fresh: usize,
}

/// Raw frames in a row, in plain vectors that can be kept on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct RawSequence {
    /// Values a frame.
    pub width: usize,
    /// `[frames, width]`.
    pub values: Vec<f32>,
    /// Corrections of all frames, what frames share once.
    pub faint: Vec<f32>,
    /// Where each frame's corrections begin and end.
    pub faint_begins: Vec<u32>,
    /// One past the last.
    pub faint_ends: Vec<u32>,
}

/// Makes raw frames of a stream at the front end's own rate, without allocating.
pub(super) enum Extractor {
    Thesis154(Box<thesis154::Extractor>),
    Logmel8k(Box<logmel8k::Extractor>),
    Waveform(waveform::Extractor),
}

/// Where a front end's frames stand in the samples it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Samples between frames.
    pub(super) hop_samples: u64,
    /// Samples a frame.
    pub(super) frame_samples: u64,
    /// How many of frame 0 lie before the stream begins.
    pub(super) lead_samples: u64,
}

impl Layout {
    /// One past the last sample that a frame looks at.
    pub(super) fn end(self, frame: u64) -> u64 {
        frame * self.hop_samples + self.frame_samples - self.lead_samples
    }
}

impl RawSequence {
    /// None yet, of `width` values each.
    pub fn new(width: usize) -> Self {
        Self { width, values: Vec::new(), faint: Vec::new(), faint_begins: Vec::new(), faint_ends: Vec::new() }
    }

    /// Frames there are.
    pub fn len(&self) -> usize {
        self.faint_ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.faint_ends.is_empty()
    }

    /// Adds a frame behind.
    pub(super) fn push(&mut self, frame: RawFrame<'_>) {
        self.values.extend_from_slice(frame.values);
        self.faint.extend_from_slice(&frame.faint[frame.faint.len() - frame.fresh..]);
        let place = |at: usize| u32::try_from(at).expect("fewer than 2^32 corrections in a recording");
        self.faint_begins.push(place(self.faint.len() - frame.faint.len()));
        self.faint_ends.push(place(self.faint.len()));
    }

    /// A range of frames. Ranges of several recordings may be chained: the first frame of each shares nothing.
    pub(super) fn iter(&self, frames: Range<usize>) -> impl Iterator<Item = RawFrame<'_>> + Clone {
        let first = frames.start;
        frames.map(move |frame| {
            let (begin, end) = (self.faint_begins[frame] as usize, self.faint_ends[frame] as usize);
            let before = if frame == first { begin } else { self.faint_ends[frame - 1] as usize };
            RawFrame {
                values: &self.values[frame * self.width..(frame + 1) * self.width],
                faint: &self.faint[begin..end],
                fresh: end - before,
            }
        })
    }
}

impl Extractor {
    /// The front end's, as calls and the trainer use it. Its parameters are valid.
    pub(super) fn new(front_end: &FrontEnd) -> Self {
        match front_end {
            FrontEnd::Thesis154(_) => Self::Thesis154(Box::new(thesis154::Extractor::new(spectrum::fast, 0.0))),
            FrontEnd::Logmel8k(options) => Self::Logmel8k(Box::new(logmel8k::Extractor::new(options))),
            FrontEnd::Waveform(options) => Self::Waveform(waveform::Extractor::new(options)),
        }
    }

    /// Takes samples in and tells each raw frame that they complete.
    pub(super) fn push(&mut self, samples: &[f32], tell: impl FnMut(RawFrame<'_>)) {
        match self {
            Self::Thesis154(extractor) => extractor.push(samples, tell),
            Self::Logmel8k(extractor) => extractor.push(samples, tell),
            Self::Waveform(extractor) => extractor.push(samples, tell),
        }
    }

    /// Bytes that it takes beside itself; what legs share is not counted.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Thesis154(extractor) => size_of::<thesis154::Extractor>() + extractor.bytes(),
            Self::Logmel8k(extractor) => size_of::<logmel8k::Extractor>() + extractor.bytes(),
            Self::Waveform(extractor) => extractor.bytes(),
        }
    }

    /// Ends the stream: tells what frames the front end completes with silence.
    pub(super) fn finish(&mut self, tell: impl FnMut(RawFrame<'_>)) {
        match self {
            Self::Thesis154(extractor) => extractor.finish(tell),
            // Their frames are those that fit into the samples.
            Self::Logmel8k(_) | Self::Waveform(_) => {}
        }
    }
}
