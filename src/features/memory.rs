//! What is remembered of a leg: its last raw frames, and, where the front end asks for it, how the speaker usually sounds.
//!
//! Frames go in in the order in which they were heard, windows come out: the one code by which calls, scores and the trainer get a
//! network's values. Who trains on a clip *warm* pushes what the speaker said before, then the clip up to the window's end.
//! All of it is wiped when dropped.

use std::ops::Range;

use zeroize::Zeroizing;

use super::{Buffers, FrontEnd, Standardization, WindowOptions, assemble, baseline::Baseline, raw::RawFrame, waveform};

/// The last raw frames of a leg and the speaker's baseline.
pub struct Memory {
    width: usize,
    /// A ring of as many frames as a window has at most.
    values: Zeroizing<Vec<f32>>,
    faint: Zeroizing<Vec<Vec<f32>>>,
    speech: Vec<bool>,
    heard: u64,
    /// `None` for a front end that looks at nothing but the window.
    baseline: Option<Baseline>,
    assembly: Assembly,
    /// Values a frame, as the network is given them.
    network_width: usize,
}

/// What makes a window of raw frames.
#[derive(Clone, Copy)]
enum Assembly {
    /// What [`assemble`] says.
    Thesis154,
    /// The speaker's baseline is subtracted.
    Baseline,
    /// Nothing, or mean 0 and variance 1.
    Waveform { normalize: bool },
}

impl Memory {
    /// Nothing heard yet, with room for windows of `frames` frames. The front end's parameters are valid.
    ///
    /// # Panics
    /// When there is room for none.
    pub fn new(front_end: &FrontEnd, frames: usize) -> Self {
        assert!(frames > 0, "a window has frames");
        let width = front_end.raw_values();
        Self {
            width,
            values: Zeroizing::new(vec![0.0; frames * width]),
            faint: Zeroizing::new(vec![Vec::new(); frames]),
            speech: vec![false; frames],
            heard: 0,
            baseline: match front_end {
                FrontEnd::Thesis154(_) | FrontEnd::Waveform(_) => None,
                FrontEnd::Logmel8k(options) => Some(Baseline::new(options)),
            },
            assembly: match front_end {
                FrontEnd::Thesis154(_) => Assembly::Thesis154,
                FrontEnd::Logmel8k(_) => Assembly::Baseline,
                FrontEnd::Waveform(options) => Assembly::Waveform { normalize: options.normalize },
            },
            network_width: front_end.values(),
        }
    }

    /// Takes in the next frame, and whether it is speech.
    pub fn push(&mut self, raw: RawFrame<'_>, speech: bool) {
        let slot = self.slot(self.heard);
        let at = slot * self.width..(slot + 1) * self.width;
        if let Some(baseline) = &mut self.baseline {
            if speech {
                baseline.hear(raw.values);
            }
            if self.speech[slot] {
                // No window reaches so far back any more.
                baseline.take(&self.values[at.clone()]);
            }
        }
        self.values[at].copy_from_slice(raw.values);
        // Mostly empty, which takes no memory.
        self.faint[slot] = raw.faint.to_vec();
        self.speech[slot] = speech;
        self.heard += 1;
    }

    /// Takes in whether an earlier frame is speech, as far as is known now; one that is no longer kept stays what it was.
    pub fn again(&mut self, frame: u64, speech: bool) {
        if (self.oldest()..self.heard).contains(&frame) {
            let slot = self.slot(frame);
            if let Some(baseline) = self.baseline.as_mut().filter(|_| speech && !self.speech[slot]) {
                baseline.hear(&self.values[slot * self.width..(slot + 1) * self.width]);
            }
            self.speech[slot] = speech;
        }
    }

    /// Frames heard so far.
    pub fn heard(&self) -> u64 {
        self.heard
    }

    /// How the speaker usually sounds, if the front end asks for it.
    pub fn baseline_mut(&mut self) -> Option<&mut Baseline> {
        self.baseline.as_mut()
    }

    /// Makes a window of the last frames, not standardised. `window` is `[frames, values]`, with room for all of them; what is left of
    /// it behind is 0.
    ///
    /// # Panics
    /// If a frame is not heard yet or no longer kept, or there are more than there is room for.
    pub fn assemble(&self, frames: Range<u64>, window: &mut [f32]) {
        let oldest = self.oldest();
        assert!(oldest <= frames.start && frames.end <= self.heard, "frames {frames:?} of {oldest}..{}", self.heard);
        if let Assembly::Thesis154 = self.assembly {
            return assemble::assemble(frames.map(|frame| self.frame(frame)), window);
        }
        let mut room = window.chunks_exact_mut(self.width);
        for frame in frames.clone() {
            room.next().expect("there is room").copy_from_slice(self.frame(frame).values);
        }
        let filled = usize::try_from(frames.end - frames.start).expect("fits into the ring") * self.width;
        let (filled, behind) = window.split_at_mut(filled);
        behind.fill(0.0);
        if let Assembly::Waveform { normalize: true } = self.assembly {
            waveform::normalize(filled);
        }
        let Some(baseline) = &self.baseline else { return };
        let before = (oldest..frames.start).filter(|&frame| self.speech[self.slot(frame)]);
        baseline.apply(before.map(|frame| self.frame(frame).values), filled);
    }

    /// The same, standardised, as long as the network takes it.
    pub(super) fn window(
        &self,
        frames: Range<u64>,
        options: &WindowOptions,
        standardization: &Standardization,
        buffers: &Buffers,
    ) -> Vec<f32> {
        let taken = usize::try_from(frames.end - frames.start).expect("fits into the ring");
        let mut values = buffers.take(options.network_frames(taken) * self.network_width);
        self.assemble(frames, &mut values);
        standardization.apply(&mut values);
        values
    }

    /// Bytes that it takes, as long as the leg lives.
    pub(super) fn bytes(&self) -> usize {
        let faint: usize = self.faint.iter().map(Vec::capacity).sum();
        (self.values.capacity() + faint) * size_of::<f32>() + self.faint.capacity() * size_of::<Vec<f32>>()
    }

    /// The first frame that is still kept.
    fn oldest(&self) -> u64 {
        self.heard.saturating_sub(self.speech.len() as u64)
    }

    fn slot(&self, frame: u64) -> usize {
        usize::try_from(frame % self.speech.len() as u64).expect("less than the capacity")
    }

    fn frame(&self, frame: u64) -> RawFrame<'_> {
        let slot = self.slot(frame);
        RawFrame { values: &self.values[slot * self.width..(slot + 1) * self.width], faint: &self.faint[slot] }
    }
}
