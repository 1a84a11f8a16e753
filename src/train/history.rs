//! `history.jsonl` beside a model: an object an epoch, as `undertone train --json` prints them. The page of scores draws it.

use std::{fs, path::Path};

use anyhow::Context as _;
use serde::Deserialize;

use super::{Epoch, checkpoint};

/// Its name.
pub(super) const FILE: &str = "history.jsonl";

#[derive(Deserialize)]
struct Row {
    epoch: u32,
}

/// Adds an epoch, in place of what was noted of it and of later ones by a run that did not end.
pub(super) fn add(dir: &Path, epoch: &Epoch) -> anyhow::Result<()> {
    let path = dir.join(FILE);
    let before = if path.is_file() {
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?
    } else {
        String::new()
    };
    let earlier = |line: &&str| serde_json::from_str::<Row>(line).is_ok_and(|row| row.epoch < epoch.epoch);
    let mut text: String = before.lines().filter(earlier).flat_map(|line| [line, "\n"]).collect();
    text += &serde_json::to_string(epoch)?;
    text.push('\n');
    checkpoint::replace(&path, text.as_bytes())
}
