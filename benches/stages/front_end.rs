//! Samples → frames, gate and resampling included, and hardly a window: each model's front end.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use undertone::{
    features::{Pipeline, PipelineOptions},
    model::Manifest,
};

use crate::material::{RATE_HZ, SECOND, manifests, voice};

/// A leg that has heard enough for whole windows.
pub(crate) fn warm_pipeline(manifest: &Manifest, stride_seconds: f64) -> Pipeline {
    // Without the gate all is speech, whatever it thinks of this voice; here it is measured, so it is on.
    let options = PipelineOptions { source_hz: RATE_HZ, stride_seconds, gate: true };
    let mut pipeline =
        Pipeline::new(&manifest.front_end, &manifest.window, &manifest.standardization, &options).unwrap();
    pipeline.push(&voice(RATE_HZ, 8 * SECOND));
    while pipeline.poll().is_some() {}
    pipeline
}

pub(crate) fn bench(c: &mut Criterion) {
    let second = voice(RATE_HZ, SECOND);
    let mut group = c.benchmark_group("front_end");
    group.throughput(Throughput::Elements(SECOND as u64));
    for manifest in &manifests() {
        for chunk_ms in [20, 100] {
            let id =
                BenchmarkId::new(format!("{}-{}", manifest.front_end.name(), manifest.name), format!("{chunk_ms}ms"));
            group.bench_function(id, |b| {
                b.iter_batched_ref(
                    || warm_pipeline(manifest, 5.0),
                    |pipeline| {
                        second.chunks(SECOND * chunk_ms / 1000).for_each(|chunk| pipeline.push(chunk));
                        assert_eq!(pipeline.position_samples(), 9 * SECOND as u64);
                    },
                    BatchSize::LargeInput,
                );
            });
        }
    }
    group.finish();
}
