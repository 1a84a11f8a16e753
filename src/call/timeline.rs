//! Where a chunk belongs: what is repeated, late or missing.
//!
//! | the chunk | what becomes of it |
//! |---|---|
//! | has no position | follows the last one |
//! | is the first, at position p | the call begins at p |
//! | its sequence is not above the last | dropped |
//! | begins where the last ended | follows |
//! | begins up to [`FILL_MILLISECONDS`] later | silence is put in between |
//! | begins later still | the window is cleared, positions jump |
//! | begins earlier | what was there already is dropped |

use super::Chunk;

/// A gap up to this long is filled with silence: 200 ms bridge ten lost 20 ms packets, about what a jitter buffer conceals.
const FILL_MILLISECONDS: u64 = 200;

/// The order of one call's chunks. Positions are samples a channel.
#[derive(Debug)]
pub(super) struct Timeline {
    fill_samples: u64,
    next_position: Option<u64>,
    last_sequence: Option<u64>,
    missing_chunks: u64,
}

/// What is to be done with a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placement {
    /// Take it from its sample `skip` on.
    Take {
        /// Samples at its front that were there already.
        skip: u64,
        /// What lies between the last chunk and this one.
        before: Before,
    },
    /// Take nothing of it.
    Drop,
}

/// What lies before a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// Nothing is missing.
    Nothing,
    /// The call begins at this position.
    Start(u64),
    /// So many samples are missing, few enough to be silence.
    Silence(u64),
    /// So many samples are missing.
    Gap(u64),
}

impl Timeline {
    pub(super) fn new(sample_rate_hz: u32) -> Self {
        Self {
            fill_samples: u64::from(sample_rate_hz) * FILL_MILLISECONDS / 1000,
            next_position: None,
            last_sequence: None,
            missing_chunks: 0,
        }
    }

    /// Places a chunk of `samples` samples a channel and moves on behind it.
    pub(super) fn place(&mut self, chunk: &Chunk<'_>, samples: u64) -> Placement {
        if let Some(sequence) = chunk.sequence {
            match self.last_sequence {
                Some(last) if sequence <= last => return Placement::Drop,
                Some(last) => self.missing_chunks = self.missing_chunks.saturating_add(sequence - last - 1),
                None => {}
            }
            self.last_sequence = Some(sequence);
        }
        let at_start = self.next_position.is_none();
        let expected = self.next_position.unwrap_or(0);
        let position = chunk.media_offset_samples.unwrap_or(expected);
        let end = position.saturating_add(samples);
        let (skip, before) = match position.checked_sub(expected) {
            None if end <= expected => return Placement::Drop,
            None => (expected - position, Before::Nothing),
            Some(0) => (0, Before::Nothing),
            Some(jump) if at_start => (0, Before::Start(jump)),
            Some(missing) if missing <= self.fill_samples => (0, Before::Silence(missing)),
            Some(missing) => (0, Before::Gap(missing)),
        };
        self.next_position = Some(end);
        Placement::Take { skip, before }
    }

    /// First sample that has not come.
    pub(super) fn position_samples(&self) -> u64 {
        self.next_position.unwrap_or(0)
    }

    /// The least sequence that is not dropped; `None` where chunks had none.
    pub(super) fn next_sequence(&self) -> Option<u64> {
        self.last_sequence.map(|last| last.saturating_add(1))
    }

    /// Chunks whose sequence never came.
    pub(super) fn missing_chunks(&self) -> u64 {
        self.missing_chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(sequence: Option<u64>, media_offset_samples: Option<u64>) -> Chunk<'static> {
        Chunk { data: &[], sequence, media_offset_samples }
    }

    fn take(before: Before) -> Placement {
        Placement::Take { skip: 0, before }
    }

    #[test]
    fn chunks_without_positions_follow_each_other() {
        let mut timeline = Timeline::new(8000);
        for _ in 0..3 {
            assert_eq!(timeline.place(&chunk(None, None), 160), take(Before::Nothing));
        }
        assert_eq!(timeline.place(&chunk(None, Some(480)), 160), take(Before::Nothing));
    }

    #[test]
    fn a_repeated_or_late_sequence_is_dropped_and_a_missing_one_counted() {
        let mut timeline = Timeline::new(8000);
        assert_eq!(timeline.place(&chunk(Some(7), None), 160), take(Before::Nothing));
        assert_eq!(timeline.place(&chunk(Some(7), None), 160), Placement::Drop);
        assert_eq!(timeline.place(&chunk(Some(5), None), 160), Placement::Drop);
        assert_eq!(timeline.place(&chunk(Some(10), None), 160), take(Before::Nothing));
        assert_eq!(timeline.missing_chunks(), 2);
    }

    #[test]
    fn a_short_gap_is_silence_and_a_long_one_a_gap() {
        let mut timeline = Timeline::new(8000);
        timeline.place(&chunk(None, Some(0)), 160);
        assert_eq!(timeline.place(&chunk(None, Some(160 + 1600)), 160), take(Before::Silence(1600)));
        assert_eq!(timeline.place(&chunk(None, Some(1920 + 1601)), 160), take(Before::Gap(1601)));
    }

    #[test]
    fn a_call_may_begin_at_any_position() {
        let mut timeline = Timeline::new(8000);
        assert_eq!(timeline.place(&chunk(None, Some(80_000)), 160), take(Before::Start(80_000)));
        assert_eq!(timeline.place(&chunk(None, Some(80_160)), 160), take(Before::Nothing));
    }

    #[test]
    fn what_was_there_already_is_dropped() {
        let mut timeline = Timeline::new(8000);
        timeline.place(&chunk(None, None), 160);
        assert_eq!(timeline.place(&chunk(None, Some(0)), 160), Placement::Drop);
        assert_eq!(timeline.place(&chunk(None, Some(100)), 160), Placement::Take { skip: 60, before: Before::Nothing });
        assert_eq!(timeline.place(&chunk(None, None), 160), take(Before::Nothing));
    }

    #[test]
    fn positions_at_the_end_of_the_number_range_do_not_overflow() {
        let mut timeline = Timeline::new(8000);
        timeline.place(&chunk(Some(0), Some(0)), 160);
        assert_eq!(timeline.place(&chunk(Some(u64::MAX), Some(u64::MAX)), 160), take(Before::Gap(u64::MAX - 160)));
        assert_eq!(timeline.missing_chunks(), u64::MAX - 1);
    }
}
