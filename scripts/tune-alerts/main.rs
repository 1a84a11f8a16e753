//! Tunes alert rules on 20-minute calls put together of real clips, and prints what each rule would have told.
//!
//! ```sh
//! cargo run --example tune-alerts -- calls path/to/crema-d calls/                    # 2 GB of WAV files, and when they are angry
//! undertone classify calls/*.wav --model models/telephone --scores scores.jsonl      # once a model
//! cargo run --example tune-alerts -- sweep calls/ scores.jsonl other.jsonl           # many rules, by the scores of one model or more
//! cargo run --example tune-alerts -- rules calls/ scores.jsonl deploy/rules.toml     # one file of rules
//! ```
//!
//! Calls are of every validation actor, and of some that models are trained on; they went through 8 kHz G.711 µ-law. `classify` hears
//! them as a call is heard. Rules are compared by what they tell of voices that the model never heard.

use std::{env, fs, path::Path};

use anyhow::Context as _;
use undertone::{
    audio::{Encoding, codec},
    corpus::{self, Corpus},
};

mod call;
mod sweep;

use call::{Call, MIXES, RATE_HZ, Voice};

/// Calls of a mix and a validation actor, in the order of [`MIXES`]: most of those that are hardest.
const VALID_CALLS: [u64; MIXES.len()] = [2, 1, 2, 1, 1, 1];
/// The same of an actor that models are trained on, for comparison: the model has heard these very clips.
const TRAIN_CALLS: [u64; MIXES.len()] = [2, 1, 2, 1, 1, 1];
/// So many of those actors.
const TRAIN_ACTORS: usize = 4;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["calls", corpus, out] => calls(corpus.as_ref(), out.as_ref()),
        ["sweep", calls, ref scores @ ..] if !scores.is_empty() => sweep::sweep(calls.as_ref(), scores),
        ["rules", calls, scores, rules] => sweep::rules(calls.as_ref(), scores.as_ref(), rules.as_ref()),
        _ => anyhow::bail!(
            "expected: calls CORPUS OUT, or sweep CALLS SCORES.jsonl …, or rules CALLS SCORES.jsonl RULES.toml"
        ),
    }
}

/// Puts all calls together.
fn calls(corpus: &Path, out: &Path) -> anyhow::Result<()> {
    let corpus = Corpus::open(corpus)?;
    let split = corpus::split(&corpus.actors(), None, None)?;
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let step = (split.train.len() / TRAIN_ACTORS).max(1);
    let train = split.train.iter().step_by(step).take(TRAIN_ACTORS).map(|actor| ("train", actor, TRAIN_CALLS));
    let valid = split.valid.iter().map(|actor| ("valid", actor, VALID_CALLS));
    for (side, actor, counts) in valid.chain(train) {
        let voice = Voice::read(&corpus, actor)?;
        for (index, (_, mix)) in MIXES.into_iter().enumerate() {
            for seed in 0..counts[index] {
                let name = format!("{side}-{actor}-{index}-{seed}");
                let call = voice.call(mix, &name);
                write(&call, &out.join(format!("{name}.wav")))?;
                let truth = serde_json::json!({ "mix": index, "side": side, "stretches": call.stretches });
                fs::write(out.join(format!("{name}.truth.json")), truth.to_string())?;
            }
        }
    }
    Ok(())
}

/// 16 bits hold all that µ-law leaves.
fn write(call: &Call, path: &Path) -> anyhow::Result<()> {
    let sample_format = hound::SampleFormat::Int;
    let spec = hound::WavSpec { channels: 1, sample_rate: RATE_HZ, bits_per_sample: 16, sample_format };
    let mut writer =
        hound::WavWriter::create(path, spec).with_context(|| format!("cannot write {}", path.display()))?;
    let mut bytes = Vec::new();
    codec::encode(Encoding::Linear16, &call.samples, &mut bytes);
    for sample in bytes.chunks_exact(2) {
        writer.write_sample(i16::from_le_bytes([sample[0], sample[1]]))?;
    }
    Ok(writer.finalize()?)
}
