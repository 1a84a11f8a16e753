//! Whether the bytes of a stream are what its label says: 16-bit linear PCM, G.711 µ-law or A-law.
//!
//! A lying label is audible to people and to nobody else: the wrong reading is loud noise with a voice's rhythm. Three facts tell without
//! decoding anything, in blocks of [`BLOCK_GROUPS`] groups of samples that differ from the ones before (silence says nothing):
//!
//! | of the bytes | linear | G.711 |
//! |---|---|---|
//! | at even and at odd places | distributed otherwise: low bytes spread, high bytes lie around 0 | distributed alike, far from 0 as often as near |
//! | side by side | a low and a high byte, hardly related | neighbours in time, mostly of one sign |
//! | read by the other law | | magnitudes are permuted: their histogram is jagged, and neighbours lie further apart |
//!
//! White noise, and tones that are locked to the sampling, look alike under all labels: of them nothing is claimed. The thresholds lie between
//! what 200 clips of CREMA-D showed, 10 dB louder to 50 dB quieter than recorded; `docs/integrating.md` says what they are held to.

use super::Encoding;

/// Groups of samples that a finding rests on: half a second of changing telephone audio labelled linear, a second labelled G.711.
const BLOCK_GROUPS: u32 = 4096;
/// A channel with less of a block than this does not count: nobody speaks on it.
const LEAST_GROUPS: u32 = BLOCK_GROUPS / 4;
/// Audio after which it is given up: longer than a call commonly rings.
const PATIENCE_SECONDS: usize = 30;
/// Distance of the distributions at even and odd places, 0 to 1: G.711 0.11 at most, linear speech 0.3 at least down to 50 dB below what is usual.
const ALIKE_BELOW: f64 = 0.2;
const UNLIKE_ABOVE: f64 = 0.3;
/// Mean distance of the second byte, as a signed number, from 0: linear speech 31 at most, clipped too; G.711 62 to 73, whatever its level.
const NEAR_ZERO: f64 = 40.0;
const FAR_FROM_ZERO: std::ops::Range<f64> = 55.0..75.0;
/// Bits of entropy by which low bytes exceed high ones, and that they have at least.
const LOW_ABOVE_HIGH_BITS: f64 = 1.0;
const LOW_BITS: f64 = 3.5;
/// Part of the high bytes that is negative.
const BOTH_SIGNS: std::ops::Range<f64> = 0.1..0.9;
/// Part of neighbours that have one sign: G.711 speech 0.6 and more, white noise 0.5 with a deviation of 0.008.
const ONE_SIGN: f64 = 0.56;
/// The wrong law's histogram is more jagged by this factor: speech 1.45 at least.
const JAGGED: f64 = 1.3;
/// With fewer bits of entropy, as tones locked to the sampling have, the histogram says nothing, and neighbours must lie so many times further apart.
const PLAIN_BITS: f64 = 3.2;
const FAR_APART: f64 = 3.0;

/// Listens to the first seconds of a stream's bytes.
#[derive(Debug)]
pub struct Watch {
    label: Encoding,
    channels: usize,
    /// As if the samples were linear, a channel each: low byte, high byte.
    linear: Vec<Pairs>,
    /// As if they were G.711, a channel each: sample, next sample.
    law: Vec<Pairs>,
    /// The beginning of a group that is not complete yet.
    pending: Vec<u8>,
    /// Groups until it is given up.
    patience: usize,
}

/// What the bytes say of the label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// They are as it says.
    Fits,
    /// They are as another would say.
    LooksLike(Encoding),
    /// It cannot be told.
    Unclear,
}

/// Counts of two bytes that stand side by side.
#[derive(Debug, Clone)]
struct Pairs {
    first: Box<[u32; 256]>,
    second: Box<[u32; 256]>,
    groups: u32,
    one_sign: u32,
    last: Option<(u8, u8)>,
    /// Sum of the distances between neighbours, as µ-law and as A-law.
    jumps: [u64; 2],
}

impl Watch {
    /// Of a stream with this label and so many interleaved channels, at least one.
    pub fn new(label: Encoding, channels: usize, sample_rate_hz: u32) -> Self {
        let channels = channels.max(1);
        let groups_a_second = sample_rate_hz as usize * label.bytes_per_sample() / 2;
        Self {
            label,
            channels,
            linear: vec![Pairs::new(); channels],
            law: vec![Pairs::new(); channels],
            pending: Vec::with_capacity(2 * channels),
            patience: PATIENCE_SECONDS * groups_a_second,
        }
    }

    /// Takes bytes in; says what they are once it is clear, or when it is given up. Nothing is to be asked of it after that.
    pub fn push(&mut self, chunk: &[u8]) -> Option<Finding> {
        let size = 2 * self.channels;
        let mut rest = chunk;
        if !self.pending.is_empty() {
            let (fill, tail) = rest.split_at(rest.len().min(size - self.pending.len()));
            self.pending.extend_from_slice(fill);
            rest = tail;
            if self.pending.len() < size {
                return None;
            }
            let mut group = std::mem::take(&mut self.pending);
            let finding = self.take(&group);
            // Its memory is for the next.
            group.clear();
            self.pending = group;
            if finding.is_some() {
                return finding;
            }
        }
        let groups = rest.chunks_exact(size);
        self.pending.extend_from_slice(groups.remainder());
        groups.into_iter().find_map(|group| self.take(group))
    }

    /// Bytes that it takes in all.
    pub fn bytes(&self) -> usize {
        let pairs = self.linear.capacity() + self.law.capacity();
        size_of::<Self>() + pairs * (size_of::<Pairs>() + 2 * size_of::<[u32; 256]>()) + self.pending.capacity()
    }

    /// Forgets the beginning of a group: what follows begins with a whole sample.
    pub fn realign(&mut self) {
        self.pending.clear();
    }

    fn take(&mut self, group: &[u8]) -> Option<Finding> {
        let mut full = false;
        for channel in 0..self.channels {
            self.linear[channel].count(group[2 * channel], group[2 * channel + 1]);
            self.law[channel].count(group[channel], group[self.channels + channel]);
            full |= self.linear[channel].groups.max(self.law[channel].groups) >= BLOCK_GROUPS;
        }
        self.patience = self.patience.saturating_sub(1);
        if full {
            let looks_like = self.judge();
            for pairs in self.linear.iter_mut().chain(&mut self.law) {
                *pairs = Pairs::new();
            }
            if let Some(encoding) = looks_like {
                return Some(if encoding == self.label { Finding::Fits } else { Finding::LooksLike(encoding) });
            }
        }
        (self.patience == 0).then_some(Finding::Unclear)
    }

    /// What a block looks like on every channel that says anything.
    fn judge(&self) -> Option<Encoding> {
        if agree(&self.linear, |pairs| pairs.are_linear().then_some(())).is_some() {
            return Some(Encoding::Linear16);
        }
        agree(&self.law, Pairs::law)
    }
}

impl Pairs {
    fn new() -> Self {
        Self {
            first: Box::new([0; 256]),
            second: Box::new([0; 256]),
            groups: 0,
            one_sign: 0,
            last: None,
            jumps: [0; 2],
        }
    }

    fn count(&mut self, first: u8, second: u8) {
        if self.last == Some((first, second)) {
            return;
        }
        for (law, jumps) in self.jumps.iter_mut().enumerate() {
            let (from, to) = (place(law, first), place(law, second));
            *jumps += u64::from(from.abs_diff(to));
            if let Some((_, before)) = self.last {
                *jumps += u64::from(place(law, before).abs_diff(from));
            }
        }
        self.last = Some((first, second));
        self.first[usize::from(first)] += 1;
        self.second[usize::from(second)] += 1;
        self.one_sign += u32::from((first ^ second) & 0x80 == 0);
        self.groups += 1;
    }

    /// Whether these are the low and the high byte of 16-bit samples.
    fn are_linear(&self) -> bool {
        let negative = self.part(self.second[128..].iter().sum());
        let (low, high) = (self.bits(&self.first), self.bits(&self.second));
        self.distance() > UNLIKE_ABOVE
            && self.second_from_zero() < NEAR_ZERO
            && BOTH_SIGNS.contains(&negative)
            && low > LOW_BITS
            && low > high + LOW_ABOVE_HIGH_BITS
    }

    /// The law of which these are neighbouring samples.
    fn law(&self) -> Option<Encoding> {
        let are_neighbours = self.distance() < ALIKE_BELOW
            && FAR_FROM_ZERO.contains(&self.second_from_zero())
            && self.part(self.one_sign) > ONE_SIGN;
        if !are_neighbours {
            return None;
        }
        let (jagged, jumps) = ([0, 1].map(|law| self.jaggedness(law)), self.jumps.map(|jumps| jumps as f64));
        let plain = self.bits(&self.first).min(self.bits(&self.second)) < PLAIN_BITS;
        let is = |law: usize, other: usize| {
            if plain {
                jumps[law] * FAR_APART < jumps[other]
            } else {
                jagged[law] * JAGGED < jagged[other] && jumps[law] < jumps[other]
            }
        };
        match (is(0, 1), is(1, 0)) {
            (true, _) => Some(Encoding::Mulaw),
            (_, true) => Some(Encoding::Alaw),
            _ => None,
        }
    }

    fn part(&self, count: u32) -> f64 {
        f64::from(count) / f64::from(self.groups.max(1))
    }

    /// Total variation distance of the two distributions.
    fn distance(&self) -> f64 {
        let apart: u32 = self.first.iter().zip(self.second.iter()).map(|(first, second)| first.abs_diff(*second)).sum();
        self.part(apart) / 2.0
    }

    /// Mean distance of the second byte, as a signed number, from between −1 and 0.
    fn second_from_zero(&self) -> f64 {
        let sum: f64 = (0_u8..=255)
            .map(|byte| (f64::from(byte.cast_signed()) + 0.5).abs() * f64::from(self.second[usize::from(byte)]))
            .sum();
        sum / f64::from(self.groups.max(1))
    }

    /// Entropy of a distribution.
    fn bits(&self, counts: &[u32; 256]) -> f64 {
        let parts = counts.iter().filter(|count| **count > 0).map(|count| self.part(*count));
        -parts.map(|part| part * part.log2()).sum::<f64>()
    }

    /// Sum of the steps in the histogram of magnitudes, of both signs together.
    fn jaggedness(&self, law: usize) -> f64 {
        let mut magnitudes = [0_u32; 128];
        for (code, (first, second)) in (0_u8..=255).zip(self.first.iter().zip(self.second.iter())) {
            magnitudes[usize::from(magnitude(law, code))] += first + second;
        }
        magnitudes.windows(2).map(|pair| f64::from(pair[0].abs_diff(pair[1]))).sum()
    }
}

/// What all channels say that say anything; `None` where one cannot tell, or none speaks.
fn agree<T: PartialEq>(channels: &[Pairs], told: impl Fn(&Pairs) -> Option<T>) -> Option<T> {
    let mut speaking = channels.iter().filter(|pairs| pairs.groups >= LEAST_GROUPS).map(told);
    let first = speaking.next()??;
    speaking.all(|other| other.as_ref() == Some(&first)).then_some(first)
}

/// Step of a code's magnitude, the quietest 0: µ-law inverts all bits, A-law every second one.
fn magnitude(law: usize, code: u8) -> u8 {
    (code ^ [0xFF, 0x55][law]) & 0x7F
}

/// Step of a code, signed, without a gap at 0: rises with the sample's value.
fn place(law: usize, code: u8) -> i16 {
    let magnitude = i16::from(magnitude(law, code));
    if code & 0x80 == 0 { -1 - magnitude } else { magnitude }
}

#[cfg(test)]
mod tests;
