//! What is remembered of a leg: its last raw frames, and, where the front end asks for it, how the speaker usually sounds.
//!
//! Frames go in in the order in which they were heard, windows come out: the one code by which calls, scores and the trainer get a
//! network's values. Who trains on a clip *warm* pushes what the speaker said before, then the clip up to the window's end.
//! All of it is wiped when dropped.

use std::ops::Range;

use zeroize::Zeroizing;

use super::{
    Buffers, FrontEnd, Standardization, WindowOptions, assemble, baseline::Baseline, raw::RawFrame, thesis154, waveform,
};

/// Corrections of changes of sign that are kept a frame, all frames of a leg together: telephone speech between stretches of digital
/// silence has up to 6, and a leg of nothing but ringing, which a peer can make of single bits, some hundred. No frame is corrected that
/// looks at a hop for which there was no room.
const MOST_FAINT_A_FRAME: usize = 8;
/// Frames that room is made for at least: where silence begins or ends there are hundreds of corrections in a few frames.
const LEAST_FAINT_FRAMES: usize = 256;
/// Frames that look at one hop.
const OVERLAPPING_FRAMES: u64 = (thesis154::FRAME_SAMPLES / thesis154::HOP_SAMPLES) as u64;

/// The last raw frames of a leg and the speaker's baseline.
pub struct Memory {
    width: usize,
    /// A ring of as many frames as a window has at most.
    values: Zeroizing<Vec<f32>>,
    /// Corrections of the frames kept, oldest first, what frames share once.
    faint: Zeroizing<Vec<f32>>,
    /// Where each frame's corrections begin and end among all that there ever were, by the frame's slot; and those that are kept.
    faint_places: Vec<(u64, u64)>,
    faint_from: u64,
    /// The first frame that looks at no hop for which there was no room, and where the corrections of those it looks at begin.
    faint_again: (u64, u64),
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
            faint: Zeroizing::default(),
            faint_places: vec![(0, 0); frames],
            faint_from: 0,
            faint_again: (0, 0),
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
        self.push_faint(raw);
        self.speech[slot] = speech;
        self.heard += 1;
    }

    /// Keeps the corrections of the next frame, if there is room.
    fn push_faint(&mut self, raw: RawFrame<'_>) {
        let (slot, frames) = (self.slot(self.heard), self.speech.len());
        let end = self.faint_from + self.faint.len() as u64;
        let (again, again_from) = self.faint_again;
        let is_whole = self.heard >= again;
        // Of the earlier corrections those go that neither the frames look at which stay, nor this one, nor those that will be whole.
        let oldest = (self.heard + 1).saturating_sub(frames as u64);
        let stay = if oldest < self.heard { self.faint_places[self.slot(oldest)].0 } else { end };
        let shared = end - if is_whole { (raw.faint.len() - raw.fresh) as u64 } else { end - again_from };
        let from = stay.min(shared);
        let gone = self.faint_index(from);
        self.faint.drain(..gone);
        self.faint_from = from;
        let most = MOST_FAINT_A_FRAME * frames.max(LEAST_FAINT_FRAMES);
        if self.faint.len() + raw.fresh > most {
            self.faint_again = (self.heard + OVERLAPPING_FRAMES, end);
            self.faint_places[slot] = (end, end);
            return;
        }
        if raw.fresh > 0 && self.faint.capacity() == 0 {
            self.faint.reserve_exact(most);
        }
        self.faint.extend_from_slice(&raw.faint[raw.faint.len() - raw.fresh..]);
        let end = end + raw.fresh as u64;
        // One that is not whole stands where those that will be look back to, so that places never go back.
        self.faint_places[slot] = if is_whole { (end - raw.faint.len() as u64, end) } else { (again_from, again_from) };
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

    /// Bytes that it takes beside itself, as long as the leg lives.
    pub(super) fn bytes(&self) -> usize {
        let baseline = self.baseline.as_ref().map_or(0, Baseline::bytes);
        let faint = self.faint.capacity() * size_of::<f32>() + self.faint_places.capacity() * size_of::<(u64, u64)>();
        self.values.capacity() * size_of::<f32>() + faint + self.speech.capacity() + baseline
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
        let faint = self.faint(frame);
        RawFrame { values: &self.values[slot * self.width..(slot + 1) * self.width], faint, fresh: faint.len() }
    }

    /// What is kept of the corrections of a frame that is kept.
    fn faint(&self, frame: u64) -> &[f32] {
        let (begin, end) = self.faint_places[self.slot(frame)];
        &self.faint[self.faint_index(begin)..self.faint_index(end)]
    }

    fn faint_index(&self, place: u64) -> usize {
        usize::try_from(place - self.faint_from).expect("no more than are kept")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::thesis154::RAW_VALUES;

    /// The corrections of each hop, which tell its number and their own.
    fn hops(given: &[usize]) -> Vec<Vec<f32>> {
        given.iter().enumerate().map(|(hop, &count)| (0..count).map(|n| (10_000 * hop + n) as f32).collect()).collect()
    }

    /// Those of the hops that a frame looks at.
    fn looked_at(hops: &[Vec<f32>], frame: usize) -> Vec<f32> {
        hops[frame.saturating_sub(3)..=frame].concat()
    }

    /// A memory of so many frames, after it was given as many as there are hops.
    fn heard(frames: usize, hops: &[Vec<f32>], mut each: impl FnMut(&Memory)) -> Memory {
        let mut memory = Memory::new(&FrontEnd::Thesis154(thesis154::Options::default()), frames);
        for (frame, hop) in hops.iter().enumerate() {
            let faint = looked_at(hops, frame);
            memory.push(RawFrame { values: &[0.0; RAW_VALUES], faint: &faint, fresh: hop.len() }, true);
            each(&memory);
        }
        memory
    }

    #[test]
    fn each_frame_that_is_kept_has_its_own_corrections() {
        let hops = hops(&[3, 0, 5, 1, 0, 0, 7, 2, 4, 0, 1, 0, 0, 0, 0, 0, 9]);
        for frames in [1, 2, 4, 7, 40] {
            heard(frames, &hops, |memory| {
                for frame in memory.oldest()..memory.heard() {
                    let expected = looked_at(&hops, usize::try_from(frame).unwrap());
                    assert_eq!(memory.frame(frame).faint, expected, "frame {frame} of {}", memory.heard());
                }
            });
        }
    }

    #[test]
    fn what_is_kept_of_corrections_is_bounded_and_free_again_when_they_go() {
        // 2,048 at most: the third hop finds no room, nor what comes until the first have gone.
        let given = [1_000, 1_000, 100, 40, 0, 0, 0, 0, 500, 3, 0, 2_100, 1, 0, 0, 2, 2];
        let hops = hops(&given);
        for frames in [1, 2, 4, 7, 40] {
            let mut whole = Vec::new();
            heard(frames, &hops, |memory| {
                assert!(memory.faint.len() <= 2_048 && memory.faint.capacity() <= 2_048);
                for frame in memory.oldest()..memory.heard() {
                    let (number, kept) = (usize::try_from(frame).unwrap(), memory.frame(frame).faint);
                    let expected = looked_at(&hops, number);
                    assert!(kept.is_empty() || kept == expected, "frame {frame} of {}", memory.heard());
                    if number + 1 == usize::try_from(memory.heard()).unwrap() {
                        whole.push(kept == expected);
                    }
                }
            });
            assert_eq!(whole[..6], [true, true, false, false, false, false], "{frames} frames");
            assert_eq!(whole[11..15], [false; 4], "{frames} frames");
            assert_eq!(whole[15..], [true, true], "{frames} frames");
        }
    }
}
