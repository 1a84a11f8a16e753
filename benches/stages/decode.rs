//! Bytes off the wire → samples, by encoding and by chunk.

use criterion::{BenchmarkId, Criterion, Throughput};
use undertone::audio::{
    Encoding,
    codec::{Decoder, encode},
};

use crate::material::{RATE_HZ, SECOND, voice};

pub(crate) fn bench(c: &mut Criterion) {
    let second = voice(RATE_HZ, SECOND);
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(SECOND as u64));
    for (name, encoding) in [("mulaw", Encoding::Mulaw), ("alaw", Encoding::Alaw), ("linear16", Encoding::Linear16)] {
        let mut coded = Vec::new();
        encode(encoding, &second, &mut coded);
        for chunk_ms in [20, 100] {
            let bytes = SECOND * encoding.bytes_per_sample() * chunk_ms / 1000;
            group.bench_function(BenchmarkId::new(name, format!("{chunk_ms}ms")), |b| {
                let mut decoder = Decoder::new(encoding, 1);
                let mut planes = vec![Vec::with_capacity(SECOND)];
                b.iter(|| {
                    planes[0].clear();
                    coded.chunks(bytes).for_each(|chunk| decoder.push(chunk, &mut planes));
                    assert_eq!(planes[0].len(), SECOND);
                });
            });
        }
    }
    group.finish();
}
