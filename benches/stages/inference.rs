//! Windows → logits in ONNX Runtime on one thread, by batch. A time is that of one batch; the throughput is windows.

use criterion::{BenchmarkId, Criterion, Throughput};
use undertone::model::Classifier as _;

use crate::material::models;

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("inference");
    for model in models() {
        let manifest = &model.manifest;
        let values = manifest.window.frames * manifest.front_end.values();
        let mut session = model.session().unwrap();
        for batch in [1, 4, 8, 16, 32, 64] {
            let windows: Vec<f32> = (0..batch * values).map(|n| (n % 17) as f32 / 8.0 - 1.0).collect();
            group.throughput(Throughput::Elements(batch as u64));
            group.bench_function(BenchmarkId::new(&manifest.name, batch), |b| {
                b.iter(|| {
                    let logits = session.run(&windows, batch).unwrap();
                    assert_eq!(logits.len(), batch * manifest.labels.len());
                });
            });
        }
    }
    group.finish();
}
