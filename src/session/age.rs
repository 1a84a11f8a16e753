//! How long a stream may last, so that long calls do not stay on one server for ever. Without clock or I/O.

use std::time::Duration;

use uuid::Uuid;

/// Streams that began together end over so large a part of the longest age, so that they do not all come again together.
const SPREAD: f64 = 0.2;

/// How long the streams of this session may last: between 80 % of the longest age and all of it, by the random bits of its id.
pub(super) fn of(longest: Duration, session_id: Uuid) -> Duration {
    longest.mul_f64(1.0 - SPREAD * part(session_id))
}

/// 0 to 1, uniformly over ids that are random.
fn part(id: Uuid) -> f64 {
    let (random, ..) = id.as_fields();
    f64::from(random) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn no_stream_outlives_the_longest_age_or_ends_long_before() {
        let id = |random| Uuid::from_fields(random, 0, 0x4000, &[0x80; 8]);
        assert_eq!(of(HOUR, id(0)), HOUR);
        assert_eq!(of(HOUR, id(u32::MAX)), HOUR.mul_f64(0.8));
    }

    #[test]
    fn thousands_that_began_together_do_not_end_together() {
        // A fixed sequence of ids, as evenly random as real ones.
        let ids = (0_u32..6000).map(|n| Uuid::from_fields(n.wrapping_mul(2_654_435_761), 0, 0x4000, &[0x80; 8]));
        let mut ends = [0; 12];
        for id in ids {
            let minute = (HOUR - of(HOUR, id)).as_secs() / 60;
            ends[usize::try_from(minute.min(11)).unwrap()] += 1;
        }
        assert!(ends.iter().all(|count| (400..600).contains(count)), "streams ended in each of 12 minutes: {ends:?}");
    }
}
