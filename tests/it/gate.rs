//! What the gate lets through: speech, over noise too; and not music, song, tones, noise or silence. No recording but the clips here.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use undertone::{
    audio::{
        Encoding, file,
        gate::{Activity, Gate},
        resample,
    },
    corpus::{
        line::coded,
        sounds::{self, Noise, Tone},
    },
    features::{
        FrontEnd, NotScored, WindowOptions,
        listen::RawFrames,
        logmel8k,
        window::{Served, served},
    },
};

const RATE_HZ: u32 = 8_000;

fn random() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(17)
}

fn front_end() -> FrontEnd {
    FrontEnd::Logmel8k(logmel8k::Options::default())
}

/// Windows as the telephone model has them.
fn window() -> WindowOptions {
    WindowOptions {
        frames: 122,
        grow_frames: Some(8),
        min_seconds: 1.0,
        min_speech_ratio: 0.5,
        clear_after_seconds: 2.0,
    }
}

/// What a call would be told at every half second.
fn strides(samples: &[f32], rate_hz: u32) -> Vec<Served> {
    let raw = RawFrames::of(samples, rate_hz, &front_end(), true).unwrap();
    served(&raw, &front_end(), &window(), 0.5).unwrap()
}

fn scored(strides: &[Served]) -> f32 {
    strides.iter().filter(|stride| stride.outcome.is_ok()).count() as f32 / strides.len() as f32
}

fn said(strides: &[Served], reason: NotScored) -> usize {
    strides.iter().filter(|stride| stride.outcome == Err(reason)).count()
}

/// What each frame of 20 ms of samples is, all told.
fn frames(samples: &[f32], rate_hz: u32) -> Vec<bool> {
    RawFrames::of(samples, rate_hz, &front_end(), true).unwrap().speech
}

fn clips() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/crema-d");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "flac"));
    paths.sort();
    paths
}

fn clip(path: &Path, rate_hz: u32) -> Vec<f32> {
    resample::resample(&file::read(path).unwrap().into_mono(), 16_000, rate_hz).unwrap()
}

/// Whether the middle of each frame of the front end is speech in a clean clip: within 30 dB of its 95th percentile.
fn truth(clean: &[f32], frames: usize, rate_hz: u32) -> Vec<bool> {
    let (hop, size) = (rate_hz as usize * 16 / 1_000, rate_hz as usize * 64 / 1_000);
    let power = |frame: usize| {
        let middle = frame * hop + size / 2;
        clean[middle - hop / 2..(middle + hop / 2).min(clean.len())].iter().map(|sample| sample * sample).sum::<f32>()
    };
    let powers: Vec<f32> = (0..frames).map(power).collect();
    let mut sorted = powers.clone();
    sorted.sort_by(f32::total_cmp);
    let least = sorted[sorted.len() * 95 / 100] * 1e-3;
    powers.into_iter().map(|power| power >= least).collect()
}

/// Part of the true speech frames of all clips that is heard as speech.
fn heard(rate_hz: u32, spoil: impl Fn(&[f32]) -> Vec<f32>) -> f32 {
    let (mut right, mut all) = (0, 0);
    for path in clips() {
        let clean = clip(&path, rate_hz);
        let speech = frames(&spoil(&clean), rate_hz);
        for (speech, truth) in speech.iter().zip(truth(&clean, speech.len(), rate_hz)) {
            all += usize::from(truth);
            right += usize::from(truth && *speech);
        }
    }
    right as f32 / all as f32
}

fn noisy(clean: &[f32], kind: Noise, snr_db: f32) -> Vec<f32> {
    let level = undertone::corpus::line::active_level(clean, RATE_HZ);
    let mut out = clean.to_vec();
    let noise = sounds::noise(kind, 6.0, RATE_HZ, &mut random());
    undertone::corpus::line::add_noise(&mut out, &noise[..clean.len()], level, snr_db);
    coded(Encoding::Mulaw, &out)
}

#[test]
fn no_tone_is_scored_and_most_strides_of_it_say_tone_or_silence() {
    for kind in Tone::ALL {
        for level_dbfs in [-12.0, -25.0, -35.0] {
            let mut samples = sounds::tone(kind, 20.0, RATE_HZ, &mut random());
            sounds::set_level(&mut samples, level_dbfs);
            let strides = strides(&coded(Encoding::Mulaw, &samples), RATE_HZ);
            assert_eq!(scored(&strides), 0.0, "{kind:?} at {level_dbfs} dBFS");
            let right = said(&strides, NotScored::Tone) + said(&strides, NotScored::Silence);
            assert!(right * 4 >= strides.len() * 3, "{kind:?} at {level_dbfs} dBFS: {right} of {}", strides.len());
        }
    }
}

#[test]
fn hardly_any_music_or_song_is_scored_and_it_says_music() {
    let mut random = random();
    let (mut all, mut scored_ones, mut music) = (0, 0, 0);
    for piece in 0..12 {
        let mut samples = sounds::music(20.0, RATE_HZ, &mut random);
        sounds::set_level(&mut samples, -20.0);
        if piece % 3 == 1 {
            let mut song = sounds::song(20.0, RATE_HZ, &mut random);
            sounds::set_level(&mut song, -16.0);
            samples.iter_mut().zip(song).for_each(|(sample, sung)| *sample += sung);
        } else if piece % 3 == 2 {
            samples = sounds::song(20.0, RATE_HZ, &mut random);
            sounds::set_level(&mut samples, -20.0);
        }
        let strides = strides(&coded(Encoding::Mulaw, &samples), RATE_HZ);
        all += strides.len();
        scored_ones += strides.iter().filter(|stride| stride.outcome.is_ok()).count();
        music += said(&strides, NotScored::Music);
    }
    assert!(scored_ones * 50 <= all, "{scored_ones} of {all} scored");
    assert!(music * 4 >= all * 3, "{music} of {all} are music");
}

#[test]
fn noise_and_silence_are_not_scored() {
    for kind in Noise::ALL {
        for level_dbfs in [-15.0, -30.0, -45.0] {
            let mut samples = sounds::noise(kind, 20.0, RATE_HZ, &mut random());
            sounds::set_level(&mut samples, level_dbfs);
            let strides = strides(&coded(Encoding::Mulaw, &samples), RATE_HZ);
            assert!(scored(&strides) <= 0.05, "{kind:?} at {level_dbfs} dBFS: {}", scored(&strides));
        }
    }
    let quiet = strides(&vec![0.0; 80_000], RATE_HZ);
    assert_eq!(said(&quiet, NotScored::Silence), quiet.len());
    let offset = strides(&vec![0.25; 80_000], RATE_HZ);
    assert_eq!(scored(&offset), 0.0, "direct current is no sound");
}

#[test]
fn speech_is_heard_at_both_rates_coded_and_over_noise() {
    let clean = heard(RATE_HZ, <[f32]>::to_vec);
    assert!(clean >= 0.93, "8 kHz: {clean}");
    let wide = heard(16_000, <[f32]>::to_vec);
    assert!(wide >= 0.93, "16 kHz: {wide}");
    let mulaw = heard(RATE_HZ, |clean| coded(Encoding::Mulaw, clean));
    assert!(mulaw >= 0.93, "µ-law: {mulaw}");
    for kind in [Noise::Pink, Noise::White, Noise::Hum, Noise::Comfort] {
        let noisy = heard(RATE_HZ, |clean| noisy(clean, kind, 20.0));
        assert!(noisy >= 0.9, "20 dB above {kind:?}: {noisy}");
    }
}

#[test]
fn speech_that_drowns_says_so_or_is_noise() {
    let mut drowned = 0;
    for path in clips() {
        let clean = clip(&path, RATE_HZ);
        let strides = strides(&noisy(&clean, Noise::White, -3.0), RATE_HZ);
        assert!(scored(&strides) <= 0.2, "{}", path.display());
        drowned += said(&strides, NotScored::LowSnr) + said(&strides, NotScored::Noise);
    }
    assert!(drowned > 0);
}

#[test]
fn who_speaks_after_music_is_scored_soon_and_music_after_speech_is_not() {
    let mut music = sounds::music(15.0, RATE_HZ, &mut random());
    sounds::set_level(&mut music, -20.0);
    let words: Vec<f32> = clips()
        .iter()
        .filter(|path| path.to_string_lossy().contains("1015"))
        .flat_map(|path| clip(path, RATE_HZ))
        .collect();
    let call = [music.clone(), words.clone(), music.clone()].concat();
    let strides = strides(&coded(Encoding::Mulaw, &call), RATE_HZ);
    let (speech_from, speech_to) = (music.len() as u64, (music.len() + words.len()) as u64);
    let first = strides.iter().find(|stride| stride.outcome.is_ok()).expect("speech is scored").at_samples;
    // The clip's own silence before its words is half a second.
    assert!(first > speech_from && first <= speech_from + 20_000, "{first} for {speech_from}");
    let late = strides.iter().filter(|stride| stride.outcome.is_ok() && stride.at_samples > speech_to + 16_000).count();
    assert_eq!(late, 0, "two seconds into the music");
    assert!(scored(&strides) > 0.2);
}

#[test]
fn a_rate_of_its_own_changes_little() {
    let path = &clips()[8];
    for rate_hz in [11_025, 22_050, 44_100, 48_000] {
        let speech = |rate_hz| {
            let mut gate = Gate::new(rate_hz);
            let mut spoken = 0;
            for block in clip(path, rate_hz).chunks(gate.block_samples()) {
                gate.push(block);
                let heard = gate.track().heard();
                let last = heard.checked_sub(1).and_then(|last| gate.track().finding(last, heard));
                spoken += usize::from(last.is_some_and(|finding| finding.activity == Activity::Speech));
            }
            spoken
        };
        assert!(speech(rate_hz).abs_diff(speech(8_000)) <= 3, "{rate_hz}: {} and {}", speech(rate_hz), speech(8_000));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn however_samples_are_cut_the_same_is_told(cuts in prop::collection::vec(1_usize..3_000, 1..60)) {
        let mut samples = sounds::music(2.0, RATE_HZ, &mut random());
        samples.extend(clip(&clips()[0], RATE_HZ));
        samples.extend(sounds::noise(Noise::Pink, 1.0, RATE_HZ, &mut random()));
        let mut whole = Gate::new(RATE_HZ);
        whole.push(&samples);
        whole.finish();
        let mut parts = Gate::new(RATE_HZ);
        let mut rest = samples.as_slice();
        for cut in cuts {
            let (part, tail) = rest.split_at(cut.min(rest.len()));
            parts.push(part);
            rest = tail;
        }
        parts.push(rest);
        parts.finish();
        prop_assert_eq!(parts.track(), whole.track());
    }
}
