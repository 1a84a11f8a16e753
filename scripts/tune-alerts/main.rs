//! Tunes alert rules on 20-minute calls put together of real clips, and prints what each rule would have told.
//!
//! ```sh
//! cargo run --example tune-alerts -- score path/to/crema-d models/telephone scores/   # once a model
//! cargo run --example tune-alerts -- sweep scores/                                    # as often as wanted
//! cargo run --example tune-alerts -- rules scores/ deploy/rules.toml                  # one file of rules
//! ```
//!
//! `score` puts calls together of every validation actor, and of some that the model was trained on, sends them through G.711 µ-law
//! and hears them as a call is heard; what it hears goes into files of scores, as `undertone classify --scores` writes them. `sweep`
//! runs many rules over them. Rules are compared by what they tell of voices that the model never heard.

use std::{
    env, fs,
    io::{BufWriter, Write as _},
    path::Path,
};

use anyhow::Context as _;
use undertone::{
    corpus::{self, Corpus},
    evaluate::hear,
    model::{
        Model,
        onnx::{Options, Runtime},
    },
};

mod call;
mod sweep;

use call::{MIXES, RATE_HZ, Voice};

/// Calls of a mix and a validation actor, in the order of [`MIXES`]: most of those that are hardest.
const VALID_CALLS: [u64; MIXES.len()] = [3, 1, 3, 1, 1, 1];
/// The same of an actor that the model was trained on, for comparison.
const TRAIN_CALLS: [u64; MIXES.len()] = [1, 0, 1, 0, 0, 0];
/// So many of those actors.
const TRAIN_ACTORS: usize = 9;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["score", corpus, model, out] => score(corpus.as_ref(), model.as_ref(), out.as_ref()),
        ["sweep", scores] => sweep::sweep(scores.as_ref()),
        ["rules", scores, rules] => sweep::rules(scores.as_ref(), rules.as_ref()),
        _ => anyhow::bail!("expected: score CORPUS MODEL OUT, or sweep OUT, or rules OUT RULES.toml"),
    }
}

/// Hears all calls. One that was heard already is left as it is.
fn score(corpus: &Path, model: &Path, out: &Path) -> anyhow::Result<()> {
    let corpus = Corpus::open(corpus)?;
    let split = corpus::split(&corpus.actors(), None, None)?;
    let model = Model::load(Runtime::load(None)?, model, Options::default())?;
    let mut session = model.session()?;
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let step = (split.train.len() / TRAIN_ACTORS).max(1);
    let train = split.train.iter().step_by(step).take(TRAIN_ACTORS).map(|actor| ("train", actor, TRAIN_CALLS));
    let valid = split.valid.iter().map(|actor| ("valid", actor, VALID_CALLS));
    for (side, actor, calls) in valid.chain(train) {
        let voice = Voice::read(&corpus, actor)?;
        for (mix_index, (mix_name, mix)) in MIXES.into_iter().enumerate() {
            for seed in 0..calls[mix_index] {
                let name = format!("{side}-{actor}-{mix_index}-{seed}");
                let path = out.join(format!("{name}.jsonl"));
                if path.exists() {
                    continue;
                }
                let call = voice.call(mix, mix_name, seed);
                let partial = path.with_extension("partial");
                let mut file = BufWriter::new(fs::File::create(&partial)?);
                let mut lines = Vec::new();
                hear::hear(&model.manifest, &mut session, &call.samples, RATE_HZ, |heard| {
                    lines.push(heard.into_row(&name, RATE_HZ, &model.manifest));
                })?;
                for row in lines {
                    writeln!(file, "{}", serde_json::to_string(&row)?)?;
                }
                file.flush()?;
                let truth = serde_json::json!({ "mix": mix_index, "side": side, "stretches": call.stretches });
                fs::write(path.with_extension("truth.json"), truth.to_string())?;
                fs::rename(&partial, &path)?;
                #[expect(clippy::print_stderr, reason = "progress")]
                {
                    eprintln!("{name}");
                }
            }
        }
    }
    Ok(())
}
