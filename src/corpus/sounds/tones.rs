//! Signalling: what exchanges, modems, keypads and announcement machines sound like.

use rand_chacha::ChaCha8Rng;

use super::{between, pick, samples_in, sine};

/// Between on and off, so that nothing clicks.
const RAMP_SECONDS: f32 = 0.004;

/// A kind of signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// "It rings": North America, Europe, Great Britain.
    Ringback,
    /// "Engaged", and the faster one for a full network.
    Busy,
    /// "Dial".
    Dial,
    /// Keys of a keypad.
    Dtmf,
    /// The three tones before "the number you have dialled".
    Information,
    /// A fax or modem calling or answering.
    Fax,
    /// "This call is recorded", call waiting.
    Beep,
    /// Bells of a voice menu.
    Chime,
}

impl Tone {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Ringback, Self::Busy, Self::Dial, Self::Dtmf, Self::Information, Self::Fax, Self::Beep, Self::Chime];

    /// "ringback", "busy", …
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ringback => "ringback",
            Self::Busy => "busy",
            Self::Dial => "dial",
            Self::Dtmf => "dtmf",
            Self::Information => "information",
            Self::Fax => "fax",
            Self::Beep => "beep",
            Self::Chime => "chime",
        }
    }
}

/// Seconds of a signal, from the beginning of its cadence.
pub fn tone(kind: Tone, seconds: f32, rate_hz: u32, random: &mut ChaCha8Rng) -> Vec<f32> {
    let mut out = Vec::with_capacity(samples_in(seconds, rate_hz));
    let wanted = samples_in(seconds, rate_hz);
    // Exchanges may be off by a per cent and are never in phase with anything.
    let detune = between(random, 0.99, 1.01);
    let cadence = cadence(kind, random);
    let mut gap_after = match kind {
        Tone::Chime => Some(between(random, 0.2, 2.0)),
        _ => None,
    };
    while out.len() < wanted {
        match kind {
            Tone::Dtmf => {
                let low = pick(random, &[697.0, 770.0, 852.0, 941.0]);
                let high = pick(random, &[1_209.0, 1_336.0, 1_477.0, 1_633.0]);
                let on = between(random, 0.05, 0.25);
                part(&mut out, &[low * detune, high * detune], on, rate_hz);
                part(&mut out, &[], between(random, 0.05, 0.5), rate_hz);
            }
            Tone::Chime => {
                chime(&mut out, rate_hz, random);
                part(&mut out, &[], gap_after.take().unwrap_or(1.0), rate_hz);
                gap_after = Some(between(random, 0.2, 3.0));
            }
            _ => {
                for (frequencies, on) in &cadence {
                    let frequencies: Vec<f32> = frequencies.iter().map(|hz| hz * detune).collect();
                    part(&mut out, &frequencies, *on, rate_hz);
                }
            }
        }
    }
    out.truncate(wanted);
    out
}

/// Frequencies and how long they sound, over and over (ITU-T E.180 and its list of national tones).
fn cadence(kind: Tone, random: &mut ChaCha8Rng) -> Vec<(Vec<f32>, f32)> {
    let off = |seconds| (Vec::new(), seconds);
    match kind {
        Tone::Ringback => match pick(random, &[0, 1, 2]) {
            0 => vec![(vec![440.0, 480.0], 2.0), off(4.0)],
            1 => vec![(vec![425.0], 1.0), off(4.0)],
            _ => vec![(vec![400.0, 450.0], 0.4), off(0.2), (vec![400.0, 450.0], 0.4), off(2.0)],
        },
        Tone::Busy => {
            let frequencies = pick(random, &[[480.0, 620.0], [425.0, 425.0], [400.0, 400.0]]).to_vec();
            let on = pick(random, &[0.5, 0.25, 0.375]);
            vec![(frequencies, on), off(on)]
        }
        Tone::Dial => vec![(pick(random, &[[350.0, 440.0], [425.0, 425.0], [350.0, 450.0]]).to_vec(), 1.0)],
        Tone::Information => {
            vec![(vec![950.0], 0.33), off(0.03), (vec![1_400.0], 0.33), off(0.03), (vec![1_800.0], 0.33), off(1.0)]
        }
        Tone::Fax => match pick(random, &[0, 1]) {
            0 => vec![(vec![1_100.0], 0.5), off(3.0)],
            _ => vec![(vec![2_100.0], 3.0), off(0.1)],
        },
        Tone::Beep => {
            let hz = pick(random, &[440.0, 1_000.0, 1_400.0]);
            vec![(vec![hz], between(random, 0.15, 0.6)), off(between(random, 1.0, 6.0))]
        }
        Tone::Dtmf | Tone::Chime => Vec::new(),
    }
}

/// Sines of equal strength, or silence.
fn part(out: &mut Vec<f32>, frequencies: &[f32], seconds: f32, rate_hz: u32) {
    let rate = rate_hz as f32;
    let (count, ramp) = (samples_in(seconds, rate_hz).max(1), RAMP_SECONDS * rate);
    let strength = 0.7 / frequencies.len().max(1) as f32;
    out.extend((0..count).map(|n| {
        let edge = (n.min(count - n) as f32 / ramp).min(1.0);
        edge * strength * frequencies.iter().map(|hz| sine(hz * n as f32 / rate)).sum::<f32>()
    }));
}

/// One to four strokes of a bell: inharmonic partials that die away, the higher the sooner.
fn chime(out: &mut Vec<f32>, rate_hz: u32, random: &mut ChaCha8Rng) {
    let rate = rate_hz as f32;
    let root = between(random, 400.0, 1_100.0);
    let partials =
        pick(random, &[[1.0, 2.0, 2.4, 3.0], [1.0, 2.76, 5.4, 8.9], [1.0, 2.0, 3.0, 4.0], [1.0, 4.0, 10.0, 10.0]]);
    for _ in 0..pick(random, &[1, 2, 2, 3, 4]) {
        let hz = root * pick(random, &[1.0, 1.25, 1.335, 1.5, 0.75, 2.0]);
        let (length, decay) = (between(random, 0.2, 0.9), between(random, 2.0, 9.0));
        out.extend((0..samples_in(length, rate_hz)).map(|n| {
            let t = n as f32 / rate;
            let attack = (t / 0.003).min(1.0);
            let ring = partials.iter().enumerate().map(|(k, partial)| {
                let strength = if partial * hz < 0.45 * rate { 0.6 / (k + 1) as f32 } else { 0.0 };
                strength * (-decay * (1.0 + k as f32) * t).exp() * sine(partial * hz * t)
            });
            attack * ring.sum::<f32>()
        }));
    }
}
