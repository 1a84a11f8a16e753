//! Puts an hour of hold together, and says how much of it would be scored:
//!
//! ```sh
//! cargo run --release --example make-hold-hour -- --music DIR --out hold.wav
//! cargo run --release --example make-hold-hour -- --data path/to/crema-d
//! ```
//!
//! Music, song, chimes and tones of voice menus, signalling, noise and silence take turns, each for half a minute at one of three levels,
//! through 8 kHz µ-law. Recorded music comes from `--music` (WAV or FLAC, in folders by where it comes from); the rest is synthesised, so
//! that the hour can be made without. `hold.wav` and `hold.tsv` (what is heard where) are written with `--out`. With `--data` speech is
//! measured instead: the validation actors' clips, clean and over noise.
//!
//! Printed is a table: the part of the gate's blocks that are speech, the part of strides that a telephone model would score, the longest run of
//! those, and what the others say.

use std::{
    collections::BTreeMap,
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use undertone::{
    audio::{Encoding, file, resample},
    corpus::{
        Corpus, line,
        sounds::{self, Noise, Tone},
        split,
    },
    features::{
        FrontEnd, NotScored, WindowOptions,
        listen::RawFrames,
        logmel8k,
        window::{Served, served},
    },
};

/// The telephone's rate.
const RATE_HZ: u32 = 8_000;
/// One kind of sound after the other, for so long each.
const STRETCH_SECONDS: f32 = 30.0;
/// The same, in samples.
const STRETCH_SAMPLES: usize = 30 * RATE_HZ as usize;
/// So many make the hour.
const STRETCHES: usize = 120;
/// Levels that stretches take turns at: loud, usual and faint.
const LEVELS_DBFS: [f32; 3] = [-14.0, -22.0, -32.0];
/// Of everything drawn.
const SEED: u64 = 2;
/// Frames of 20 ms this far below the 95th percentile of a clean clip are no speech.
const SPEECH_RANGE_DB: f32 = 30.0;

/// What was found of one kind of sound.
#[derive(Default)]
struct Row {
    seconds: f64,
    frames: usize,
    speech: usize,
    strides: usize,
    scored: usize,
    run: usize,
    longest: usize,
    reasons: BTreeMap<NotScored, usize>,
}

fn main() -> anyhow::Result<()> {
    let (mut music, mut out, mut data) = (None, None, None);
    let mut args = env::args().skip(1);
    while let Some(flag) = args.next() {
        let value = args.next().map(PathBuf::from).with_context(|| format!("{flag} wants a value"))?;
        match flag.as_str() {
            "--music" => music = Some(value),
            "--out" => out = Some(value),
            "--data" => data = Some(value),
            _ => anyhow::bail!("unknown flag {flag}: expected --music DIR, --out hold.wav or --data DIR"),
        }
    }
    match data {
        Some(data) => speech(&data),
        None => hold(music.as_deref(), out.as_deref()),
    }
}

fn hold(music: Option<&Path>, out: Option<&Path>) -> anyhow::Result<()> {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let tracks = music.map(tracks).transpose()?.unwrap_or_default();
    let kinds = kinds(&tracks);
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    let (mut hour, mut listing) = (Vec::new(), String::from("start_seconds\tkind\n"));
    for (number, kind) in kinds.iter().cycle().take(STRETCHES).enumerate() {
        let mut samples = made(kind, &tracks, &mut random)?;
        sounds::set_level(&mut samples, LEVELS_DBFS[number % LEVELS_DBFS.len()]);
        samples.iter_mut().for_each(|sample| *sample = sample.clamp(-1.0, 1.0));
        listing += &format!("{}\t{kind}\n", hour.len() as f32 / RATE_HZ as f32);
        hour.extend(samples);
    }
    let heard = line::coded(Encoding::Mulaw, &hour);
    let (raw, strides) = listen(&heard)?;
    let stretch = STRETCH_SAMPLES as u64;
    for (number, &speech) in raw.speech.iter().enumerate() {
        let kind = &kinds[(number as u64 * 128 / stretch) as usize % kinds.len()];
        let row = rows.entry(kind.clone()).or_default();
        row.frames += 1;
        row.speech += usize::from(speech);
        row.seconds += 0.016;
    }
    let mut all = Row::default();
    for stride in &strides {
        let kind = &kinds[((stride.at_samples - 1) / stretch) as usize % kinds.len()];
        rows.entry(kind.clone()).or_default().take(stride);
        all.take(stride);
    }
    for row in rows.values() {
        all.seconds += row.seconds;
        all.frames += row.frames;
        all.speech += row.speech;
    }
    table(rows.iter().map(|(kind, row)| (kind.as_str(), row)).chain([("**all**", &all)]))?;
    if let Some(out) = out {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: RATE_HZ,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(out, spec)?;
        for sample in heard {
            writer.write_sample((sample * 32_767.0) as i16)?;
        }
        writer.finalize()?;
        fs::write(out.with_extension("tsv"), listing)?;
    }
    Ok(())
}

/// What takes turns: a package of music each, as often as all that is synthesised.
fn kinds(tracks: &BTreeMap<String, Vec<PathBuf>>) -> Vec<String> {
    let mut made = vec!["music, synthesised".to_owned(), "song, synthesised".to_owned(), "silence".to_owned()];
    made.extend(Tone::ALL.iter().map(|tone| format!("tone, {}", tone.as_str())));
    made.extend(Noise::ALL.iter().map(|noise| format!("noise, {}", noise.as_str())));
    let recorded: Vec<String> = tracks.keys().map(|package| format!("music, {package}")).collect();
    let turns = made.len().max(recorded.len());
    if recorded.is_empty() {
        return made;
    }
    (0..turns).flat_map(|turn| [recorded[turn % recorded.len()].clone(), made[turn % made.len()].clone()]).collect()
}

fn made(kind: &str, tracks: &BTreeMap<String, Vec<PathBuf>>, random: &mut ChaCha8Rng) -> anyhow::Result<Vec<f32>> {
    let count = STRETCH_SAMPLES;
    let (what, which) = kind.split_once(", ").unwrap_or((kind, ""));
    Ok(match what {
        "silence" => vec![0.0; count],
        "song" => sounds::song(STRETCH_SECONDS, RATE_HZ, random),
        "tone" => {
            let tone = Tone::ALL.into_iter().find(|tone| tone.as_str() == which).context("a tone")?;
            sounds::tone(tone, STRETCH_SECONDS, RATE_HZ, random)
        }
        "noise" => {
            let noise = Noise::ALL.into_iter().find(|noise| noise.as_str() == which).context("a noise")?;
            sounds::noise(noise, STRETCH_SECONDS, RATE_HZ, random)
        }
        _ => match tracks.get(which) {
            None => sounds::music(STRETCH_SECONDS, RATE_HZ, random),
            Some(paths) => {
                let recording = file::read(&paths[random.random_range(0..paths.len())])?;
                let rate_hz = recording.sample_rate_hz;
                let samples = resample::resample(&recording.into_mono(), rate_hz, RATE_HZ)?;
                let start = random.random_range(0..samples.len().saturating_sub(count).max(1));
                samples.into_iter().cycle().skip(start).take(count).collect()
            }
        },
    })
}

/// Recordings by the folder they lie in.
fn tracks(root: &Path) -> anyhow::Result<BTreeMap<String, Vec<PathBuf>>> {
    let mut tracks: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "wav" || extension == "flac") {
                let within = path.strip_prefix(root).unwrap_or(&path);
                let package =
                    within.iter().next().map_or_else(String::new, |first| first.to_string_lossy().into_owned());
                tracks.entry(package).or_default().push(path);
            }
        }
    }
    tracks.values_mut().for_each(|paths| paths.sort());
    Ok(tracks)
}

fn front_end() -> FrontEnd {
    FrontEnd::Logmel8k(logmel8k::Options::default())
}

fn listen(samples: &[f32]) -> anyhow::Result<(RawFrames, Vec<Served>)> {
    listen_at(samples, RATE_HZ)
}

fn listen_at(samples: &[f32], rate_hz: u32) -> anyhow::Result<(RawFrames, Vec<Served>)> {
    // The telephone model's windows.
    let options = WindowOptions {
        frames: 122,
        grow_frames: Some(8),
        min_seconds: 1.0,
        min_speech_ratio: 0.5,
        clear_after_seconds: 2.0,
    };
    let raw = RawFrames::of(samples, rate_hz, &front_end(), true)?;
    let strides = served(&raw, &front_end(), &options, 0.5)?;
    Ok((raw, strides))
}

/// Speech of the validation actors: how much of it is heard, clip by clip as if each were a call, and all of an actor's as one.
fn speech(data: &Path) -> anyhow::Result<()> {
    let corpus = Corpus::open(data)?;
    let valid = split(&corpus.actors(), None, None)?.valid;
    let mut out = std::io::stdout();
    writeln!(out, "| speech | noise | each clip a call | an actor's clips one call |\n|---|---|---|---|")?;
    let conditions: [(&str, u32, Option<f32>, bool); 6] = [
        ("16 kHz", 16_000, None, false),
        ("8 kHz", RATE_HZ, None, false),
        ("µ-law", RATE_HZ, None, true),
        ("16 kHz", 16_000, Some(20.0), false),
        ("µ-law", RATE_HZ, Some(20.0), true),
        ("µ-law", RATE_HZ, Some(10.0), true),
    ];
    for (name, rate_hz, snr_db, coded) in conditions {
        for kind in if snr_db.is_some() { vec![Noise::Pink, Noise::White, Noise::Hum] } else { vec![Noise::Pink] } {
            let (mut alone, mut together) = ((0, 0), (0, 0));
            for actor in &valid {
                let mut random = ChaCha8Rng::seed_from_u64(SEED);
                let (mut call, mut truths) = (Vec::new(), Vec::new());
                for clip in corpus.clips.iter().filter(|clip| clip.actor == *actor).step_by(3) {
                    let recording = file::read(&clip.path)?;
                    let from_hz = recording.sample_rate_hz;
                    let mut clean = resample::resample(&recording.into_mono(), from_hz, rate_hz)?;
                    clean.truncate(clean.len() / (rate_hz as usize / 100) * (rate_hz as usize / 100));
                    let truth = truth(&clean, rate_hz);
                    let mut samples = clean.clone();
                    if let Some(snr_db) = snr_db {
                        let noise = sounds::noise(kind, 6.0, rate_hz, &mut random);
                        let noise: Vec<f32> = noise.into_iter().cycle().take(samples.len()).collect();
                        line::add_noise(&mut samples, &noise, line::active_level(&clean, rate_hz), snr_db);
                    }
                    if coded {
                        samples = line::coded(Encoding::Mulaw, &samples);
                    }
                    count(&listen_at(&samples, rate_hz)?.0, &truth, &mut alone);
                    call.extend(samples);
                    truths.extend(truth);
                }
                let raw = listen_at(&call, rate_hz)?.0;
                count(&raw, &truths, &mut together);
            }
            let share = |(right, all): (usize, usize)| 100.0 * right as f64 / all.max(1) as f64;
            let noise = snr_db.map_or("none".to_owned(), |snr_db| format!("{} at {snr_db} dB", kind.as_str()));
            writeln!(out, "| {name} | {noise} | {:.1} % | {:.1} % |", share(alone), share(together))?;
        }
    }
    Ok(())
}

/// By 10 ms: whether a clean clip is speech there.
fn truth(clean: &[f32], rate_hz: u32) -> Vec<bool> {
    let levels: Vec<f32> = clean.chunks(rate_hz as usize / 100).map(line::level).collect();
    let mut sorted = levels.clone();
    sorted.sort_by(f32::total_cmp);
    let least = sorted.get(sorted.len() * 95 / 100).copied().unwrap_or(1.0) * line::factor(-SPEECH_RANGE_DB);
    levels.into_iter().map(|level| level >= least && level > 0.0).collect()
}

/// Adds how many true frames of speech there are, and how many are heard.
fn count(raw: &RawFrames, truth: &[bool], counts: &mut (usize, usize)) {
    for (number, truth) in truth.iter().enumerate() {
        // A frame's centre lies 32 ms behind its beginning, one every 16 ms.
        let frame = (number * 10 + 5).saturating_sub(24) / 16;
        let Some(&speech) = raw.speech.get(frame) else { continue };
        counts.1 += usize::from(*truth);
        counts.0 += usize::from(*truth && speech);
    }
}

impl Row {
    fn take(&mut self, stride: &Served) {
        self.strides += 1;
        match &stride.outcome {
            Ok(_) => {
                self.scored += 1;
                self.run += 1;
                self.longest = self.longest.max(self.run);
            }
            Err(reason) => {
                self.run = 0;
                *self.reasons.entry(*reason).or_default() += 1;
            }
        }
    }
}

fn table<'a>(rows: impl Iterator<Item = (&'a str, &'a Row)>) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "| sound | minutes | frames unscored as speech | strides scored | longest run | the others say |")?;
    writeln!(out, "|---|---|---|---|---|---|")?;
    for (kind, row) in rows {
        let part = |count: usize, of: usize| 100.0 * count as f64 / of.max(1) as f64;
        let mut reasons: Vec<(&NotScored, &usize)> = row.reasons.iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let reasons: Vec<String> = reasons
            .iter()
            .take(3)
            .map(|(reason, count)| format!("{reason:?} {:.0} %", part(**count, row.strides)))
            .collect();
        writeln!(
            out,
            "| {kind} | {:.1} | {:.2} % | {:.2} % | {:.1} s | {} |",
            row.seconds / 60.0,
            100.0 - part(row.speech, row.frames),
            part(row.scored, row.strides),
            row.longest as f32 * 0.5,
            reasons.join(", "),
        )?;
    }
    Ok(())
}
