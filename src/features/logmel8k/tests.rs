//! The front end against NumPy and against itself done plainly.

use std::path::{Path, PathBuf};

use ndarray::Array2;
use proptest::prelude::*;

use super::*;
use crate::{
    audio::{file, resample::resample},
    features::{
        FrontEnd, Memory, NotScored, Pipeline, PipelineOptions, Standardization, Stride, WindowOptions,
        listen::RawFrames, offline,
    },
};

const BANDS: usize = 96;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden").join(name)
}

fn front_end() -> FrontEnd {
    FrontEnd::Logmel8k(Options::default())
}

fn window() -> WindowOptions {
    WindowOptions {
        frames: 122,
        grow_frames: Some(8),
        min_seconds: 1.0,
        min_speech_ratio: 0.5,
        clear_after_seconds: 2.0,
    }
}

fn standardization() -> Standardization {
    Standardization { mean: vec![0.0; BANDS], deviation: (0..BANDS).map(|band| 1.0 + band as f32 / 50.0).collect() }
}

fn pipeline(source_hz: u32, gate: bool) -> Pipeline {
    let options = PipelineOptions { source_hz, stride_seconds: 0.5, gate };
    Pipeline::new(&front_end(), &window(), &standardization(), &options).expect("supported")
}

fn clip() -> Vec<f32> {
    file::read(&path("1012_TSI_NEU_XX.wav")).expect("readable").into_mono()
}

/// A clip twice, with silence that clears the window between, at 8 kHz.
fn telephone_call() -> Vec<f32> {
    let clip = resample(&clip(), 16_000, 8_000).expect("supported");
    [vec![0.0; 8_100], clip.clone(), vec![0.0; 24_000], clip].concat()
}

fn strides(mut pipeline: Pipeline, chunks: &[&[f32]]) -> Vec<Stride> {
    chunks.iter().for_each(|chunk| pipeline.push(chunk));
    pipeline.finish();
    std::iter::from_fn(|| pipeline.poll()).collect()
}

/// The bands of each frame by sums over everything, in f64.
fn naive(samples: &[f32], options: &Options) -> Vec<Vec<f64>> {
    let &Options { frame_samples, fft_samples, hop_samples, mel_bands, min_hz, max_hz, .. } = options;
    let mel = |hz: f64| 2_595.0 * (1.0 + hz / 700.0).log10();
    let edge = |at: usize| {
        let part = at as f64 / (mel_bands + 1) as f64;
        700.0 * (10_f64.powf((mel(min_hz) + part * (mel(max_hz) - mel(min_hz))) / 2_595.0) - 1.0)
    };
    let weight = |band: usize, hz: f64| {
        let (low, centre, high) = (edge(band), edge(band + 1), edge(band + 2));
        if hz < centre { (hz - low) / (centre - low) } else { (high - hz) / (high - centre) }.max(0.0)
    };
    samples
        .windows(frame_samples)
        .step_by(hop_samples)
        .map(|frame| {
            let power: Vec<f64> = (0..=fft_samples / 2)
                .map(|bin| {
                    let (mut re, mut im) = (0.0, 0.0);
                    for (n, sample) in frame.iter().enumerate() {
                        let turn = std::f64::consts::TAU * n as f64;
                        let hann = 0.5 - 0.5 * (turn / (frame_samples - 1) as f64).cos();
                        let angle = turn * bin as f64 / fft_samples as f64;
                        re += f64::from(*sample) * hann * angle.cos();
                        im -= f64::from(*sample) * hann * angle.sin();
                    }
                    re * re + im * im
                })
                .collect();
            let band = |band| {
                let hz = |bin: usize| bin as f64 * f64::from(SAMPLE_RATE_HZ) / fft_samples as f64;
                let sum: f64 = power.iter().enumerate().map(|(bin, power)| weight(band, hz(bin)) * power).sum();
                (sum + f64::from(options.least_power)).ln()
            };
            (0..mel_bands).map(band).collect()
        })
        .collect()
}

#[test]
fn bands_are_those_of_numpy() {
    let golden: Array2<f32> = ndarray_npy::read_npy(path("logmel8k_1012_TSI_NEU_XX.npy")).expect("readable");
    let samples: Vec<f32> = clip().into_iter().step_by(2).skip(4_000).take(8_192).collect();
    let frames = RawFrames::of(&samples, 8_000, &front_end(), false).expect("supported");
    assert_eq!((frames.frames(), BANDS), golden.dim());
    let most = frames.raw.values.iter().zip(&golden).map(|(actual, expected)| (actual - expected).abs());
    let most = most.fold(0.0, f32::max);
    assert!(most < 2e-4, "{most}");
}

#[test]
fn bands_are_those_of_the_plain_sums() {
    let samples: Vec<f32> =
        (0..1_500_u32).map(|n| (n * n % 977) as f32 / 2_000.0 - 0.2 + (n as f32 * 0.3).sin() * 0.3).collect();
    let other = Options {
        frame_samples: 400,
        fft_samples: 500,
        hop_samples: 170,
        mel_bands: 20,
        min_hz: 300.0,
        max_hz: 3_400.0,
        least_power: 1e-3,
        ..Options::default()
    };
    for options in [Options::default(), other] {
        options.validate().expect("supported");
        let expected = naive(&samples, &options);
        let raw = RawFrames::of(&samples, 8_000, &FrontEnd::Logmel8k(options), false).expect("supported");
        assert_eq!(raw.frames(), expected.len());
        for (actual, expected) in raw.raw.values.iter().zip(expected.concat()) {
            assert!((f64::from(*actual) - expected).abs() < 1e-4, "{actual} and {expected}");
        }
    }
}

#[test]
fn a_band_too_narrow_for_a_bin_has_the_nearest() {
    let options = Options { frame_samples: 64, fft_samples: 64, hop_samples: 64, ..Options::default() };
    let bank = bank(&options);
    let mut bands = [0.0; BANDS];
    let mut power = bank.spectrum();
    power[..33].fill(1.0);
    bank.apply(&power, &mut bands);
    assert!(bands.iter().all(|&band| band > 0.0), "{bands:?}");
    // The lowest band's middle is at 72 Hz, the bins 125 Hz apart.
    power[..33].iter_mut().enumerate().for_each(|(bin, power)| *power = f32::from(u8::from(bin == 1)));
    bank.apply(&power, &mut bands);
    assert_eq!(bands[0], 1.0);
}

#[test]
fn windows_grow_by_steps_from_a_second_to_their_full_length() {
    let mut call = telephone_call();
    call.truncate(8_100 + 24_000);
    let heard = strides(pipeline(8_000, false), &[&call]);
    let lengths: Vec<usize> =
        heard.iter().filter_map(|stride| Some(stride.outcome.as_ref().ok()?.len() / BANDS)).collect();
    // Complete frames: 28 after half a second, then 59, 90, 122.
    assert_eq!(heard[0].outcome, Err(NotScored::TooShort));
    assert_eq!(lengths[..4], [56, 88, 122, 122]);
    assert!(lengths.iter().all(|&frames| frames == 122 || frames % 8 == 0), "{lengths:?}");
    let gated = strides(pipeline(8_000, true), &[&call]);
    let first = gated.iter().find(|stride| stride.outcome.is_ok()).expect("a window");
    assert!(first.depends_on_samples <= 8_100 + 4_000 + 12_000, "{}", first.depends_on_samples);
    // A frame that begins in a block of the gate which the clip begins in.
    assert!(first.start_samples >= 8_100 - 512 - 512, "{}", first.start_samples);
}

#[test]
fn the_trainer_scores_and_a_call_are_given_the_same_windows_to_the_bit() {
    let call = telephone_call();
    for gate in [false, true] {
        let raw = RawFrames::of(&call, 8_000, &front_end(), gate).expect("supported");
        let (front_end, window, standardization) = (front_end(), window(), standardization());
        let mut leg = offline::Leg::new(&front_end, &window, &standardization).expect("supported");
        let scored = leg.serve(&raw, &window, 0.5).expect("supported");
        let strides = strides(pipeline(8_000, gate), &[&call]);
        assert_eq!(scored.len(), strides.len());
        // The trainer: what was said before, then the clip up to the window's end, then the window.
        let mut memory = Memory::new(&front_end, window.frames);
        let mut frames = raw.range(0..raw.frames()).zip(&raw.speech);
        let mut windows = 0;
        for (scored, stride) in scored.iter().zip(&strides) {
            assert_eq!((scored.at_samples, &scored.outcome), (stride.depends_on_samples, &stride.outcome));
            let Ok(values) = &stride.outcome else { continue };
            windows += 1;
            if gate {
                // What the gate says of a frame may change while the call goes on, and a recording's frames know the last word only.
                continue;
            }
            let end = (stride.end_samples - 512) / 128 + 1;
            while memory.heard() < end {
                let (raw, &speech) = frames.next().expect("the call has it");
                memory.push(raw, speech);
            }
            let mut trained = vec![0.0; values.len()];
            memory.assemble(end - (values.len() / BANDS) as u64..end, &mut trained);
            standardization.apply(&mut trained);
            assert!(&trained == values, "at {}", stride.depends_on_samples);
        }
        assert!(windows >= 6, "{windows}");
    }
}

#[test]
fn what_was_heard_before_counts_and_a_hold_keeps_it() {
    let call = telephone_call();
    let (before, after) = (&call[8_100..26_100], &call[call.len() - 17_000..]);
    let mut held = pipeline(8_000, false);
    held.push(before);
    held.clear();
    held.push(after);
    let heard: Vec<Stride> = std::iter::from_fn(|| held.poll()).collect();
    let stride = heard.iter().filter(|stride| stride.outcome.is_ok()).find(|stride| stride.start_samples >= 18_000);
    let stride = stride.expect("a window after the hold");
    let values = stride.outcome.as_ref().expect("a window");
    // The same by hand: all frames so far, and the mean over all but what neither left the window nor stands in it.
    let raw = RawFrames::of(&[before, after].concat(), 8_000, &front_end(), false).expect("supported");
    let end = usize::try_from((stride.end_samples - 512) / 128 + 1).expect("small");
    let frames = values.len() / BANDS;
    let loudest = raw.raw.values[..end * BANDS].iter().fold(f32::MIN, |loudest, band| loudest.max(*band));
    let floor = loudest - 50.0 / 10.0 * std::f32::consts::LN_10;
    for band in 0..BANDS {
        let value = |frame: usize| f64::from(raw.raw.values[frame * BANDS + band].max(floor));
        let mean = (0..end).map(value).sum::<f64>() / end as f64;
        for frame in 0..frames {
            let expected = (value(end - frames + frame) - mean) / (1.0 + band as f64 / 50.0);
            let actual = f64::from(values[frame * BANDS + band]);
            // The loudest band is forgotten by half a dB a second: 2 s at most here.
            assert!((actual - expected).abs() < 0.3, "frame {frame}, band {band}: {actual} and {expected}");
        }
    }
    let cold = strides(pipeline(8_000, false), &[after]);
    let cold = cold.iter().find_map(|stride| stride.outcome.as_ref().ok()).expect("a window");
    assert!(cold.iter().zip(values).any(|(cold, warm)| (cold - warm).abs() > 0.3));
}

#[test]
fn the_first_window_has_its_own_mean_subtracted() {
    let call = telephone_call();
    let heard = strides(pipeline(8_000, false), &[&call[10_000..22_000]]);
    let window = heard[1].outcome.as_ref().expect("a window");
    let frames = window.len() / BANDS;
    assert_eq!(frames, 56);
    for band in 0..BANDS {
        let sum: f32 = (0..frames).map(|frame| window[frame * BANDS + band]).sum();
        // But for the three frames before that a step of 8 left out.
        assert!((sum / frames as f32).abs() < 0.35, "band {band}: {sum}");
    }
}

#[test]
fn what_a_manifest_cannot_ask_for_is_refused_with_what_it_can() {
    type Change = fn(&mut Options);
    let cases: [(Change, &str); 13] = [
        (
            |o| o.sample_rate_hz = 16_000,
            "sample_rate_hz = 16000 is not supported by front end logmel8k: set it to 8000",
        ),
        (|o| o.frame_samples = 63, "frame_samples = 63"),
        (|o| o.fft_samples = 511, "from 512 to 8192"),
        (|o| o.fft_samples = 1_023, "an even number"),
        (|o| o.hop_samples = 513, "from 16 to 512"),
        (|o| o.mel_bands = 0, "from 8 to 256"),
        (|o| o.max_hz = 4_001.0, "max_hz = 4001"),
        (|o| o.min_hz = 3_950.0, "min_hz = 3950"),
        (|o| o.min_hz = f64::NAN, "min_hz = NaN"),
        (|o| o.least_power = 0.0, "least_power = 0"),
        (|o| o.clamp_db = 5.0, "clamp_db = 5"),
        (|o| o.clamp_forget_db_per_second = -1.0, "clamp_forget_db_per_second = -1"),
        (|o| o.baseline_seconds = 3_601.0, "baseline_seconds = 3601"),
    ];
    for (change, part) in cases {
        let mut options = Options::default();
        change(&mut options);
        let message = FrontEnd::Logmel8k(options).validate().expect_err("refused").to_string();
        assert!(message.contains(part), "{message}");
    }
    let message = WindowOptions { grow_frames: Some(0), ..window() }.validate(&front_end()).expect_err("refused");
    assert!(message.to_string().contains("window.grow_frames = 0"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn however_samples_are_cut_frames_windows_and_strides_are_the_same(
        cuts in prop::collection::vec(1_usize..5_000, 1..60), wide in any::<bool>(),
    ) {
        let (source_hz, call) = if wide {
            (16_000, [clip(), vec![0.0; 40_000], clip()].concat())
        } else {
            (8_000, telephone_call())
        };
        let whole = strides(pipeline(source_hz, true), &[&call]);
        prop_assert!(whole.iter().any(|stride| stride.outcome.is_ok()));
        let mut chunks = Vec::new();
        let mut rest = call.as_slice();
        for cut in cuts {
            let (chunk, tail) = rest.split_at(cut.min(rest.len()));
            chunks.push(chunk);
            rest = tail;
        }
        chunks.push(rest);
        prop_assert!(strides(pipeline(source_hz, true), &chunks) == whole);
    }
}
