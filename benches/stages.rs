//! What a second of call costs, stage by stage: `make bench`. Times are of one second of 8 kHz µ-law on one thread, so a stage's
//! calls a core are 1 s divided by its time. Ids are `stage/variant`.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use undertone::{
    audio::{
        Encoding,
        codec::{Decoder, encode},
        resample::Resampler,
    },
    features::{FrontEnd, Pipeline, PipelineOptions, Standardization, WindowOptions, thesis154},
};

const RATE_HZ: u32 = 8000;
const SECOND: usize = RATE_HZ as usize;

/// A voiced sound that swells and fades, so that the gate hears speech.
fn voice(samples: usize) -> Vec<f32> {
    let tau = std::f32::consts::TAU;
    (0..samples)
        .map(|n| {
            let t = n as f32 / RATE_HZ as f32;
            let buzz: f32 = (1..8).map(|k| (tau * 140.0 * k as f32 * t).sin() / k as f32).sum();
            0.2 * buzz * (0.6 + 0.4 * (tau * 4.0 * t).sin())
        })
        .collect()
}

fn stages(c: &mut Criterion) {
    let second = voice(SECOND);
    let mut group = c.benchmark_group("stage");
    group.throughput(Throughput::Elements(SECOND as u64));

    let mut coded = Vec::new();
    encode(Encoding::Mulaw, &second, &mut coded);
    group.bench_function("decode/mulaw-20ms", |b| {
        let mut decoder = Decoder::new(Encoding::Mulaw, 1);
        let mut planes = vec![Vec::with_capacity(SECOND)];
        b.iter(|| {
            planes[0].clear();
            coded.chunks(160).for_each(|chunk| decoder.push(chunk, &mut planes));
            assert_eq!(planes[0].len(), SECOND);
        });
    });

    group.bench_function("resample/8000-22050", |b| {
        let mut resampler = Resampler::new(RATE_HZ, 22_050).expect("both rates are supported");
        let mut out = Vec::with_capacity(2 * 22_050);
        b.iter(|| {
            out.clear();
            resampler.push(&second, &mut out);
            assert!(out.len() > 20_000);
        });
    });

    let front_end = FrontEnd::Thesis154(thesis154::Options::default());
    let window = WindowOptions {
        frames: 300,
        grow_frames: None,
        min_seconds: 1.0,
        min_speech_ratio: 0.5,
        clear_after_seconds: 2.0,
    };
    let values = front_end.values();
    let standardization = Standardization { mean: vec![0.0; values], deviation: vec![1.0; values] };
    let warm = voice(8 * SECOND);
    for (variant, stride_seconds) in [("stride-5s", 5.0), ("stride-0.5s", 0.5)] {
        let options = PipelineOptions { source_hz: RATE_HZ, stride_seconds, gate: true };
        group.bench_function(format!("pipeline/{variant}"), |b| {
            b.iter_batched_ref(
                || {
                    let mut pipeline =
                        Pipeline::new(&front_end, &window, &standardization, &options).expect("options are valid");
                    pipeline.push(&warm);
                    while pipeline.poll().is_some() {}
                    pipeline
                },
                |pipeline| {
                    pipeline.push(&second);
                    while let Some(stride) = pipeline.poll() {
                        assert!(stride.outcome.is_ok());
                    }
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, stages);
criterion_main!(benches);
