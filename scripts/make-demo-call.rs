//! Makes the call that `undertone demo` plays, of real CREMA-D clips:
//!
//! ```sh
//! cargo run --features train --example make-demo-call -- path/to/AudioWAV src/cli/demo
//! ```
//!
//! What goes in follows from this rule, never from what a model makes of it: one actor, the first of those who validate the
//! shipped model and so did not train it; his or her clips at the unspecified level `XX`, by sentence in alphabetical order;
//! of each emotion the first clips that together last at least [`STRETCH_MS`].
//!
//! All clips keep their level against each other, under one gain, as on one line. The line's own low noise lies under the whole
//! call. Written are `call.wav`, 8 kHz G.711 µ-law, and `call.tsv`, a line a clip with where its sound begins and ends.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use undertone::audio::{Encoding, codec, file, resample};

/// The first validation actor of the split that the shipped model was trained by.
const ACTOR: &str = "1009";
/// The emotions in the order in which the call has them, and what the corpus calls them.
const STRETCHES: [(&str, &str); 4] = [("neutral", "NEU"), ("angry", "ANG"), ("sad", "SAD"), ("happy", "HAP")];
/// The corpus's sentences, in alphabetical order.
const SENTENCES: [&str; 12] = ["DFA", "IEO", "IOM", "ITH", "ITS", "IWL", "IWW", "MTI", "TAI", "TIE", "TSI", "WSI"];
/// A stretch takes clips in until it lasts so long: enough for a window of speech to hold nothing else.
const STRETCH_MS: usize = 9_000;
/// Between two clips of one stretch, as between two sentences.
const PAUSE_MS: usize = 200;
/// Around the stretches: longer than the 2 s of no speech that clear a window.
const SILENCE_MS: usize = 2_400;
/// Before the first stretch, as when a call begins.
const LEAD_MS: usize = 1_000;
/// So that a clip begins and ends without a click.
const FADE_MS: usize = 10;
/// The loudest sample after the common gain: 1 dB below full scale.
const PEAK: f32 = 0.891;
/// Root mean square of the line's noise: -60 dBFS, as on a quiet line.
const NOISE_RMS: f32 = 0.001;
/// The telephone's rate.
const RATE_HZ: u32 = 8000;

fn main() -> anyhow::Result<()> {
    let mut args = env::args_os().skip(1).map(PathBuf::from);
    let (Some(corpus), Some(out), None) = (args.next(), args.next(), args.next()) else {
        anyhow::bail!("expected two folders: the CREMA-D clips, and where to write call.wav and call.tsv");
    };

    let mut call = vec![0.0_f32; samples(LEAD_MS)];
    let mut truth = String::from("start_seconds\tend_seconds\tlabel\tclip\n");
    for (label, code) in STRETCHES {
        let begin = call.len();
        for sentence in SENTENCES {
            if call.len() - begin >= samples(STRETCH_MS) {
                break;
            }
            let clip = format!("{ACTOR}_{sentence}_{code}_XX");
            let Some(path) = find(&corpus, &clip) else { continue };
            if call.len() > begin {
                call.resize(call.len() + samples(PAUSE_MS), 0.0);
            }
            let recording = file::read(&path)?;
            let rate_hz = recording.sample_rate_hz;
            let mut sound = resample::resample(&recording.into_mono(), rate_hz, RATE_HZ)?;
            fade(&mut sound);
            let seconds = |at: usize| at as f64 / f64::from(RATE_HZ);
            let (start, end) = (seconds(call.len()), seconds(call.len() + sound.len()));
            writeln!(truth, "{start:.3}\t{end:.3}\t{label}\t{clip}")?;
            call.append(&mut sound);
        }
        anyhow::ensure!(
            call.len() - begin >= samples(STRETCH_MS),
            "{} holds too few clips {ACTOR}_*_{code}_XX",
            corpus.display()
        );
        call.resize(call.len() + samples(SILENCE_MS), 0.0);
    }

    let peak = call.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
    let mut noise = ChaCha8Rng::seed_from_u64(0);
    for sample in &mut call {
        // Twelve uniform numbers make a normal one, near enough for noise: their variance is 12 · 1/12.
        let normal: f32 = (0..12).map(|_| noise.random::<f32>() - 0.5).sum();
        *sample = *sample * (PEAK / peak) + normal * NOISE_RMS;
    }

    let mut bytes = Vec::with_capacity(call.len());
    codec::encode(Encoding::Mulaw, &call, &mut bytes);
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    fs::write(out.join("call.wav"), mulaw_wav(&bytes)?).context("cannot write call.wav")?;
    fs::write(out.join("call.tsv"), truth).context("cannot write call.tsv")?;
    Ok(())
}

fn samples(milliseconds: usize) -> usize {
    milliseconds * RATE_HZ as usize / 1000
}

/// A clip as it is distributed, or as FLAC.
fn find(corpus: &Path, clip: &str) -> Option<PathBuf> {
    ["wav", "flac"].map(|ending| corpus.join(format!("{clip}.{ending}"))).into_iter().find(|path| path.is_file())
}

fn fade(sound: &mut [f32]) {
    let length = samples(FADE_MS).min(sound.len() / 2);
    let last = sound.len().saturating_sub(1);
    for at in 0..length {
        let gain = at as f32 / length as f32;
        sound[at] *= gain;
        sound[last - at] *= gain;
    }
}

/// A WAV file of G.711 µ-law, mono: `fmt ` with its extension size, `fact` with the number of samples, `data`.
fn mulaw_wav(data: &[u8]) -> anyhow::Result<Vec<u8>> {
    const FORMAT_MULAW: u16 = 7;
    let length = u32::try_from(data.len())?;
    let mut wav = Vec::with_capacity(data.len() + 58);
    let mut word = |bytes: &[u8]| wav.extend_from_slice(bytes);
    word(b"RIFF");
    word(&(50 + length + length % 2).to_le_bytes());
    word(b"WAVEfmt ");
    word(&18_u32.to_le_bytes());
    word(&FORMAT_MULAW.to_le_bytes());
    word(&1_u16.to_le_bytes());
    word(&RATE_HZ.to_le_bytes());
    word(&RATE_HZ.to_le_bytes());
    word(&1_u16.to_le_bytes());
    word(&8_u16.to_le_bytes());
    word(&0_u16.to_le_bytes());
    word(b"fact");
    word(&4_u32.to_le_bytes());
    word(&length.to_le_bytes());
    word(b"data");
    word(&length.to_le_bytes());
    word(data);
    if length % 2 == 1 {
        word(&[0]);
    }
    Ok(wav)
}
