//! Which windows an epoch learns from, against which baseline.
//!
//! A window is a crop of one clip over one line, of 1 to 3 s, heard by a leg that heard up to eight other clips of the same actor over the
//! same line before: none in a quarter of the draws, neutral ones in 40 % of the rest. The leg is the service's own memory, so the
//! baseline is the service's. A clip shorter than the crop stands somewhere in its quietest background.

use rand::{RngExt as _, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;

use super::variants::{Frames, Heard};
use crate::{
    corpus::line::TELEPHONE_HZ,
    features::{
        FrontEnd, Memory, Standardization,
        listen::{RawFrames, RawSequence},
    },
    train::clips::{Clips, Used},
};

/// The label of calm speech.
const NEUTRAL: usize = 4;
/// How often nothing was heard before.
const COLD: f64 = 0.25;
/// How often, else, all that was heard before was neutral.
const CALM: f64 = 0.4;
/// Clips heard before at most.
pub(super) const MOST_HEARD: usize = 8;
/// What quiet is: this part of a band's frames.
const QUIET: f32 = 0.02;
/// Bars of silence that SpecAugment puts over a window, of bands and of frames each (Park et al., 2019).
const BARS: usize = 2;
/// Bands of a bar at most.
const BAR_BANDS: usize = 10;

/// One side's clips, and who said them.
pub(super) struct Side {
    pub(super) used: Vec<Used>,
    pub(super) heard: Heard,
    bands: usize,
    /// Frames of a full window in service.
    served: usize,
    /// Places of each actor's clips: all, and the neutral ones.
    by_actor: Vec<[Vec<usize>; 2]>,
}

/// One window.
#[derive(Debug, Clone)]
pub(super) struct Draw {
    pub(super) way: usize,
    pub(super) clip: usize,
    /// Other clips, in the order in which they were heard.
    pub(super) before: Vec<usize>,
    /// Frames of the clip that the window holds.
    pub(super) frames: std::ops::Range<usize>,
    /// Whether the frames of the clip ahead of the window were heard, too.
    pub(super) from_onset: bool,
    /// Where in a longer window they stand.
    pub(super) at: usize,
}

impl Side {
    /// `of` are the places of the side's clips among all.
    pub(super) fn new<T>(clips: &Clips<T>, of: &[usize], heard: Heard, bands: usize, served: usize) -> Self {
        let used: Vec<Used> = of.iter().map(|&clip| clips.used[clip].clone()).collect();
        let mut by_actor = vec![[Vec::new(), Vec::new()]; clips.actors.len()];
        for (place, used) in used.iter().enumerate() {
            by_actor[used.actor][0].push(place);
            if used.label == NEUTRAL {
                by_actor[used.actor][1].push(place);
            }
        }
        Self { used, heard, bands, served, by_actor }
    }

    /// Frames of a clip.
    pub(super) fn len(&self, way: usize, clip: usize) -> usize {
        self.heard.frames[way][clip].len(self.bands)
    }

    /// Draws a training window of `length` frames from a clip.
    pub(super) fn draw(&self, clip: usize, length: usize, random: &mut ChaCha8Rng) -> Draw {
        let mut left = random.random::<f64>();
        let way = self.heard.variants.iter().position(|way| {
            left -= way.share;
            left < 0.0
        });
        let way = way.unwrap_or(0);
        let there = self.len(way, clip);
        let taken = there.min(length);
        let start = random.random_range(0..=there - taken);
        let at = random.random_range(0..=length - taken);
        let [all, neutral] = &self.by_actor[self.used[clip].actor];
        let before = if random.random_bool(COLD) {
            Vec::new()
        } else {
            let pool = if random.random_bool(CALM) && !neutral.is_empty() { neutral } else { all };
            let count = random.random_range(0..=MOST_HEARD).min(pool.len());
            pool.sample(random, count).copied().collect()
        };
        Draw { way, clip, before, frames: start..start + taken, from_onset: random.random_bool(0.5), at }
    }

    /// Other clips of a clip's actor, as many as there are up to [`MOST_HEARD`].
    pub(super) fn others(&self, clip: usize, random: &mut ChaCha8Rng) -> Vec<usize> {
        let others: Vec<usize> =
            self.by_actor[self.used[clip].actor][0].iter().copied().filter(|&other| other != clip).collect();
        others.sample(random, MOST_HEARD).copied().collect()
    }

    /// The window, as a call would have it, standardised, in `length` frames.
    pub(super) fn window(
        &self,
        draw: &Draw,
        length: usize,
        front_end: &FrontEnd,
        standardization: &Standardization,
    ) -> Vec<f32> {
        let clips = &self.heard.frames[draw.way];
        let taken = draw.frames.len();
        // As long as the service's, so that frames leave it for the baseline when they do in a call.
        let mut memory = Memory::new(front_end, taken.max(self.served));
        for &clip in &draw.before {
            self.hear(&mut memory, &clips[clip], 0..self.len(draw.way, clip));
        }
        let from = if draw.from_onset { 0 } else { draw.frames.start };
        self.hear(&mut memory, &clips[draw.clip], from..draw.frames.end);
        let end = memory.heard();
        let mut window = vec![0.0; taken * self.bands];
        memory.assemble(end - taken as u64..end, &mut window);
        standardization.apply(&mut window);
        if taken == length {
            return window;
        }
        let mut whole = quietest(&window, self.bands).repeat(length);
        whole[draw.at * self.bands..][..window.len()].copy_from_slice(&window);
        whole
    }

    fn hear(&self, memory: &mut Memory, clip: &Frames, frames: std::ops::Range<usize>) {
        let count = clip.len(self.bands);
        let raw = RawFrames {
            raw: RawSequence {
                width: self.bands,
                values: clip.bands().collect(),
                faint: Vec::new(),
                faint_begins: vec![0; count],
                faint_ends: vec![0; count],
            },
            speech: Vec::new(),
            first: Vec::new(),
            again: Vec::new(),
            samples: 0,
            source_hz: TELEPHONE_HZ,
        };
        for frame in raw.range(frames) {
            memory.push(frame, true);
        }
    }
}

/// The quietest frame that a window would have: each band's own.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a slice")]
fn quietest(window: &[f32], bands: usize) -> Vec<f32> {
    let frames = window.len() / bands;
    let place = QUIET * (frames - 1) as f32;
    (0..bands)
        .map(|band| {
            let mut values: Vec<f32> = window.iter().skip(band).step_by(bands).copied().collect();
            values.sort_by(f32::total_cmp);
            let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
            low + (high - low) * place.fract()
        })
        .collect()
}

/// SpecAugment: puts bars of 0 over bands and frames.
pub(super) fn cover(window: &mut [f32], bands: usize, random: &mut ChaCha8Rng) {
    let frames = window.len() / bands;
    for _ in 0..BARS {
        let wide = random.random_range(0..BAR_BANDS.min(bands));
        let from = random.random_range(0..bands - wide);
        window.chunks_exact_mut(bands).for_each(|frame| frame[from..from + wide].fill(0.0));
        let long = random.random_range(0..(frames / 8).max(2));
        let from = random.random_range(0..frames - long);
        window[from * bands..(from + long) * bands].fill(0.0);
    }
}
