//! Every clip as several lines carry it, in memory as log-mel frames.

use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::channel::{Channel, Line};
use crate::{
    audio::resample,
    corpus::{line::TELEPHONE_HZ, seed::generator},
    features::{FrontEnd, listen::RawFrames},
    train::{
        cache::{Cache, Kept, Key},
        clips::Clips,
    },
};

/// Steps that a neper of a band is kept in.
const STEPS: f32 = 1_024.0;

/// One way to hear every clip.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variant {
    /// Its name, which also seeds what is drawn for it.
    name: &'static str,
    /// How fast it is played, of a hundred: pitch and pace together.
    speed: u32,
    /// Over which line.
    pub(super) channel: Channel,
    /// Part of the training windows.
    pub(super) share: f64,
}

/// What is trained on; half of it is heard over `Varied` lines.
const TRAINED: [Variant; 15] = [
    variant("clean10", 100, Channel::Clean, 0.06),
    variant("clean09", 90, Channel::Clean, 0.035),
    variant("clean11", 110, Channel::Clean, 0.035),
    variant("mulaw10", 100, Channel::Mulaw, 0.11),
    variant("call10a", 100, Channel::Call, 0.05),
    variant("call10b", 100, Channel::Call, 0.05),
    variant("call09", 90, Channel::Call, 0.08),
    variant("call11", 110, Channel::Call, 0.08),
    variant("varied10a", 100, Channel::Varied, 0.09),
    variant("varied10b", 100, Channel::Varied, 0.09),
    variant("varied10c", 100, Channel::Varied, 0.08),
    variant("varied09a", 90, Channel::Varied, 0.06),
    variant("varied09b", 90, Channel::Varied, 0.06),
    variant("varied11a", 110, Channel::Varied, 0.06),
    variant("varied11b", 110, Channel::Varied, 0.06),
];
/// What the validation actors are heard over.
const JUDGED: [Variant; 2] = [variant("mulaw10", 100, Channel::Mulaw, 0.5), variant("flat10", 100, Channel::Flat, 0.5)];

/// A recording at its own rate.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) samples: Vec<f32>,
    pub(super) rate_hz: u32,
}

/// Frames of one clip over one line.
#[derive(Debug, Clone, Default)]
pub(super) struct Frames {
    bands: Vec<i16>,
}

/// What hears.
#[derive(Debug, Clone, Copy)]
pub(super) struct Means<'a> {
    /// Its parameters.
    pub(super) front_end: &'a FrontEnd,
    /// Of the lines and all that is drawn for a clip.
    pub(super) seed: u64,
    /// Where frames are kept.
    pub(super) cache: &'a Cache,
}

/// All clips of one side of the split over all of its lines.
#[derive(Debug)]
pub(super) struct Heard {
    /// Which ways.
    pub(super) variants: Vec<Variant>,
    /// `[variant][clip]`.
    pub(super) frames: Vec<Vec<Frames>>,
}

const fn variant(name: &'static str, speed: u32, channel: Channel, share: f64) -> Variant {
    Variant { name, speed, channel, share }
}

impl Heard {
    /// Hears the clips `of` in every way of training or judging; `progress` is called once a clip and way.
    ///
    /// # Errors
    /// A rate that is not supported, and those of `progress`.
    pub(super) fn of(
        clips: &Clips<Source>,
        of: &[usize],
        judged: bool,
        Means { front_end, seed, cache }: Means<'_>,
        progress: impl Fn() -> anyhow::Result<()> + Sync,
    ) -> anyhow::Result<Self> {
        let variants = if judged { JUDGED.to_vec() } else { TRAINED.to_vec() };
        let usual = usual_levels(clips);
        let parameters = serde_json::to_string(front_end)?;
        let hear = |variant: &Variant, clip: usize| -> anyhow::Result<Frames> {
            let used = &clips.used[clip];
            let (actor, usual) = (&clips.actors[used.actor], usual[used.actor]);
            let Source { samples, rate_hz } = &clips.made[clip];
            let key = || {
                let way = format!("{variant:?} of seed {seed}, {usual:?} as usual, {rate_hz} Hz by {parameters}");
                Key::new(&way, &used.audio).and(actor.as_bytes()).and(used.name.as_bytes())
            };
            let heard = cache.get(key, || {
                let line = Line::draw(variant.channel, &mut generator(seed, &[variant.name, actor]));
                let mut random: ChaCha8Rng = generator(seed, &[variant.name, actor, &used.name]);
                // Played at 90 of a hundred, a second of it has 90 of a hundred of its samples.
                let played_hz = rate_hz * variant.speed / 100;
                let narrow = resample::resample(samples, played_hz, TELEPHONE_HZ)?;
                Frames::of(&line.carry(narrow, usual, &mut random), front_end)
            });
            progress()?;
            heard
        };
        let frames = variants
            .iter()
            .map(|variant| of.par_iter().map(|&clip| hear(variant, clip)).collect())
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { variants, frames })
    }

    /// How many ways there are of training and of judging.
    pub(super) fn ways() -> (usize, usize) {
        (TRAINED.len(), JUDGED.len())
    }

    /// The place of a way.
    pub(super) fn way(&self, channel: Channel) -> usize {
        self.variants.iter().position(|variant| variant.channel == channel).unwrap_or(0)
    }
}

impl Kept for Frames {
    fn write(&self, bytes: &mut Vec<u8>) {
        self.bands.write(bytes);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        Some(Self { bands: Vec::read(bytes)? })
    }
}

impl Frames {
    /// The frames of samples at 8 kHz.
    pub(super) fn of(samples: &[f32], front_end: &FrontEnd) -> anyhow::Result<Self> {
        let raw = RawFrames::of(samples, TELEPHONE_HZ, front_end, false)?;
        #[expect(clippy::cast_possible_truncation, reason = "a band lies between ln 1e-6 and the power of 512 samples")]
        let bands = raw.raw.values.iter().map(|band| (band * STEPS).round() as i16).collect();
        Ok(Self { bands })
    }

    /// How many there are, of so many bands.
    pub(super) fn len(&self, bands: usize) -> usize {
        self.bands.len() / bands
    }

    /// As the front end told them, within half a step.
    pub(super) fn bands(&self) -> impl Iterator<Item = f32> {
        self.bands.iter().map(|&band| f32::from(band) / STEPS)
    }
}

/// The median level of each actor's clips.
fn usual_levels(clips: &Clips<Source>) -> Vec<f32> {
    let mut levels = vec![Vec::new(); clips.actors.len()];
    for (used, source) in clips.used.iter().zip(&clips.made) {
        levels[used.actor].push(crate::corpus::line::level(&source.samples));
    }
    let median = |mut levels: Vec<f32>| {
        levels.sort_by(f32::total_cmp);
        levels.get(levels.len() / 2).copied().unwrap_or(0.0)
    };
    levels.into_iter().map(median).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_whole_and_half_of_them_varied() {
        let sum =
            |keep: &dyn Fn(&Variant) -> bool| TRAINED.iter().filter(|way| keep(way)).map(|way| way.share).sum::<f64>();
        assert!((sum(&|_| true) - 1.0).abs() < 1e-9);
        assert!((sum(&|way| way.channel == Channel::Varied) - 0.5).abs() < 1e-9);
        assert!(TRAINED.iter().all(|way| way.channel != Channel::Flat), "what is judged by is not trained on");
    }
}
