//! Where a chunk belongs: what is repeated, late or missing.
//!
//! | the chunk | what becomes of it |
//! |---|---|
//! | has no position | follows the last one |
//! | is the first, at position p | the call begins at p |
//! | its sequence is not above the last | dropped: it is late where it was missing, else it is repeated |
//! | begins where the last ended | follows |
//! | begins up to [`FILL_MILLISECONDS`] later | silence is put in between, and counted by the leg |
//! | begins later still | the window is cleared, positions jump |
//! | begins earlier | what was there already is dropped |

use std::collections::VecDeque;

use super::Chunk;

/// A gap up to this long is filled with silence: 200 ms bridge ten lost 20 ms packets, about what a jitter buffer conceals.
const FILL_MILLISECONDS: u64 = 200;

/// Missing sequences that are remembered, so that a late chunk is told from a repeated one: 1.28 s of 20 ms chunks, far more than a network reorders.
const REMEMBERED: u64 = 64;

/// The order of one call's chunks. Positions are samples a channel.
#[derive(Debug)]
pub(super) struct Timeline {
    fill_samples: u64,
    next_position: Option<u64>,
    last_sequence: Option<u64>,
    missing_chunks: u64,
    late_chunks: u64,
    repeated_chunks: u64,
    /// The last sequences that are missing, in order.
    missing: VecDeque<u64>,
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
            late_chunks: 0,
            repeated_chunks: 0,
            missing: VecDeque::new(),
        }
    }

    /// Places a chunk of `samples` samples a channel and moves on behind it.
    pub(super) fn place(&mut self, chunk: &Chunk<'_>, samples: u64) -> Placement {
        if let Some(sequence) = chunk.sequence {
            match self.last_sequence {
                Some(last) if sequence <= last => {
                    self.note_dropped(sequence);
                    return Placement::Drop;
                }
                Some(last) => self.note_missing(last, sequence),
                None => {}
            }
            self.last_sequence = Some(sequence);
        }
        let at_start = self.next_position.is_none();
        let expected = self.next_position.unwrap_or(0);
        let position = chunk.media_offset_samples.unwrap_or(expected);
        let end = position.saturating_add(samples);
        let (skip, before) = match position.checked_sub(expected) {
            None if end <= expected => {
                self.repeated_chunks += u64::from(samples > 0);
                return Placement::Drop;
            }
            None => (expected - position, Before::Nothing),
            Some(0) => (0, Before::Nothing),
            Some(jump) if at_start => (0, Before::Start(jump)),
            Some(missing) if missing <= self.fill_samples => (0, Before::Silence(missing)),
            Some(missing) => (0, Before::Gap(missing)),
        };
        self.next_position = Some(end);
        Placement::Take { skip, before }
    }

    /// Whether chunks are missing before this one, by its sequence.
    pub(super) fn jumps_to(&self, chunk: &Chunk<'_>) -> bool {
        self.last_sequence.zip(chunk.sequence).is_some_and(|(last, sequence)| sequence > last.saturating_add(1))
    }

    /// Counts what lies between two sequences.
    fn note_missing(&mut self, last: u64, sequence: u64) {
        self.missing_chunks = self.missing_chunks.saturating_add(sequence - last - 1);
        self.missing.extend((last + 1).max(sequence.saturating_sub(REMEMBERED))..sequence);
        let forgotten = self.missing.len().saturating_sub(REMEMBERED as usize);
        self.missing.drain(..forgotten);
    }

    /// Counts a chunk that is not above the last.
    fn note_dropped(&mut self, sequence: u64) {
        match self.missing.binary_search(&sequence) {
            Ok(index) => {
                self.missing.remove(index);
                self.missing_chunks -= 1;
                self.late_chunks += 1;
            }
            Err(_) => self.repeated_chunks += 1,
        }
    }

    /// First sample that has not come.
    pub(super) fn position_samples(&self) -> u64 {
        self.next_position.unwrap_or(0)
    }

    /// The least sequence that is not dropped; `None` where chunks had none.
    pub(super) fn next_sequence(&self) -> Option<u64> {
        self.last_sequence.map(|last| last.saturating_add(1))
    }

    /// What its client should know of the order in which chunks came.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        let told = [
            (self.missing_chunks, "never came, by their sequence"),
            (self.late_chunks, "came late, by their sequence, and were dropped"),
            (self.repeated_chunks, "were repeated and were dropped"),
        ];
        told.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} chunk(s) {what}"))
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
        assert_eq!((timeline.missing_chunks, timeline.late_chunks, timeline.repeated_chunks), (2, 0, 2));
    }

    #[test]
    fn a_late_chunk_is_not_told_as_one_that_never_came() {
        let mut timeline = Timeline::new(8000);
        for sequence in [1, 3, 2, 2, 300, 250, 7] {
            timeline.place(&chunk(Some(sequence), None), 160);
        }
        // 2 and 250 were late; the second 2 was repeated; 7 is too long ago to tell, and counts as that.
        assert_eq!((timeline.missing_chunks, timeline.late_chunks, timeline.repeated_chunks), (295, 2, 2));
        assert_eq!(timeline.missing.len(), 63);
        let told: Vec<String> = timeline.warnings().collect();
        assert!(told.len() == 3 && told[1].starts_with("2 chunk(s) came late"), "{told:?}");
        assert_eq!(Timeline::new(8000).warnings().count(), 0);
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
        assert_eq!(timeline.missing_chunks, u64::MAX - 1);
    }
}
