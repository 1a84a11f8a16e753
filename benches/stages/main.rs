//! What a second of call costs, stage by stage: `make bench`. Unless a file says otherwise, a time is that of one second of one leg's
//! audio on one thread, so a stage's calls a core are 1 s divided by its time. Ids are `stage/variant/size`.
#![expect(clippy::unwrap_used, reason = "a panic in a bench says enough")]

use criterion::{criterion_group, criterion_main};

mod batcher;
mod call;
mod decode;
mod front_end;
mod gate;
mod inference;
mod material;
mod resample;
mod window;

criterion_group!(
    benches,
    decode::bench,
    resample::bench,
    front_end::bench,
    gate::bench,
    window::bench,
    inference::bench,
    batcher::bench,
    call::bench,
);
criterion_main!(benches);
