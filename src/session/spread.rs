//! Where in the stride a call's decisions fall, so that calls that began together do not all decide together. Without clock or I/O.
//!
//! A stride is cut into slots of about [`SLOT`]. A call that begins in a slot with room for it decides at whole strides; where
//! [`ROOM`] calls decide in that slot already, which is a batch, it is put off to the emptiest slot there is: by less than a stride,
//! once, at its begin. Calls of one stride know of each other only: as each stride's are spread evenly, so are all.

use std::{collections::HashMap, time::Duration};

/// Short against a stride and the 50 ms in which nobody should notice a burst; long against the 1.2 ms of a batch.
const SLOT: Duration = Duration::from_millis(10);

/// Calls that may decide in a slot whatever the others do: what a CPU runs in one batch.
const ROOM: u32 = 8;

/// The calls that live, by where they decide.
#[derive(Debug, Default)]
pub(super) struct Spread {
    strides: HashMap<Duration, Slots>,
}

/// The slots of one stride, and the calls in each.
#[derive(Debug)]
struct Slots {
    calls: Vec<u32>,
    all: u32,
}

/// A call's place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    stride: Duration,
    slot: usize,
    /// How far into the call its first decision is put off; below the stride.
    pub(super) offset: Duration,
}

impl Spread {
    /// A place for a call with this stride that begins `now`, counted from any fixed moment.
    pub(super) fn take(&mut self, stride: Duration, now: Duration) -> Place {
        let slots = self.strides.entry(stride).or_insert_with(|| Slots::new(stride));
        let count = slots.calls.len();
        let own = slots.of(stride, now);
        let mut slot = own;
        if slots.calls[own] >= ROOM {
            // The next of the emptiest, so that nobody is put off longer than need be.
            let after = |distance: usize| (own + distance) % count;
            let emptiest = (0..count).min_by_key(|&distance| slots.calls[after(distance)]).unwrap_or(0);
            slot = after(emptiest);
        }
        slots.calls[slot] += 1;
        slots.all += 1;
        let distance = (slot + count - own) % count;
        Place { stride, slot, offset: stride.mul_f64(distance as f64 / count as f64) }
    }

    /// Frees a place.
    pub(super) fn leave(&mut self, place: &Place) {
        let Some(slots) = self.strides.get_mut(&place.stride) else { return };
        slots.calls[place.slot] -= 1;
        slots.all -= 1;
        if slots.all == 0 {
            self.strides.remove(&place.stride);
        }
    }
}

impl Slots {
    fn new(stride: Duration) -> Self {
        let count = usize::try_from(stride.as_nanos() / SLOT.as_nanos()).unwrap_or(1).max(1);
        Self { calls: vec![0; count], all: 0 }
    }

    /// The slot in which a call that begins then would decide.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of 1, times the count")]
    fn of(&self, stride: Duration, now: Duration) -> usize {
        let into = now.as_nanos() % stride.as_nanos().max(1);
        let slot = into as f64 / stride.as_nanos().max(1) as f64 * self.calls.len() as f64;
        (slot as usize).min(self.calls.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STRIDE: Duration = Duration::from_millis(500);

    /// Decisions in each 50 ms of a stride, of calls that begin at these times.
    fn decisions(begins: &[Duration]) -> Vec<u32> {
        let mut spread = Spread::default();
        let mut counts = vec![0; 10];
        for &begin in begins {
            let at = begin + spread.take(STRIDE, begin).offset;
            counts[(at.as_micros() % STRIDE.as_micros() / 50_000) as usize] += 1;
        }
        counts
    }

    #[test]
    fn a_few_calls_decide_at_whole_strides() {
        let mut spread = Spread::default();
        for _ in 0..ROOM {
            assert_eq!(spread.take(STRIDE, Duration::from_secs(3)).offset, Duration::ZERO);
        }
        let next = spread.take(STRIDE, Duration::from_secs(3));
        assert_eq!(next.offset, SLOT, "the next slot is empty");
    }

    #[test]
    fn a_thousand_calls_that_began_in_one_second_do_not_decide_together() {
        let spread_over = |second: Duration| -> Vec<Duration> { (0..1000).map(|call| second * call / 1000).collect() };
        for second in [Duration::from_secs(1), Duration::from_millis(20), Duration::ZERO] {
            let counts = decisions(&spread_over(second));
            let most = counts.iter().max().copied().unwrap_or(0);
            assert!(most <= 150, "{counts:?} of a mean of 100, begun within {second:?}");
        }
    }

    #[test]
    fn places_that_were_left_are_taken_again_and_nothing_is_kept() {
        let mut spread = Spread::default();
        let places: Vec<Place> = (0..1000).map(|call| spread.take(STRIDE, Duration::from_micros(call))).collect();
        let other = spread.take(Duration::from_secs(5), Duration::ZERO);
        places.iter().for_each(|place| spread.leave(place));
        assert_eq!(spread.take(STRIDE, Duration::ZERO).offset, Duration::ZERO);
        spread.leave(&other);
        assert_eq!(spread.strides.len(), 1);
    }

    proptest! {
        #[test]
        fn no_call_is_put_off_by_a_stride_and_no_slot_is_crowded_while_another_is_not(
            begins in prop::collection::vec((0..2_000_000_u64, 0..3_usize), 1..600),
        ) {
            let strides = [Duration::from_millis(250), Duration::from_millis(333), Duration::from_secs(5)];
            let mut spread = Spread::default();
            for (micros, stride) in begins {
                let stride = strides[stride];
                let place = spread.take(stride, Duration::from_micros(micros));
                prop_assert!(place.offset < stride);
                let calls = &spread.strides[&stride].calls;
                let least = calls.iter().min().copied().unwrap_or(0);
                prop_assert!(calls[place.slot] <= ROOM.max(least + 1), "{calls:?}");
            }
        }
    }
}
