//! What every network is to the loop: values with names, a step, logits, an ONNX graph.

use std::borrow::Cow;

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

/// A recipe's network. It holds no values itself: those are [`Parameters`], one `Vec` a [`Spec`].
pub(super) trait Network: Sync {
    /// Every value, in the order of its [`Parameters`].
    fn specs(&self) -> &[Spec];

    /// Where training begins.
    fn initial(&self, random: &mut ChaCha8Rng) -> Parameters;

    /// Logits `[window, label]`, without dropout and by the running statistics.
    fn logits(&self, parameters: &Parameters, batch: &Batch) -> Vec<f32>;

    /// Loss and gradients of one batch; moves the running statistics. Every random number comes from `random`.
    fn step(&self, parameters: &mut Parameters, batch: &Batch, random: &mut ChaCha8Rng) -> Step;

    /// What decay of the weights adds to the loss.
    fn penalty(&self, parameters: &Parameters) -> f64;

    /// The bytes of an `.onnx` file for windows of up to `frames` frames.
    fn export(&self, parameters: &Parameters, frames: usize) -> Vec<u8>;
}

/// What is known of a value beforehand.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    /// Its name in checkpoints and in the ONNX file.
    pub(super) name: Cow<'static, str>,
    /// Its shape.
    pub(super) shape: Cow<'static, [usize]>,
    /// Whether its squares are part of the loss.
    pub(super) decays: bool,
    /// Whether gradients move it; running statistics follow the batches instead.
    pub(super) trainable: bool,
}

/// One `Vec` a value of a network: weights, or what is kept for each of them, such as gradients.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parameters(pub(super) Vec<Vec<f32>>);

/// Windows of equal length to learn from or to score.
#[derive(Debug, Clone, Default)]
pub(super) struct Batch {
    /// Standardised, `[window, frame, value]`.
    pub(super) windows: Vec<f32>,
    /// What each window is labelled; of a mixture the larger part.
    pub(super) labels: Vec<usize>,
    /// What the logits are held against, `[window, label]`: smoothed, mixed, weighted.
    pub(super) targets: Vec<f32>,
    /// Frames a window.
    pub(super) frames: usize,
}

/// What a training step yields.
#[derive(Debug)]
pub(super) struct Step {
    /// Of the batch, decay included.
    pub(super) loss: f64,
    /// How many windows it told right, with dropout.
    pub(super) right: usize,
    /// Of the loss, decay included; zero for running statistics.
    pub(super) gradients: Parameters,
}

impl Spec {
    /// Its number of elements.
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

impl Parameters {
    /// All zero.
    pub(super) fn zeros(specs: &[Spec]) -> Self {
        Self(specs.iter().map(|spec| vec![0.0; spec.len()]).collect())
    }

    /// One value.
    pub(super) fn get(&self, name: impl Into<usize>) -> &[f32] {
        &self.0[name.into()]
    }

    /// One value, to be changed.
    pub(super) fn get_mut(&mut self, name: impl Into<usize>) -> &mut [f32] {
        &mut self.0[name.into()]
    }
}

impl Batch {
    /// Leaves the first `windows` windows.
    pub(super) fn truncate(&mut self, windows: usize) {
        let all = self.labels.len();
        let kept = windows.min(all);
        self.windows.truncate(self.windows.len() / all * kept);
        self.targets.truncate(self.targets.len() / all * kept);
        self.labels.truncate(kept);
    }
}

/// The generator of one purpose: made of the seed and a number, so that none has to be kept.
pub(super) fn generator(seed: u64, purpose: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(purpose);
    random
}

/// The part `smoothing` of a label's target spread over all `labels`.
pub(super) fn smoothed(label: usize, labels: usize, smoothing: f32) -> impl Iterator<Item = f32> {
    let spread = smoothing / labels as f32;
    (0..labels).map(move |index| if index == label { 1.0 - smoothing + spread } else { spread })
}

/// Mean cross-entropy of logits `[window, label]` against targets of the same shape.
pub(super) fn cross_entropy(logits: &[f32], targets: &[f32], labels: usize) -> f64 {
    let row_loss = |(row, targets): (&[f32], &[f32])| {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let log_sum = f64::from(largest) + row.iter().map(|&z| f64::from(z - largest).exp()).sum::<f64>().ln();
        row.iter().zip(targets).map(|(&z, &target)| f64::from(target) * (log_sum - f64::from(z))).sum::<f64>()
    };
    let rows = logits.chunks_exact(labels).zip(targets.chunks_exact(labels));
    let count = rows.len();
    rows.map(row_loss).sum::<f64>() / count as f64
}

/// How many rows of logits have their label on top.
pub(super) fn count_right(logits: &[f32], labels: &[usize]) -> usize {
    let right =
        |(row, &label): (&[f32], &usize)| row.iter().enumerate().all(|(index, &z)| index == label || z < row[label]);
    logits.chunks_exact(logits.len() / labels.len().max(1)).zip(labels).filter(|&pair| right(pair)).count()
}

#[cfg(test)]
mod tests {
    use rand::RngExt as _;

    use super::*;

    #[test]
    fn the_loss_is_that_of_smoothed_targets() {
        let logits = [0.3, -1.2, 2.0, 0.0, 0.5, -0.5];
        let sum: f64 = logits.iter().map(|&z: &f32| f64::from(z).exp()).sum();
        let expected: f64 = (0..6)
            .map(|index| if index == 2 { 0.9 + 0.1 / 6.0 } else { 0.1 / 6.0 } * (sum.ln() - f64::from(logits[index])))
            .sum();
        let targets: Vec<f32> = smoothed(2, 6, 0.1).collect();
        assert!((cross_entropy(&logits, &targets, 6) - expected).abs() < 1e-6);
        assert_eq!(count_right(&logits, &[2]), 1);
    }

    #[test]
    fn generators_of_different_purposes_differ_and_repeat() {
        let draw = |seed, purpose| generator(seed, purpose).random::<u64>();
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }
}
