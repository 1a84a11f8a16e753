use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::train::{
    cldnn, ensemble,
    network::smoothed,
    optimiser::{Optimiser, Pace, Rule},
    spectrogram_cnn,
};

const VALUES: usize = 154;

fn networks() -> [Stacks; 3] {
    [spectrogram_cnn::network, cldnn::network, ensemble::network].map(|network| network(Device::flex()))
}

/// Short windows of noise whose loudness tells the label.
fn batch(count: usize, seed: u64) -> Batch {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (frames, mut windows, mut labels) = (48, Vec::new(), Vec::new());
    for index in 0..count {
        let label = index % LABELS.len();
        windows.extend((0..frames * VALUES).map(|_| random.random_range(-1.0..1.0) * (0.2 + 0.4 * label as f32)));
        labels.push(label);
    }
    let targets = labels.iter().flat_map(|&label| smoothed(label, LABELS.len(), 0.1)).collect();
    Batch { windows, labels, targets, frames }
}

#[test]
fn gradients_are_the_slopes_of_the_loss() {
    for network in networks() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let parameters = network.initial(&mut random);
        let batch = batch(6, 1);
        // The same generator every time, so the same dropout.
        let step = |parameters: &Parameters| network.step(&mut parameters.clone(), &batch, &mut random.clone());
        let gradients = step(&parameters).gradients;
        for (place, (spec, gradients)) in network.specs().iter().zip(&gradients.0).enumerate() {
            if !spec.trainable {
                assert!(gradients.iter().all(|&gradient| gradient == 0.0), "{}", spec.name);
                continue;
            }
            // Along the gradient itself the slope is its norm, which stands out of the rounding and of the bends.
            let norm = gradients.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            let at = |delta: f64| {
                let mut moved = parameters.clone();
                for (value, gradient) in moved.0[place].iter_mut().zip(gradients) {
                    *value += (delta * f64::from(*gradient) / norm.max(1e-9)) as f32;
                }
                step(&moved).loss
            };
            let slope = (at(2e-3) - at(-2e-3)) / 4e-3;
            assert!((slope - norm).abs() < 0.05 * norm + 2e-3, "{}: {slope} {norm}", spec.name);
        }
    }
}

#[test]
fn a_few_steps_learn_a_few_windows() {
    for network in networks() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let mut parameters = network.initial(&mut random);
        let mut nadam = Optimiser::new(Rule::Nadam, network.specs());
        let batch = batch(12, 2);
        let losses: Vec<f64> = (0..25)
            .map(|_| {
                let step = network.step(&mut parameters, &batch, &mut random);
                nadam.step(network.specs(), &mut parameters, &step.gradients, Pace::at(5e-3));
                step.loss
            })
            .collect();
        assert!(losses[24] < 0.8 * losses[0], "{}: {losses:?}", network.name);
    }
}

#[test]
fn members_are_averaged_by_their_probabilities() {
    let logits = |chances: [f32; 6]| chances.map(|chance| chance.ln() + 3.0).to_vec();
    let members = vec![logits([0.5, 0.1, 0.1, 0.1, 0.1, 0.1]), logits([0.1, 0.5, 0.1, 0.1, 0.1, 0.1])];
    let together: Vec<f32> = Stacks::together(members).into_iter().map(f32::exp).collect();
    for (actual, expected) in together.iter().zip([0.3, 0.3, 0.1, 0.1, 0.1, 0.1]) {
        assert!((actual - expected).abs() < 1e-6, "{together:?}");
    }
    let one = vec![0.3, -2.0, 0.0, 0.0, 1.0, 5.0];
    assert_eq!(Stacks::together(vec![one.clone()]), one);
}
