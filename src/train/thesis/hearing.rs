//! The ways in which a clip is heard for training: over each line as it is, and, where a recipe wants it, a second time altered.
//!
//! Altered is: played at 0.9 or 1.1 of its speed, pitch and pace together, with coloured noise 10 to 35 dB below its active level. What
//! is drawn for a clip follows from its name alone. Resampling, line and gate are the service's own.

use clap::ValueEnum as _;
use rand::RngExt as _;

use crate::{
    audio::resample,
    corpus::{
        Condition, Scene,
        line::{self, Babble},
        seed::generator,
    },
    features::{FrontEnd, listen::RawFrames},
    train::{Heard, cache::Kept},
};

/// Parts of a hundred of its speed that an altered clip is played at.
const SPEEDS: [u32; 2] = [90, 110];

/// One way to hear a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::train) struct Way {
    /// Over which line.
    pub(in crate::train) condition: Condition,
    /// At another speed over noise.
    pub(in crate::train) altered: bool,
}

/// What was heard of a clip in one way.
#[derive(Debug)]
pub(in crate::train) struct Hearing {
    /// Which.
    pub(in crate::train) way: Way,
    /// All of its frames, with the gate's decisions as a call has them.
    pub(in crate::train) raw: RawFrames,
}

impl Kept for Hearing {
    fn write(&self, bytes: &mut Vec<u8>) {
        let place = Condition::value_variants().iter().position(|&condition| condition == self.way.condition);
        bytes.push(place.and_then(|place| u8::try_from(place).ok()).expect("there are fewer than 256"));
        self.way.altered.write(bytes);
        self.raw.write(bytes);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let condition = *Condition::value_variants().get(usize::from(u8::read(bytes)?))?;
        let way = Way { condition, altered: bool::read(bytes)? };
        Some(Self { way, raw: RawFrames::read(bytes)? })
    }
}

/// Over each of the lines, and altered, too.
pub(in crate::train) fn ways(conditions: &[Condition], altered: bool) -> Vec<Way> {
    let way = |altered| conditions.iter().map(move |&condition| Way { condition, altered });
    way(false).chain(way(true).filter(|_| altered)).collect()
}

/// One clip in each way.
pub(in crate::train) fn hear(heard: &Heard, ways: &[Way], front_end: &FrontEnd) -> anyhow::Result<Vec<Hearing>> {
    // Neither the conditions' noise nor loss is among the lines, so nobody else need be there.
    let babble = Babble::default();
    let scene = Scene { seed: 0, actor: "", clip: &heard.used.name, babble: &babble };
    let listen = |&way: &Way| -> anyhow::Result<Hearing> {
        let samples = if way.altered { altered(heard)? } else { heard.samples.clone() };
        let (samples, rate_hz) = way.condition.apply(samples, heard.rate_hz, &scene)?;
        Ok(Hearing { way, raw: RawFrames::of(&samples, rate_hz, front_end, true)? })
    };
    ways.iter().map(listen).collect()
}

/// The clip at another speed, over noise.
fn altered(heard: &Heard) -> anyhow::Result<Vec<f32>> {
    let mut random = generator(0, &["altered", &heard.used.name]);
    let speed = SPEEDS[random.random_range(0..SPEEDS.len())];
    // Played at 90 of a hundred, a second of it has 90 of a hundred of its samples.
    let mut samples = resample::resample(&heard.samples, heard.rate_hz * speed / 100, heard.rate_hz)?;
    let active = line::active_level(&samples, heard.rate_hz);
    let noise = line::coloured(samples.len(), random.random_range(0.0..0.95), &mut random);
    line::add_noise(&mut samples, &noise, active, random.random_range(10.0..35.0));
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{corpus::Corpus, features::thesis154, train::clips};

    #[test]
    fn an_altered_clip_is_longer_or_shorter_and_noisier_and_always_the_same() {
        let corpus = Corpus::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/crema-d")).unwrap();
        let altered = |heard: clips::Heard| Ok((heard.samples.len(), altered(&heard)?, altered(&heard)?));
        let made = clips::gather(&corpus.clips.iter().collect::<Vec<_>>(), altered, || Ok(())).unwrap().made;
        for (samples, altered, again) in &made {
            let ratio = altered.len() as f64 / *samples as f64;
            assert!((ratio - 1.0 / 0.9).abs() < 1e-3 || (ratio - 1.0 / 1.1).abs() < 1e-3, "{ratio}");
            assert_eq!(altered, again);
        }
        let longer = made.iter().filter(|(samples, altered, _)| altered.len() > *samples).count();
        assert!((1..made.len()).contains(&longer), "{longer}");
    }

    #[test]
    fn ways_are_the_lines_and_the_lines_altered() {
        let both = [Condition::Wide, Condition::Mulaw];
        assert_eq!(ways(&both, false).len(), 2);
        let all = ways(&both, true);
        assert!(all.len() == 4 && all.iter().filter(|way| way.altered).count() == 2);
        let front_end = FrontEnd::Thesis154(thesis154::Options::default());
        let corpus = Corpus::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/crema-d")).unwrap();
        let one = &corpus.clips[..1].iter().collect::<Vec<_>>();
        let heard = clips::gather(one, |heard| hear(&heard, &all, &front_end), || Ok(())).unwrap().made.remove(0);
        let frames: Vec<usize> = heard.iter().map(|hearing| hearing.raw.frames()).collect();
        assert!(frames[0] == frames[1] && frames[2] == frames[3] && frames[0] != frames[2], "{frames:?}");
    }
}
