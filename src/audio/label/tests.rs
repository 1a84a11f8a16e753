use std::{f32::consts::TAU, fs, path::Path, sync::LazyLock};

use proptest::prelude::*;

use super::*;
use crate::audio::{codec, file, resample};

const RATE: u32 = 8000;
const ALL: [Encoding; 3] = [Encoding::Linear16, Encoding::Mulaw, Encoding::Alaw];

/// Every committed clip, at the telephone's rate.
static CLIPS: LazyLock<Vec<Vec<f32>>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/crema-d");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let clips = paths.filter(|path| path.extension().is_some_and(|extension| extension == "flac"));
    let clip = |path: &Path| resample::resample(&file::read(path).unwrap().into_mono(), 16_000, RATE).unwrap();
    clips.map(|path| clip(&path)).collect()
});

fn bytes(samples: &[f32], encoding: Encoding) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode(encoding, samples, &mut bytes);
    bytes
}

/// What is found of interleaved samples that are sent so, over and over, under a label.
fn found(samples: &[f32], sent: Encoding, label: Encoding, channels: usize) -> Finding {
    let mut watch = Watch::new(label, channels, RATE);
    let bytes = bytes(samples, sent);
    loop {
        if let Some(finding) = watch.push(&bytes) {
            return finding;
        }
    }
}

fn expected(sent: Encoding, label: Encoding) -> Finding {
    if sent == label { Finding::Fits } else { Finding::LooksLike(sent) }
}

fn at(samples: &[f32], db: f32) -> Vec<f32> {
    samples.iter().map(|sample| sample * 10_f32.powf(db / 20.0)).collect()
}

/// A number in ±1 that the last one decides.
fn noise(seed: &mut u32) -> f32 {
    *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    (*seed >> 8) as f32 / (1 << 23) as f32 - 1.0
}

#[test]
fn speech_under_every_label_is_told_for_what_it_is() {
    for clip in CLIPS.iter() {
        for db in [6.0, 0.0, -20.0, -30.0] {
            let clip = at(clip, db);
            for sent in ALL {
                for label in ALL {
                    assert_eq!(found(&clip, sent, label, 1), expected(sent, label), "{sent:?} as {label:?}, {db} dB");
                }
            }
        }
    }
}

#[test]
fn two_voices_side_by_side_are_told_too_and_so_is_one_beside_silence() {
    let clips = &*CLIPS;
    for (left, right) in [(&clips[0], Some(&clips[7])), (&clips[1], None), (&clips[2], Some(&clips[2]))] {
        let right = |at: usize| right.map_or(0.0, |right| right[at % right.len()]);
        let both: Vec<f32> = left.iter().enumerate().flat_map(|(at, sample)| [*sample, right(at)]).collect();
        let swapped: Vec<f32> = both.chunks_exact(2).flat_map(|pair| [pair[1], pair[0]]).collect();
        for samples in [both, swapped] {
            for sent in ALL {
                for label in ALL {
                    assert_eq!(found(&samples, sent, label, 2), expected(sent, label), "{sent:?} as {label:?}");
                }
            }
        }
    }
}

#[test]
fn of_silence_and_white_noise_nothing_is_claimed() {
    let mut seed = 7;
    let noise: Vec<f32> = (0..RATE).map(|_| noise(&mut seed)).collect();
    for samples in [vec![0.0; RATE as usize], noise] {
        for label in ALL {
            assert_ne!(found(&samples, label, label, 1), Finding::LooksLike(label));
            for sent in ALL {
                let finding = found(&samples, sent, label, 1);
                assert!(
                    !matches!(finding, Finding::LooksLike(other) if other != sent),
                    "{sent:?} as {label:?}: {finding:?}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_tone_is_never_taken_for_what_it_is_not(hertz in 50_u16..4000, db in -50.0_f32..0.0, locked in any::<bool>()) {
        let hertz = if locked { f32::from(hertz / 50 * 50) } else { f32::from(hertz) };
        let tone: Vec<f32> = (0..RATE).map(|n| (TAU * (hertz * n as f32 / RATE as f32).fract()).sin()).collect();
        let tone = at(&tone, db);
        for sent in ALL {
            for label in ALL {
                let finding = found(&tone, sent, label, 1);
                prop_assert!(finding == Finding::Unclear || finding == expected(sent, label), "{:?} as {:?}: {:?}", sent, label, finding);
            }
        }
    }

    #[test]
    fn however_bytes_are_cut_the_finding_is_the_same(sizes in prop::collection::vec(1_usize..700, 1..50), label in 0_usize..3) {
        let bytes = bytes(&CLIPS[3], Encoding::Linear16);
        let mut whole = Watch::new(ALL[label], 1, RATE);
        let mut parts = Watch::new(ALL[label], 1, RATE);
        let mut rest = bytes.as_slice();
        let mut finding = None;
        for size in sizes.iter().cycle() {
            if rest.is_empty() || finding.is_some() {
                break;
            }
            let (part, behind) = rest.split_at((*size).min(rest.len()));
            finding = parts.push(part);
            rest = behind;
        }
        prop_assert_eq!(finding, whole.push(&bytes));
    }
}

#[test]
fn it_is_given_up_after_half_a_minute() {
    let mut watch = Watch::new(Encoding::Mulaw, 1, RATE);
    for second in 1..30 {
        assert_eq!(watch.push(&[0xFF; RATE as usize]), None, "second {second}");
    }
    assert_eq!(watch.push(&[0xFF; RATE as usize]), Some(Finding::Unclear));
}
