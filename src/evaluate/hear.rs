//! A recording heard as a call is: stride by stride, through the gate, in bounded memory however long it is.

use std::collections::BTreeMap;

use super::{Error, STRIDE_SECONDS};
use crate::{
    decision::scores::Row,
    features::{NotScored, Pipeline, PipelineOptions},
    model::{Classifier as _, Manifest, onnx::Session},
    policy::Role,
};

/// What was heard at one stride. Positions are samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// First sample looked at.
    pub start_samples: u64,
    /// One past the last.
    pub end_samples: u64,
    /// Speech since the last stride.
    pub speech_seconds: f32,
    /// Part of the stretch that was speech.
    pub speech_ratio: f32,
    /// How far speech stands above what is heard behind it, in dB, where it was scored.
    pub snr_db: Option<f32>,
    /// Calibrated probabilities, or why there are none.
    pub outcome: Result<Vec<f32>, NotScored>,
}

/// Runs a recording's samples at `source_hz` through a model as a call would be, and tells every stride.
///
/// # Errors
/// [`Error::Features`] for a rate that is not supported, [`Error::Model`] when the network fails.
pub fn hear(
    manifest: &Manifest,
    session: &mut Session,
    samples: &[f32],
    source_hz: u32,
    mut tell: impl FnMut(Heard),
) -> Result<(), Error> {
    let options = PipelineOptions { source_hz, stride_seconds: STRIDE_SECONDS, gate: true };
    let mut pipeline = Pipeline::new(&manifest.front_end, &manifest.window, &manifest.standardization, &options)?;
    let mut take = |pipeline: &mut Pipeline| {
        while let Some(stride) = pipeline.poll() {
            let outcome = match stride.outcome {
                Ok(window) => Ok(manifest.calibration.judge(&session.run(&window, 1)?).into_probabilities()),
                Err(reason) => Err(reason),
            };
            tell(Heard {
                start_samples: stride.start_samples,
                end_samples: stride.end_samples,
                speech_seconds: stride.speech_seconds,
                speech_ratio: stride.speech_ratio,
                snr_db: stride.snr_db,
                outcome,
            });
        }
        Ok::<(), Error>(())
    };
    // A second at a time: windows wait in the pipeline until they are taken.
    for part in samples.chunks(source_hz as usize) {
        pipeline.push(part);
        take(&mut pipeline)?;
    }
    pipeline.finish();
    take(&mut pipeline)
}

impl Heard {
    /// As a file of scores keeps it: the stride of a customer's leg of the recording `file` at `source_hz`, scored by this model.
    pub fn into_row(self, file: &str, source_hz: u32, manifest: &Manifest) -> Row {
        let seconds = |samples: u64| samples as f64 / f64::from(source_hz);
        Row {
            file: file.to_owned(),
            leg: "customer".to_owned(),
            role: Role::Customer,
            tags: BTreeMap::new(),
            start_seconds: seconds(self.start_samples),
            end_seconds: seconds(self.end_samples),
            speech_seconds: self.speech_seconds,
            speech_ratio: self.speech_ratio,
            snr_db: self.snr_db,
            not_scored_reason: self.outcome.as_ref().err().copied(),
            probabilities: self.outcome.ok().map(|row| manifest.labels.iter().cloned().zip(row).collect()),
            model: manifest.name.clone(),
            sha256: manifest.network.sha256.clone(),
        }
    }
}
