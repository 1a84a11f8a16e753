//! `manifest.toml`, which stands beside every `model.onnx` and says all that a service must know to run it.
//!
//! A manifest that loads is valid: labels are told apart, the standardisation fits the front end, the network lies in the same
//! folder. What the network's file holds is checked against the hash by [`Manifest::read_network`], its graph by
//! [`super::onnx::Session`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::features::{FrontEnd, Standardization, WindowOptions};

pub(super) mod file;
#[cfg(test)]
mod tests;
mod validate;

pub use file::{Error, FILE_NAME, sha256_hex};

/// The layout of `manifest.toml` that this build reads and writes.
pub const FORMAT: u32 = 1;

/// What a judgement without a label is called; so no label may be called so.
pub const UNCERTAIN: &str = "uncertain";

/// All that a service must know of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this file's layout: [`FORMAT`].
    pub format: u32,
    /// The name a call asks for it by: 1 to 64 characters of `[A-Za-z0-9._-]`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// One line on what it is.
    pub description: String,
    /// The licence of model and data.
    pub licence: String,
    /// What it can hear, in the order of its logits.
    pub labels: Vec<String>,
    /// The bandwidths it was trained for.
    pub bandwidths: Vec<Bandwidth>,
    /// The network.
    pub network: Network,
    /// The front end and all of its parameters.
    pub front_end: FrontEnd,
    /// Which frames it is given at once.
    pub window: WindowOptions,
    /// How sure it may be said to be.
    pub calibration: crate::decision::Calibration,
    /// What it was trained on and how. Left out for a network made elsewhere.
    #[serde(default)]
    pub training: Training,
    /// Scores measured by the command in `training`, by name.
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
    /// Mean and deviation of each value. Left out for `waveform`.
    #[serde(default, skip_serializing_if = "Standardization::is_empty")]
    pub standardization: Standardization,
}

/// The ONNX file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Its name beside the manifest.
    pub file: String,
    /// Its SHA-256, hexadecimal in lower case, as [`sha256_hex`] writes it.
    pub sha256: String,
    /// Its ONNX operator set.
    pub opset: u32,
    /// Trainable values; 0 where nobody counted them.
    #[serde(default)]
    pub parameters: u64,
    /// The name of its input, `[batch, frames, values]`; `[batch, samples]` for `waveform`.
    pub input: String,
    /// The name of its output, `[batch, labels]`: logits.
    pub output: String,
}

/// What a line carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bandwidth {
    /// 16 kHz sampling or more.
    Wide,
    /// 8 kHz sampling, G.711.
    Telephone,
}

/// What a model was trained on and how.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Training {
    /// The command that made it.
    pub command: String,
    /// The recipe.
    pub recipe: String,
    /// The corpus, by name.
    pub data: String,
    /// SHA-256 over the names and audio of the clips it was trained on.
    pub data_sha256: String,
    /// Actors it was trained on.
    pub train_actors: Vec<String>,
    /// Actors that stopped and calibrated it.
    pub valid_actors: Vec<String>,
    /// The seed.
    pub seed: u64,
    /// Epochs whose weights were kept.
    pub epochs: u32,
    /// SHA-256 of the networks that it learnt from beside the labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub teachers: Vec<String>,
    /// Part of each target that listeners' votes decided, where they are known, above 0 and below 1; none if labels alone did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub votes: Option<f32>,
    /// The GPU that trained it, by its own name; none if the CPU did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
}

impl Bandwidth {
    /// "wide" or "telephone".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Telephone => "telephone",
        }
    }
}

impl Manifest {
    /// The name of a label, or [`UNCERTAIN`].
    ///
    /// # Panics
    /// When there is no such label.
    pub fn label_name(&self, label: Option<usize>) -> &str {
        label.map_or(UNCERTAIN, |label| &self.labels[label])
    }
}
