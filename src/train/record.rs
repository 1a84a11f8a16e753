//! What a manifest says of a model that was trained: its recipe, its actors, its figures.

use std::{collections::BTreeMap, path::Path};

use super::{LICENCE, NETWORK_FILE, Sides, Sketch, VERSION, Work, export};
use crate::{
    corpus::{Condition, LABELS},
    decision::Calibration,
    evaluate::{self, Baseline, Outcome},
    model::{
        Manifest,
        manifest::{FORMAT, Network, Training},
        onnx::graph,
    },
};

impl Work<'_> {
    /// What is known of the model before it is calibrated, exported and scored.
    pub(super) fn manifest(&self, sketch: &Sketch, sides: &Sides, epochs: u32) -> Manifest {
        let teachers = sketch.teachers.iter().map(|teacher| teacher.sha256.clone()).collect();
        Manifest {
            format: FORMAT,
            name: sketch.name.to_owned(),
            version: VERSION.to_owned(),
            description: sketch.description.to_owned(),
            licence: LICENCE.to_owned(),
            labels: LABELS.map(str::to_owned).to_vec(),
            bandwidths: sketch.bandwidths.clone(),
            network: Network {
                file: NETWORK_FILE.to_owned(),
                sha256: String::new(),
                opset: graph::OPSET,
                parameters: 0,
                input: export::INPUT.to_owned(),
                output: export::OUTPUT.to_owned(),
            },
            front_end: sketch.front_end.clone(),
            window: sketch.window.clone(),
            calibration: Calibration { temperature: 1.0, uncertain_below: 0.0 },
            training: Training { teachers, ..self.training(sides, epochs) },
            metrics: BTreeMap::new(),
            standardization: sketch.standardization.clone(),
        }
    }

    /// How it was trained.
    pub(super) fn training(&self, sides: &Sides, epochs: u32) -> Training {
        Training {
            command: self.options.command.clone(),
            recipe: self.options.recipe.name().to_owned(),
            data: corpus_name(&self.options.data),
            data_sha256: sides.train_sha256.clone(),
            train_actors: self.split.train.clone(),
            valid_actors: self.split.valid.clone(),
            seed: self.options.seed,
            epochs,
            teachers: Vec::new(),
            votes: Some(self.options.votes).filter(|part| *part > 0.0),
            gpu: self.device.gpu.clone(),
        }
    }
}

/// What the figures of an outcome on the validation actors are called in a manifest.
fn name(outcome: &Outcome) -> String {
    let name = format!("valid_{}_{}", outcome.condition.as_str(), outcome.window);
    match outcome.baseline {
        Baseline::Cold => name,
        heard => format!("{name}_{}", heard.as_str()),
    }
}

/// The figures of an outcome under their names: all of a line that is told [`in_full`], of others the unweighted average recall, since a
/// service tells them to whoever asks for its models.
pub(super) fn measured(outcome: &Outcome) -> BTreeMap<String, f64> {
    let all = figures(&name(outcome), &outcome.scores);
    all.into_iter().filter(|(name, _)| in_full(outcome.condition) || name.ends_with("_uar")).collect()
}

/// Whether card and manifest tell everything of a line; others are what becomes of the telephone's in a worse place.
pub(super) fn in_full(line: Condition) -> bool {
    matches!(line, Condition::Wide | Condition::Mulaw | Condition::Flat)
}

/// Scores under names that begin with `name`.
pub(super) fn figures(name: &str, scores: &evaluate::metrics::Scores) -> BTreeMap<String, f64> {
    let figures = [
        ("uar", scores.uar),
        ("accuracy", scores.accuracy),
        ("weighted_f1", scores.weighted_f1),
        ("ece", scores.ece),
        ("accuracy_at_half_coverage", scores.accuracy_at_half_coverage),
    ];
    figures.into_iter().map(|(figure, value)| (format!("{name}_{figure}"), (value * 1e4).round() / 1e4)).collect()
}

/// The folder's own name: where it lies is nobody's business.
fn corpus_name(data: &Path) -> String {
    data.file_name().map_or_else(|| "recordings".to_owned(), |name| name.to_string_lossy().into_owned())
}
