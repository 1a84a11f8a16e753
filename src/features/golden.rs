//! The front end against features that librosa made: `tests/data/golden`.

use std::{fs::File, path::PathBuf};

use ndarray::{Array1, Array2, Ix0, OwnedRepr};
use ndarray_npy::NpzReader;
use proptest::prelude::*;

use super::{
    FrontEnd, Pipeline, PipelineOptions, Standardization, Stride, WindowOptions,
    chroma::ChromaBank,
    listen::RawFrames,
    mel,
    thesis154::{self, BINS, CHROMA_AT, CROSSINGS_AT, MEL_AT, VALUES},
    window::served,
};
use crate::audio::{codec, codec::Encoding, file, resample::resample};

const CLIPS: [&str; 7] = [
    "1002_IEO_ANG_HI",
    "1012_TSI_NEU_XX",
    "clip32_digital_silence_padded",
    "clip33_very_quiet",
    "clip35_chord_plus30cents",
    "clip37_all_zero",
    "extra2_50ms",
];

struct Golden {
    samples: Vec<f32>,
    features: Array2<f32>,
    untuned: Array2<f32>,
    tuning: f64,
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden").join(name)
}

fn golden(name: &str) -> Golden {
    let mut npz = NpzReader::new(File::open(path(&format!("{name}.npz"))).expect("there")).expect("readable");
    Golden {
        samples: npz.by_name::<OwnedRepr<f32>, _>("y22k").map(|y: Array1<f32>| y.to_vec()).expect("y22k"),
        features: npz.by_name("features").expect("features"),
        untuned: npz.by_name("features_tuning0").expect("features_tuning0"),
        tuning: npz.by_name::<OwnedRepr<f64>, Ix0>("tuning").expect("tuning").into_scalar(),
    }
}

#[track_caller]
fn assert_alike(name: &str, actual: &[f32], expected: &Array2<f32>) {
    for (at, expected) in expected.indexed_iter() {
        let most = match at.1 {
            0 => 2e-3,
            1..CHROMA_AT => 1e-3,
            CHROMA_AT..MEL_AT => 1e-5,
            MEL_AT..CROSSINGS_AT => 2e-3,
            _ => 0.0,
        };
        let actual = actual[at.0 * VALUES + at.1];
        assert!(
            (actual - expected).abs() <= most,
            "{name}, frame and value {at:?}: {actual} where librosa has {expected}"
        );
    }
}

fn front_end() -> FrontEnd {
    FrontEnd::Thesis154(thesis154::Options::default())
}

fn window(frames: usize) -> WindowOptions {
    WindowOptions { frames, grow_frames: None, min_seconds: 1.0, min_speech_ratio: 0.5, clear_after_seconds: 2.0 }
}

fn pipeline(window: &WindowOptions, source_hz: u32, gate: bool) -> Pipeline {
    let options = PipelineOptions { source_hz, stride_seconds: 0.5, gate };
    Pipeline::new(&front_end(), window, &Standardization::identity(VALUES), &options).expect("supported")
}

fn strides(mut pipeline: Pipeline, chunks: &[&[f32]]) -> Vec<Stride> {
    chunks.iter().for_each(|chunk| pipeline.push(chunk));
    pipeline.finish();
    std::iter::from_fn(|| pipeline.poll()).collect()
}

/// The distributed clip between two silences, at 8 kHz.
fn telephone_call() -> Vec<f32> {
    let clip = file::read(&path("1012_TSI_NEU_XX.wav")).expect("readable");
    let clip = resample(&clip.into_mono(), 16_000, 8_000).expect("supported");
    [vec![0.0; 8_100], clip.clone(), vec![0.0; 24_000], clip].concat()
}

/// A dense filter bank of librosa's, `[bands, bins]`, applied the plain way.
fn plainly(bank: &Array2<f32>, power: &[f32]) -> Vec<f64> {
    let band =
        |row: ndarray::ArrayView1<'_, f32>| row.iter().zip(power).map(|(w, p)| f64::from(*w) * f64::from(*p)).sum();
    bank.rows().into_iter().map(band).collect()
}

#[test]
fn filter_banks_are_those_of_librosa() {
    let mut npz = NpzReader::new(File::open(path("constants.npz")).expect("there")).expect("readable");
    let names = npz.names().expect("readable");
    let mut bank = |part: &str| -> Array2<f32> {
        let name = names.iter().find(|name| name.contains(part)).unwrap_or_else(|| panic!("{part} in {names:?}"));
        npz.by_name(name).expect("a matrix")
    };
    let mel_bank = mel::bank();
    let mut power = mel_bank.spectrum();
    power[..BINS].iter_mut().enumerate().for_each(|(bin, power)| *power = 1.0 + (bin * bin % 97) as f32);
    let mut mel = vec![0.0; thesis154::MEL];
    mel_bank.apply(&power, &mut mel);
    for (actual, expected) in mel.iter().zip(plainly(&bank("mel"), &power)) {
        assert!((f64::from(*actual) / expected - 1.0).abs() < 1e-5, "{actual} and {expected}");
    }
    let mut chroma = vec![0.0; thesis154::CHROMA];
    ChromaBank::new(0.0).apply(&power, &mut chroma);
    let expected = plainly(&bank("chroma"), &power);
    let loudest = expected.iter().copied().fold(0.0, f64::max);
    for (actual, expected) in chroma.iter().zip(expected) {
        assert!((f64::from(*actual) - expected / loudest).abs() < 1e-5, "{actual} and {}", expected / loudest);
    }
}

#[test]
fn whole_clips_are_as_librosa_has_them() {
    for name in CLIPS {
        let golden = golden(name);
        let features = thesis154::whole_clip(&golden.samples);
        assert_eq!(features.tuning, golden.tuning, "tuning of {name}");
        assert_eq!(features.frames, golden.features.nrows(), "frames of {name}");
        assert_alike(name, &features.values, &golden.features);
    }
}

#[test]
fn a_clip_of_one_window_streams_as_librosa_has_it_untuned() {
    for name in CLIPS {
        let golden = golden(name);
        let features = thesis154::one_window(&golden.samples);
        assert_alike(name, &features.values, &golden.untuned);
        let window = WindowOptions { min_seconds: 0.0, ..window(300) };
        let strides = strides(pipeline(&window, thesis154::SAMPLE_RATE_HZ, false), &[&golden.samples]);
        let last = strides.last().expect("a stride").outcome.as_ref().expect("a window");
        assert_eq!(last.len(), 300 * VALUES);
        assert_alike(name, last, &golden.untuned);
        assert!(last[golden.untuned.len()..].iter().all(|&value| value == 0.0), "padding of {name}");
    }
}

#[test]
fn the_trainer_and_a_call_are_given_the_same_windows_to_the_bit() {
    let call = telephone_call();
    for (frames, gate) in [(300, true), (60, true), (60, false)] {
        let options = window(frames);
        let raw = RawFrames::of(&call, 8_000, &front_end(), gate).expect("supported");
        let served = served(&raw, &front_end(), &options, 0.5).expect("supported");
        let strides = strides(pipeline(&options, 8_000, gate), &[&call]);
        assert_eq!(served.len(), strides.len());
        let mut scored = 0;
        for (served, stride) in served.iter().zip(&strides) {
            assert_eq!(served.at_samples, stride.depends_on_samples);
            match (&served.outcome, &stride.outcome) {
                (Ok(window), Ok(values)) => {
                    let mut expected = vec![0.0; values.len()];
                    let range = |frame| usize::try_from(frame).expect("small");
                    let frames = raw.range(range(window.frames.start)..range(window.frames.end));
                    super::assemble::assemble(frames, &mut expected);
                    assert!(&expected == values);
                    scored += 1;
                }
                (Err(served), Err(stride)) => assert_eq!(served, stride),
                (served, stride) => panic!("{served:?} where the call has {:?}", stride.as_ref().map(Vec::len)),
            }
        }
        assert!(scored >= 4);
    }
}

#[test]
fn the_first_window_comes_within_a_second_and_a_half_of_speech() {
    let call = telephone_call();
    let heard = strides(pipeline(&window(300), 8_000, true), &[&call]);
    let first = heard.iter().find(|stride| stride.outcome.is_ok()).expect("a window");
    assert!(first.depends_on_samples <= 8_100 + 4_000 + 12_000, "{}", first.depends_on_samples);
    assert!(first.end_samples <= first.depends_on_samples && first.start_samples < first.end_samples);
    assert!(
        heard
            .iter()
            .enumerate()
            .all(|(n, stride)| n + 1 == heard.len() || stride.depends_on_samples == (n as u64 + 1) * 4_000)
    );
}

#[test]
fn a_cleared_window_holds_nothing_from_before() {
    let call = telephone_call();
    let mut pipeline = pipeline(&window(300), 8_000, false);
    pipeline.push(&call[..20_001]);
    pipeline.clear();
    pipeline.push(&call[20_001..]);
    let strides: Vec<Stride> = std::iter::from_fn(|| pipeline.poll()).collect();
    let after: Vec<&Stride> = strides.iter().filter(|stride| stride.depends_on_samples > 20_001).collect();
    assert!(after.iter().filter(|stride| stride.outcome.is_ok()).all(|stride| stride.start_samples >= 20_001));
    assert!(after[0].outcome.is_err() && after[4].outcome.is_ok());
}

#[test]
fn flushing_decides_once_on_what_is_new() {
    let mut pipeline = pipeline(&window(300), 8_000, false);
    pipeline.flush();
    assert_eq!(pipeline.poll(), None);
    pipeline.push(&[0.1; 9_000]);
    pipeline.flush();
    pipeline.flush();
    let strides: Vec<u64> = std::iter::from_fn(|| pipeline.poll()).map(|stride| stride.depends_on_samples).collect();
    assert_eq!(strides, [4_000, 8_000, 9_000]);
}

#[test]
fn what_a_manifest_cannot_ask_for_is_refused_with_what_it_can() {
    let options = thesis154::Options { hop_samples: 256, ..Default::default() };
    let message = FrontEnd::Thesis154(options).validate().expect_err("refused").to_string();
    assert!(message.contains("hop_samples = 256") && message.contains("512"), "{message}");
    let message = WindowOptions { frames: 0, ..window(300) }.validate(&front_end()).expect_err("refused").to_string();
    assert!(message.contains("window.frames"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn however_the_bytes_are_cut_the_strides_are_the_same(cuts in prop::collection::vec(1_usize..5_000, 1..60)) {
        let call = telephone_call();
        let mut bytes = Vec::new();
        codec::encode(Encoding::Linear16, &call, &mut bytes);
        let hear = |chunks: &mut dyn Iterator<Item = usize>| {
            let mut decoder = codec::Decoder::new(Encoding::Linear16, 1);
            let mut pipeline = pipeline(&window(100), 8_000, true);
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let (chunk, tail) = rest.split_at(chunks.next().unwrap_or(usize::MAX).min(rest.len()));
                let mut planes = [Vec::new()];
                decoder.push(chunk, &mut planes);
                pipeline.push(&planes[0]);
                rest = tail;
            }
            strides(pipeline, &[])
        };
        let whole = hear(&mut std::iter::empty());
        prop_assert!(whole.iter().any(|stride| stride.outcome.is_ok()));
        prop_assert!(hear(&mut cuts.into_iter()) == whole);
    }
}
