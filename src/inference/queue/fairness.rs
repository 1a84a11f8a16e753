//! Overload, played through with a clock of its own: who loses, and how many.

use proptest::prelude::*;

use super::*;

struct Window {
    leg: u64,
}

impl Waiting for Window {
    fn leg(&self) -> u64 {
        self.leg
    }

    fn id(&self) -> u64 {
        0
    }

    fn length(&self) -> usize {
        1
    }
}

/// What became of each leg's windows.
#[derive(Default, Clone)]
struct Count {
    scored: u64,
    shed: u64,
}

/// Legs that bring a window every so many milliseconds, one after the other, before a thread that takes `batch_ms` for every batch.
fn overload(strides_ms: &[u64], batch_ms: u64, capacity: usize, seconds: u64) -> Vec<Count> {
    let options = Options { capacity, max_batch: 8, max_wait: Duration::from_millis(5) };
    let (mut queue, start) = (Queue::new(options), Instant::now());
    let mut counts = vec![Count::default(); strides_ms.len()];
    let mut free_at = 0;
    for ms in 0..seconds * 1000 {
        let now = start + Duration::from_millis(ms);
        for (leg, stride) in (0..).zip(strides_ms) {
            // Spread over the stride, as calls are.
            if ms % stride == leg * 7 % stride
                && let Some(shed) = queue.push(Window { leg }, now)
            {
                counts[shed.leg as usize].shed += 1;
            }
        }
        if ms >= free_at
            && let Next::Batch(batch) = queue.next(now)
        {
            free_at = ms + batch_ms;
            batch.into_iter().for_each(|due| counts[due.request.leg as usize].scored += 1);
        }
    }
    counts
}

fn sheds(counts: &[Count]) -> (u64, f64) {
    let sum: u64 = counts.iter().map(|count| count.shed).sum();
    (counts.iter().map(|count| count.shed).max().unwrap_or(0), sum as f64 / counts.len() as f64)
}

#[test]
fn legs_that_come_in_a_fixed_order_lose_alike() {
    // 400 legs bring 800 windows a second; a batch of 8 in 20 ms is 400, so every second window is lost, and in step with the batches.
    let counts = overload(&[500; 400], 20, 64, 30);
    let (most, mean) = sheds(&counts);
    assert!(mean > 25.0, "{mean} of 60 windows were shed of each leg");
    assert!(most as f64 <= mean + 2.0, "one leg lost {most}, the mean is {mean}");
    assert!(counts.iter().all(|count| count.scored > 25), "a leg starved");
}

#[test]
fn a_leg_that_brings_twice_as_much_loses_the_more_and_nobody_starves() {
    let strides: Vec<u64> = (0..300).map(|leg| if leg % 10 == 0 { 250 } else { 500 }).collect();
    let counts = overload(&strides, 20, 64, 60);
    let (most, mean) = sheds(&counts);
    assert!(most as f64 <= 2.0 * mean, "one leg lost {most}, the mean is {mean}");
    let least_scored = counts.iter().map(|count| count.scored).min();
    assert!(least_scored > Some(40), "{least_scored:?} windows of 120 or 240 were scored of one leg");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn no_leg_loses_more_than_twice_the_mean(legs in 50..400_usize, batch_ms in 10..60_u64, capacity in 16..256_usize) {
        let counts = overload(&vec![500; legs], batch_ms, capacity, 20);
        let (most, mean) = sheds(&counts);
        // Where hardly any are lost, single windows are more than a mean of less than one.
        prop_assert!(most as f64 <= 2.0 * mean + 4.0, "one leg lost {most}, the mean is {mean}");
    }
}
