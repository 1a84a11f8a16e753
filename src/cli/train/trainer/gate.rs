//! `--recipe gate`.

use serde_json::json;
use undertone::{corpus::parse_actors, train::gate};

use super::{Watcher, asked_to_stop, command};
use crate::cli::{
    print,
    train::{Args, Device},
};

/// Trains the gate; what it makes is compiled in, so there is no model to serve.
pub(super) fn run(args: Args) -> anyhow::Result<()> {
    if args.device == Device::Gpu {
        anyhow::bail!("recipe gate is trained by code of its own, which runs on the CPU: leave --device out");
    }
    if args.folds.is_some() || args.resume || args.bandwidth.is_some() || args.windows.is_some() {
        anyhow::bail!("--folds, --resume, --bandwidth and --windows are no options of gate: leave them out");
    }
    let list = |list: Option<&String>| list.map(|list| parse_actors(list)).transpose();
    let options = gate::Options {
        train_actors: list(args.train_actors.as_ref())?,
        valid_actors: list(args.valid_actors.as_ref())?,
        data: args.data,
        music: args.music,
        noise: args.noise,
        out: args.out,
        epochs: args.epochs.unwrap_or(gate::EPOCHS),
        seed: args.seed,
        command: command(),
    };
    let stop = asked_to_stop()?;
    let watcher = Watcher::new(args.json)?;
    let report = gate::run(&options, &stop, &|event| match event {
        gate::Event::Reading(clips) => watcher.begin("reading", clips),
        gate::Event::Read => watcher.step(),
        gate::Event::EpochDone(epoch) => {
            watcher.print(if args.json { serde_json::to_string(epoch).map_err(Into::into) } else { Ok(line(epoch)) });
        }
    })?;
    watcher.finish()?;
    let made = options.out.join("network.bin");
    if args.json {
        return print(json!({ "network": made, "sha256": report.sha256 }));
    }
    print(made.display())
}

fn line(epoch: &gate::Epoch) -> String {
    let [speech, music, tone, other] = epoch.recall.map(|part| 100.0 * part);
    format!(
        "epoch {:2}/{}  loss {:.4}  right: speech {speech:.1} %  music {music:.1} %  tones {tone:.1} %  other {other:.1} %",
        epoch.epoch, epoch.epochs, epoch.loss,
    )
}
