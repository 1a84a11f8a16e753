//! Positions in a leg: samples at its rate, or the time they take.

use std::time::Duration;

const NANOS: u128 = 1_000_000_000;

/// The time that so many samples take, to the nearest nanosecond.
pub fn of_samples(samples: u64, rate_hz: u32) -> Duration {
    let rate = u128::from(rate_hz.max(1));
    let nanos = (u128::from(samples) * NANOS + rate / 2) / rate;
    let below_a_second = u32::try_from(nanos % NANOS).expect("a remainder of a billion is small");
    Duration::new(u64::try_from(nanos / NANOS).unwrap_or(u64::MAX), below_a_second)
}

/// So many samples take this time; the inverse of [`of_samples`].
pub fn to_samples(position: Duration, rate_hz: u32) -> u64 {
    u64::try_from((position.as_nanos() * u128::from(rate_hz) + NANOS / 2) / NANOS).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Score files write positions as seconds; what reads them must get the same nanosecond.
        #[test]
        fn samples_survive_time_and_seconds(samples in 0_u64..10_000_000_000, rate in 8_000_u32..=48_000) {
            let position = of_samples(samples, rate);
            prop_assert_eq!(to_samples(position, rate), samples);
            if samples / u64::from(rate) < 86_400 {
                let text = serde_json::to_string(&(samples as f64 / f64::from(rate))).unwrap();
                let seconds: f64 = serde_json::from_str(&text).unwrap();
                let nanos = Duration::from_secs_f64(seconds).as_nanos().abs_diff(position.as_nanos());
                prop_assert!(nanos <= 1, "{} ns apart", nanos);
            }
        }
    }

    #[test]
    fn telephone_samples_are_whole_microseconds() {
        assert_eq!(of_samples(4_001, 8_000), Duration::from_micros(500_125));
        assert_eq!(of_samples(u64::MAX, 8_000).as_secs(), u64::MAX / 8_000);
    }
}
