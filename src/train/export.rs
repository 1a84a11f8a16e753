//! The exported network, checked in ONNX Runtime every time.

use anyhow::{Context as _, bail};

use super::network::{Batch, Network, Parameters};
use crate::model::{
    Classifier as _, Manifest,
    onnx::{Options, Runtime, Session},
};

/// The graph's input.
pub(super) const INPUT: &str = "windows";
/// The graph's output.
pub(super) const OUTPUT: &str = "logits";
/// How far a logit in ONNX Runtime may be from the trainer's own.
const TOLERANCE: f32 = 1e-4;

/// Runs `windows` through the exported network, all at once and one by one, and compares with the trainer's forward pass.
/// Returns the largest difference of a logit.
///
/// # Errors
/// ONNX Runtime is not there or refuses the network, or a logit differs by more than 1e-4, or depends on the batch.
pub(super) fn check(
    manifest: &Manifest,
    file: &[u8],
    network: &dyn Network,
    parameters: &Parameters,
    windows: &Batch,
) -> anyhow::Result<f32> {
    let runtime = Runtime::load(None).context("the exported network cannot be checked")?;
    let mut session = Session::from_network(runtime, manifest, file, &Options::default())?;
    let count = windows.labels.len();
    let together = session.run(&windows.windows, count)?;
    let own = network.logits(parameters, windows);
    let mut widest = widest(&own, &together);
    let (window, labels) = (windows.windows.len() / count, manifest.labels.len());
    for (index, row) in together.chunks_exact(labels).enumerate() {
        let alone = session.run(&windows.windows[index * window..][..window], 1)?;
        let difference = self::widest(&alone, row);
        if difference > TOLERANCE {
            bail!(
                "the exported network answers differently alone and in a batch of {count}: by {difference}, window {index}"
            );
        }
        widest = widest.max(self::widest(&alone, &own[index * labels..][..labels]));
    }
    if widest.is_nan() || widest > TOLERANCE {
        bail!("the exported network differs from the trained one by {widest}, expected at most {TOLERANCE}");
    }
    Ok(widest)
}

/// The largest difference; NaN where there is one.
fn widest(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, |widest, d| if d > widest || d.is_nan() { d } else { widest })
}
