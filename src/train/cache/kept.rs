//! How what is kept lies in a file: little-endian, lengths before what is long.

use crate::{
    audio::gate::{Activity, Finding},
    features::listen::{Again, RawFrames, RawSequence},
};

/// In the order of their numbers on disk.
const ACTIVITIES: [Activity; 5] =
    [Activity::Speech, Activity::Music, Activity::Tone, Activity::Noise, Activity::Silence];

/// What can be kept.
pub(in crate::train) trait Kept: Sized {
    /// Puts it behind `bytes`.
    fn write(&self, bytes: &mut Vec<u8>);

    /// Takes it from the front of `bytes`; `None` where that is not what lies there.
    fn read(bytes: &mut &[u8]) -> Option<Self>;
}

/// Of numbers.
macro_rules! kept {
    ($($number:ty),+) => {$(
        impl Kept for $number {
            fn write(&self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }

            fn read(bytes: &mut &[u8]) -> Option<Self> {
                let (number, rest) = bytes.split_first_chunk()?;
                *bytes = rest;
                Some(Self::from_le_bytes(*number))
            }
        }
    )+};
}

kept!(u8, i16, u32, u64, f32);

impl Kept for bool {
    fn write(&self, bytes: &mut Vec<u8>) {
        u8::from(*self).write(bytes);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        Some(u8::read(bytes)? != 0)
    }
}

impl<T: Kept> Kept for Vec<T> {
    fn write(&self, bytes: &mut Vec<u8>) {
        (self.len() as u64).write(bytes);
        self.iter().for_each(|one| one.write(bytes));
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let len = usize::try_from(u64::read(bytes)?).ok()?;
        // Each takes a byte at least, so that no length makes room for more than there is.
        (len <= bytes.len()).then_some(())?;
        (0..len).map(|_| T::read(bytes)).collect()
    }
}

impl<const N: usize> Kept for [u8; N] {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let (kept, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        Some(*kept)
    }
}

impl<A: Kept, B: Kept> Kept for (A, B) {
    fn write(&self, bytes: &mut Vec<u8>) {
        self.0.write(bytes);
        self.1.write(bytes);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        Some((A::read(bytes)?, B::read(bytes)?))
    }
}

impl Kept for Finding {
    fn write(&self, bytes: &mut Vec<u8>) {
        let place = ACTIVITIES.iter().position(|&activity| activity == self.activity);
        bytes.push(place.and_then(|place| u8::try_from(place).ok()).expect("all are in the list"));
        self.power.write(bytes);
        self.background.write(bytes);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let activity = *ACTIVITIES.get(usize::from(u8::read(bytes)?))?;
        Some(Self { activity, power: f32::read(bytes)?, background: f32::read(bytes)? })
    }
}

impl Kept for Again {
    fn write(&self, bytes: &mut Vec<u8>) {
        self.frame.write(bytes);
        self.at_samples.write(bytes);
        self.finding.write(bytes);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        Some(Self { frame: u64::read(bytes)?, at_samples: u64::read(bytes)?, finding: Finding::read(bytes)? })
    }
}

impl Kept for RawSequence {
    fn write(&self, bytes: &mut Vec<u8>) {
        (self.width as u64).write(bytes);
        self.values.write(bytes);
        self.faint.write(bytes);
        self.faint_begins.write(bytes);
        self.faint_ends.write(bytes);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        Some(Self {
            width: usize::try_from(u64::read(bytes)?).ok()?,
            values: Vec::read(bytes)?,
            faint: Vec::read(bytes)?,
            faint_begins: Vec::read(bytes)?,
            faint_ends: Vec::read(bytes)?,
        })
    }
}

impl Kept for RawFrames {
    fn write(&self, bytes: &mut Vec<u8>) {
        self.raw.write(bytes);
        self.speech.write(bytes);
        self.first.write(bytes);
        self.again.write(bytes);
        self.samples.write(bytes);
        self.source_hz.write(bytes);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        Some(Self {
            raw: RawSequence::read(bytes)?,
            speech: Vec::read(bytes)?,
            first: Vec::read(bytes)?,
            again: Vec::read(bytes)?,
            samples: u64::read(bytes)?,
            source_hz: u32::read(bytes)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::{FrontEnd, thesis154};

    #[test]
    fn frames_are_read_as_they_were_written_to_the_bit() {
        let samples: Vec<f32> = (0..24_000_u16).map(|n| 0.2 * (f32::from(n) * 0.05).sin()).collect();
        let frames =
            RawFrames::of(&samples, 16_000, &FrontEnd::Thesis154(thesis154::Options::default()), true).unwrap();
        let mut bytes = Vec::new();
        (frames.clone(), [7_u8; 32]).write(&mut bytes);
        let mut rest = bytes.as_slice();
        assert_eq!(<(RawFrames, [u8; 32])>::read(&mut rest), Some((frames, [7; 32])));
        assert!(rest.is_empty());
        assert_eq!(RawFrames::read(&mut &bytes[..bytes.len() / 2]), None);
        // A length that lies is no reason to ask for memory.
        assert_eq!(Vec::<f32>::read(&mut u64::MAX.to_le_bytes().as_slice()), None);
    }
}
