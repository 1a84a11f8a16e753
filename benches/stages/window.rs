//! Frames → a window: what is done once a stride, so twice a second by default. A time is that of one window.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};
use undertone::features::{Pipeline, PipelineOptions};

use crate::material::{RATE_HZ, SECOND, manifests, voice};

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("window");
    let hop = voice(RATE_HZ, SECOND / 50);
    for manifest in &manifests() {
        let options = PipelineOptions { source_hz: RATE_HZ, stride_seconds: 5.0, gate: false };
        let mut pipeline =
            Pipeline::new(&manifest.front_end, &manifest.window, &manifest.standardization, &options).unwrap();
        pipeline.push(&voice(RATE_HZ, 8 * SECOND));
        group.bench_function(BenchmarkId::new("assemble", &manifest.name), |b| {
            b.iter_custom(|windows| {
                let (mut spent, mut made) = (Duration::ZERO, 0);
                for _ in 0..windows {
                    // Something new, or nothing is decided.
                    pipeline.push(&hop);
                    while pipeline.poll().is_some() {}
                    let began = Instant::now();
                    pipeline.flush();
                    spent += began.elapsed();
                    // Where a stride has just been told there is nothing left to decide.
                    let stride = pipeline.poll();
                    assert!(stride.as_ref().is_none_or(|stride| stride.outcome.is_ok()));
                    made += u64::from(stride.is_some());
                }
                assert!(made + windows / 100 + 1 >= windows, "{made} windows of {windows}");
                spent
            });
        });
    }
    group.finish();
}
