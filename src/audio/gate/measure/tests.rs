//! What blocks measure.

use super::*;

#[test]
fn the_quick_logarithm_rises_and_is_what_it_says() {
    let mut before = f32::NEG_INFINITY;
    for n in 0..4_000 {
        let value = 1e-10 * 1.006_f32.powi(n);
        let octave = value.log2().floor();
        let expected = octave + (value / octave.exp2()).ln();
        assert!((log(value) - expected).abs() < 1e-3, "{value}: {} and {expected}", log(value));
        assert!(log(value) > before, "{value}");
        before = log(value);
    }
}

#[test]
fn the_strongest_bins_are_found_and_are_not_neighbours() {
    let mut power = [0.0; BINS];
    (power[7], power[8], power[9], power[100], power[223]) = (2.0, 3.0, 2.5, 1.0, 1.5);
    assert_eq!(strongest(&power, None), 8);
    assert_eq!(strongest(&power, Some(8)), 223);
    assert_eq!(strongest(&power, Some(223)), 8);
    assert_eq!(strongest(&[0.0; BINS], Some(0)), 3);
    assert_eq!(around(&power, 8), 7.5);
    assert_eq!(around(&power, 223), 1.5);
}

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
