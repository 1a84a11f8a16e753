//! From coded audio to events, as a call's task does it, by chunk: without a network (its answers are at hand), and with it, a window at a
//! time. What is left out is gRPC and the batch.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use undertone::{
    audio::{Encoding, codec::encode},
    call::{Call, Chunk, LegOptions, Options, Output},
    decision::Rules,
    model::{Classifier, Manifest, Outcome},
    policy::{Circumstances, Consent, Policy, Role},
};

use crate::material::{RATE_HZ, SECOND, models, voice};

/// What answers where no network is meant.
struct Known(usize);

impl Classifier for Known {
    fn run(&mut self, _: &[f32], batch: usize) -> Result<Vec<f32>, undertone::model::Error> {
        Ok((0..batch * self.0).map(|n| n as f32).collect())
    }
}

fn call(manifest: &Arc<Manifest>) -> Call {
    let circumstances = Circumstances { role: Role::Customer, notice_given: true, consent: Consent::Unknown };
    let permit = Policy::default().judge_call(&[circumstances]).unwrap().remove(0);
    let hour = Duration::from_secs(3600);
    let options = Options {
        session_id: String::new(),
        tags: BTreeMap::new(),
        rules: Arc::new(Rules::shipped()),
        encoding: Encoding::Mulaw,
        sample_rate_hz: RATE_HZ,
        legs: vec![LegOptions { leg_id: "customer".to_owned(), permit }],
        model: Arc::clone(manifest),
        stride: Duration::from_millis(500),
        idle_timeout: hour,
        hold_timeout: hour,
        status_interval: hour,
        close_timeout: hour,
    };
    Call::new(options, Instant::now()).unwrap()
}

/// Pushes audio in chunks; gives the events that came.
fn play(call: &mut Call, audio: &[u8], chunk: usize, network: &mut dyn Classifier) -> usize {
    let mut events = 0;
    for data in audio.chunks(chunk) {
        call.push(Chunk { data, sequence: None, media_offset_samples: None }, Instant::now());
        while let Some(output) = call.poll() {
            match output {
                Output::Infer { id, window } => {
                    let logits = network.run(&window, 1).unwrap();
                    call.apply(id, Outcome::Logits(logits.into()), Instant::now());
                }
                Output::Event(event) => events += usize::from(event.outcome.is_ok()),
                _ => {}
            }
        }
    }
    events
}

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("call");
    group.throughput(Throughput::Elements(SECOND as u64));
    let (mut warm, mut second) = (Vec::new(), Vec::new());
    encode(Encoding::Mulaw, &voice(RATE_HZ, 8 * SECOND), &mut warm);
    encode(Encoding::Mulaw, &voice(RATE_HZ, SECOND), &mut second);
    for model in models() {
        let manifest = &model.manifest;
        let networks: [(&str, Box<dyn Classifier>); 2] = [
            ("without-network", Box::new(Known(manifest.labels.len()))),
            ("with-network", Box::new(model.session().unwrap())),
        ];
        for (variant, mut network) in networks {
            for chunk_ms in [20, 100] {
                let id = BenchmarkId::new(format!("{}-{variant}", manifest.name), format!("{chunk_ms}ms"));
                group.bench_function(id, |b| {
                    b.iter_batched_ref(
                        || {
                            let mut call = call(manifest);
                            play(&mut call, &warm, SECOND, &mut Known(manifest.labels.len()));
                            call
                        },
                        |call| {
                            let events = play(call, &second, SECOND * chunk_ms / 1000, &mut *network);
                            assert!((1..=2).contains(&events), "{events} events of a second");
                        },
                        BatchSize::LargeInput,
                    );
                });
            }
        }
    }
    group.finish();
}
