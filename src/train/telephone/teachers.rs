//! Trained networks that a student learns from beside the labels (Hinton et al., 2015).
//!
//! They are shown the windows that it is shown, covered and mixed (Beyer et al., 2022), and the mean of their probabilities is most of
//! what its answer is held against.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, bail, ensure};
use rayon::prelude::*;

use crate::{
    corpus::LABELS,
    decision::Calibration,
    features::{FrontEnd, Standardization},
    model::{
        Model,
        onnx::{Options, Session},
    },
    train::{Work, network::Batch, recipe::Teacher},
};

/// Part of a target that the teachers decide; labels have the rest.
const TRUST: f32 = 0.7;
/// As they answer, not as validation actors calibrated them.
const PLAIN: Calibration = Calibration { temperature: 1.0, uncertain_below: 0.0 };

/// Networks with the same features and labels as their student.
pub(super) struct Teachers {
    models: Vec<Model>,
    found: Vec<Teacher>,
    sessions: Vec<Mutex<Session>>,
}

impl Teachers {
    /// Those that the options name.
    ///
    /// # Errors
    /// A model that cannot be loaded, has other features or labels, or was trained on an actor who judges the student: what it knows of
    /// them would come to the student, too.
    pub(super) fn load(work: &Work<'_>, front_end: &FrontEnd) -> anyhow::Result<Self> {
        let (mut models, mut found) = (Vec::new(), Vec::new());
        for dir in &work.options.teachers {
            let model = Model::load(work.runtime, dir, Options::default())
                .with_context(|| format!("the teacher in {} cannot be loaded", dir.display()))?;
            let manifest = &model.manifest;
            ensure!(
                manifest.front_end == *front_end && manifest.window.grow_frames.is_some(),
                "the teacher in {} hears other features than its student: train it by the same recipe",
                dir.display()
            );
            ensure!(
                manifest.labels.iter().map(String::as_str).eq(LABELS),
                "the teacher in {} tells {} apart, expected {}",
                dir.display(),
                manifest.labels.join(", "),
                LABELS.join(", ")
            );
            let test = work.options.test_actors.iter().flatten();
            let judges = work.split.valid.iter().chain(test);
            let known: Vec<&str> =
                judges.filter(|actor| manifest.training.train_actors.contains(actor)).map(String::as_str).collect();
            if !known.is_empty() {
                bail!(
                    "the teacher in {} was trained on actors who judge its student: {}; train it on the student's actors",
                    dir.display(),
                    known.join(", ")
                );
            }
            let command = made_in(dir, &manifest.training.command);
            found.push(Teacher { sha256: model.sha256().to_owned(), command });
            models.push(model);
        }
        let sessions = models.iter().map(|model| Ok(Mutex::new(model.session()?))).collect::<anyhow::Result<_>>()?;
        Ok(Self { models, found, sessions })
    }

    /// Checks that they are given what they were trained on.
    ///
    /// # Errors
    /// One that was standardised otherwise.
    pub(super) fn check(&self, standardization: &Standardization) -> anyhow::Result<()> {
        for model in &self.models {
            ensure!(
                model.manifest.standardization == *standardization,
                "the teacher {} was standardised by other clips: train it on the student's actors",
                &model.sha256()[..12]
            );
        }
        Ok(())
    }

    /// What they are and how each was made.
    pub(super) fn found(&self) -> &[Teacher] {
        &self.found
    }

    /// Puts most of what they think of its windows into a batch's targets; without teachers they stay.
    pub(super) fn teach(&self, batch: &mut Batch) {
        let (count, frames) = (batch.labels.len(), batch.frames);
        let answer = |session: &Mutex<Session>| -> Vec<f32> {
            let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
            let logits = session.run_frames(&batch.windows, count, frames).expect("a network that was tried runs");
            logits.chunks_exact(LABELS.len()).flat_map(|logits| PLAIN.judge(logits).probabilities.clone()).collect()
        };
        let answers: Vec<Vec<f32>> = self.sessions.par_iter().map(answer).collect();
        if answers.is_empty() {
            return;
        }
        let part = TRUST / answers.len() as f32;
        for (index, target) in batch.targets.iter_mut().enumerate() {
            *target = (1.0 - TRUST) * *target + part * answers.iter().map(|answer| answer[index]).sum::<f32>();
        }
    }
}

/// A model's command with `--out` where it lies now: what was made may have been moved since, and nothing else depends on it.
fn made_in(dir: &Path, command: &str) -> String {
    let mut words: Vec<String> = command.split(' ').map(str::to_owned).collect();
    for at in 0..words.len() {
        if words[at] == "--out" && at + 1 < words.len() {
            words[at + 1] = dir.display().to_string();
        } else if words[at].starts_with("--out=") {
            words[at] = format!("--out={}", dir.display());
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_teacher_that_was_moved_is_made_where_its_student_looks_for_it() {
        let of = |command| made_in(Path::new("models/seed0"), command);
        assert_eq!(of("undertone train --out models/a --seed 1"), "undertone train --out models/seed0 --seed 1");
        assert_eq!(of("undertone train --seed 1 --out=a"), "undertone train --seed 1 --out=models/seed0");
        assert_eq!(of("undertone train --out"), "undertone train --out");
    }
}
