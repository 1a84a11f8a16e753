//! Samples → the model's rate, by rates.

use criterion::{BenchmarkId, Criterion, Throughput};
use undertone::audio::resample::Resampler;

use crate::material::voice;

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("resample");
    for (from_hz, to_hz) in [(8_000, 22_050), (16_000, 22_050), (48_000, 22_050), (16_000, 8_000), (48_000, 8_000)] {
        let second = voice(from_hz, from_hz as usize);
        group.throughput(Throughput::Elements(from_hz.into()));
        group.bench_function(BenchmarkId::new(from_hz.to_string(), to_hz), |b| {
            let mut resampler = Resampler::new(from_hz, to_hz).unwrap();
            let mut out = Vec::with_capacity(2 * to_hz as usize);
            b.iter(|| {
                out.clear();
                resampler.push(&second, &mut out);
                assert!(out.len() > to_hz as usize * 9 / 10);
            });
        });
    }
    group.finish();
}
