//! The gate. A second is no whole number of its blocks, so 8 s are timed, which are 125: a call-second is an eighth of what is printed.

use criterion::{Criterion, Throughput};
use undertone::audio::gate::Gate;

use super::material::voice;

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("gate");
    for rate_hz in [8_000_u32, 16_000] {
        let speech = voice(rate_hz, 8 * rate_hz as usize);
        group.throughput(Throughput::Elements(u64::from(8 * rate_hz)));
        group.bench_function(format!("8-seconds/{rate_hz}"), |b| {
            let mut gate = Gate::new(rate_hz);
            b.iter(|| {
                let before = gate.track().heard();
                speech.chunks(rate_hz as usize / 50).for_each(|chunk| gate.push(chunk));
                assert_eq!(gate.track().heard() - before, 125);
            });
        });
    }
}
