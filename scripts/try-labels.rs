//! Sends recordings and sounds under every label and tells how often the label is found to lie:
//!
//! ```sh
//! cargo run --profile quick --example try-labels -- --data path/to/crema-d
//! ```
//!
//! It takes half a minute for all of CREMA-D where it is built so; without optimisation, too long to wait for.
//!
//! Every clip, and sounds that are put together by number, are written as linear PCM, µ-law and A-law at several levels, looped to half a
//! minute, and listened to under each of the three labels.

use std::{collections::BTreeMap, env, io::Write as _, path::PathBuf};

use anyhow::Context as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use undertone::{
    audio::{
        Encoding, codec,
        label::{Finding, Watch},
        resample,
    },
    corpus::{
        Corpus,
        sounds::{self, Noise, Tone},
    },
};

/// The telephone's rate.
const RATE_HZ: u32 = 8000;
/// Of the recording's own level: as it is, and further away.
const LEVELS_DB: [f32; 4] = [0.0, -20.0, -30.0, -40.0];
/// Of each kind of sound.
const DRAWS: usize = 5;
/// How long each is.
const SECONDS: f32 = 10.0;
/// Of everything drawn.
const SEED: u64 = 3;
const ENCODINGS: [Encoding; 3] = [Encoding::Linear16, Encoding::Mulaw, Encoding::Alaw];

/// What was found of one kind of sound at one level.
#[derive(Default)]
struct Row {
    true_labels: usize,
    false_alarms: usize,
    lies: usize,
    found: usize,
    misnamed: usize,
}

fn main() -> anyhow::Result<()> {
    let mut args = env::args().skip(1);
    let data = match (args.next().as_deref(), args.next(), args.next()) {
        (Some("--data"), Some(folder), None) => PathBuf::from(folder),
        _ => anyhow::bail!("usage: try-labels --data path/to/crema-d"),
    };
    let mut rows: BTreeMap<(String, usize), Row> = BTreeMap::new();
    for clip in Corpus::open(&data)?.clips {
        let recording = undertone::audio::file::read(&clip.path)?;
        let rate_hz = recording.sample_rate_hz;
        let samples = resample::resample(&recording.into_mono(), rate_hz, RATE_HZ)?;
        try_all(&mut rows, "speech", &samples);
    }
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    for _ in 0..DRAWS {
        try_all(&mut rows, "music", &sounds::music(SECONDS, RATE_HZ, &mut random));
        try_all(&mut rows, "song", &sounds::song(SECONDS, RATE_HZ, &mut random));
        for kind in Tone::ALL {
            try_all(&mut rows, "tones", &sounds::tone(kind, SECONDS, RATE_HZ, &mut random));
        }
        for kind in Noise::ALL {
            try_all(&mut rows, "noise", &sounds::noise(kind, SECONDS, RATE_HZ, &mut random));
        }
    }
    try_all(&mut rows, "silence", &vec![0.0; RATE_HZ as usize]);
    print(&rows).context("cannot print")
}

/// One sound under all labels.
fn try_all(rows: &mut BTreeMap<(String, usize), Row>, kind: &str, samples: &[f32]) {
    for (level, db) in LEVELS_DB.into_iter().enumerate() {
        let row = rows.entry((kind.to_owned(), level)).or_default();
        let samples: Vec<f32> = samples.iter().map(|sample| sample * 10_f32.powf(db / 20.0)).collect();
        for sent in ENCODINGS {
            let mut bytes = Vec::new();
            codec::encode(sent, &samples, &mut bytes);
            for label in ENCODINGS {
                let mut watch = Watch::new(label, 1, RATE_HZ);
                let finding = std::iter::repeat(&bytes).find_map(|bytes| watch.push(bytes));
                let looks_like = match finding {
                    Some(Finding::LooksLike(encoding)) => Some(encoding),
                    _ => None,
                };
                if sent == label {
                    row.true_labels += 1;
                    row.false_alarms += usize::from(looks_like.is_some());
                } else {
                    row.lies += 1;
                    row.found += usize::from(looks_like == Some(sent));
                    row.misnamed += usize::from(looks_like.is_some_and(|encoding| encoding != sent));
                }
            }
        }
    }
}

fn print(rows: &BTreeMap<(String, usize), Row>) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "| sent | level | true labels | warned | lying labels | found | called by a third name |")?;
    writeln!(out, "|---|---|---|---|---|---|---|")?;
    for ((kind, level), row) in rows {
        let Row { true_labels, false_alarms, lies, found, misnamed } = row;
        let (db, part) = (LEVELS_DB[*level], 100.0 * *found as f64 / *lies as f64);
        writeln!(out, "| {kind} | {db} dB | {true_labels} | {false_alarms} | {lies} | {part:.2} % | {misnamed} |")?;
    }
    Ok(())
}
