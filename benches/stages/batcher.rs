//! The queue before the network, by legs: all of a second's windows pushed in turn and taken out in batches. A time is that of a second
//! of all legs; the throughput is windows.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use undertone::inference::queue::{Next, Options, Queue, Waiting};

struct Window(u64);

impl Waiting for Window {
    fn leg(&self) -> u64 {
        self.0
    }

    fn id(&self) -> u64 {
        0
    }

    fn length(&self) -> usize {
        46_200
    }
}

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("batcher");
    let options = |capacity| Options { capacity, max_batch: 8, max_wait: Duration::from_millis(5) };
    for legs in [100_u64, 1_000, 4_000] {
        group.throughput(Throughput::Elements(2 * legs));
        group.bench_function(BenchmarkId::new("in-time", legs), |b| {
            let (mut queue, now) = (Queue::new(options(512)), Instant::now());
            b.iter(|| {
                let mut scored = 0;
                for window in 0..2 * legs {
                    assert!(queue.push(Window(window % legs), now).is_none());
                    if let Next::Batch(batch) = queue.next(now) {
                        scored += batch.len();
                    }
                }
                assert!(scored + 8 > 2 * legs as usize);
            });
        });
        // As many windows wait as there are legs.
        let waiting = usize::try_from(legs).expect("thousands");
        group.bench_function(BenchmarkId::new("overloaded", legs), |b| {
            let (mut queue, now) = (Queue::new(options(waiting)), Instant::now());
            (0..legs).for_each(|leg| assert!(queue.push(Window(leg), now).is_none()));
            b.iter(|| {
                let mut shed = 0;
                for window in 0..2 * legs {
                    shed += usize::from(queue.push(Window(window % legs), now).is_some());
                    // Half of what comes is scored.
                    if window % 16 == 0 {
                        assert!(!matches!(queue.next(now), Next::Empty));
                    }
                }
                assert!(0 < shed && shed < 2 * legs as usize);
            });
        });
    }
    group.finish();
}
