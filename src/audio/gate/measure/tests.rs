//! What blocks measure.

use super::*;

#[test]
fn a_steady_tone_is_a_peak_that_stays_and_noise_is_neither() {
    let tone: Vec<f32> = (0..16_000).map(|n| 0.3 * (0.8 * n as f32).sin()).collect();
    let mut state = 1_u32;
    let noise: Vec<f32> = (0..16_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 16_777_216.0 - 0.5
        })
        .collect();
    let last = |samples: &[f32]| of(samples, 8_000).split_off((16_000 / 512 - 1) * VALUES + FRAME_VALUES);
    let share = FRAME_VALUES - 3;
    let steady = BANDS + 3 + PEAK_REGIONS.len();
    let (tone, noise) = (last(&tone), last(&noise));
    assert!(tone[share] > 0.95 && noise[share] < 0.2, "{} and {}", tone[share], noise[share]);
    assert!(tone[steady + 1] > 0.9 && noise[steady + 1].abs() < 0.5, "{} and {}", tone[steady + 1], noise[steady + 1]);
}

#[test]
fn every_rate_gives_the_blocks_and_the_values_of_8_khz() {
    // Harmonics that glide, below what any rate cuts.
    let voice = |rate_hz: u32| -> Vec<f32> {
        let at = |n: u32| f64::from(n) / f64::from(rate_hz);
        let turns = |t: f64| std::f64::consts::TAU * (140.0 * t + 25.0 * t * t);
        (0..2 * rate_hz).map(|n| (1..16).map(|k| (turns(at(n)) * f64::from(k)).sin() as f32 / 60.0).sum()).collect()
    };
    let expected = of(&voice(8_000), 8_000);
    for (rate_hz, block_samples) in
        [(16_000, 1_024), (32_000, 2_048), (48_000, 3_072), (24_000, 1_536), (44_100, 2_824)]
    {
        assert_eq!(Measure::new(rate_hz).block_samples(), block_samples);
        let actual = of(&voice(rate_hz), rate_hz);
        assert!(actual.len().abs_diff(expected.len()) <= VALUES, "{rate_hz} Hz");
        // Level, colour and peaks from the third block on, where the filters have settled; what is heard is up to 5 ms late, and glides.
        let blocks = actual.as_chunks::<VALUES>().0.iter().zip(expected.as_chunks::<VALUES>().0).skip(2);
        let (mut apart, mut count) = (0.0, 0);
        for (actual, expected) in blocks {
            for value in 0..BANDS + 7 {
                let difference = (actual[value] - expected[value]).abs();
                assert!(difference < 1.0, "{rate_hz} Hz, {value}: {} and {}", actual[value], expected[value]);
                apart += difference;
                count += 1;
            }
        }
        assert!(count > 500 && apart / (count as f32) < 0.2, "{rate_hz} Hz: {}", apart / count as f32);
    }
}

#[test]
fn what_is_above_4_khz_changes_nothing_of_a_wide_line() {
    let tone = |hz: f32, n: u32| 0.1 * (std::f32::consts::TAU * hz * n as f32 / 16_000.0).sin();
    let low: Vec<f32> = (0..16_000).map(|n| tone(700.0, n)).collect();
    let both: Vec<f32> = (0..16_000).map(|n| tone(700.0, n) + tone(6_000.0, n)).collect();
    let mut powers = [Vec::new(), Vec::new()];
    for (samples, powers) in [low, both].iter().zip(&mut powers) {
        Measure::new(16_000).push(samples, |block| powers.push(block.power));
    }
    assert_eq!(powers[0].len(), 15);
    for (low, both) in powers[0].iter().zip(&powers[1]).skip(1) {
        assert!((low - 0.005).abs() < 1e-4 && (low - both).abs() < 1e-5, "{low} and {both}");
    }
}
