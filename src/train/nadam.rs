//! Nadam as Keras computes it: Adam with Nesterov momentum under a schedule (Dozat, 2016).

use super::parameters::{Parameters, SPECS};

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
/// Keras's backend epsilon.
const EPSILON: f64 = 1e-7;
/// The momentum at step t is β₁ (1 − ½ · 0.96^t): Keras's constant for Dozat's schedule, with his decay of 0.004 a step left out.
const SCHEDULE: f64 = 0.96;

/// The optimiser's state.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Nadam {
    /// Running mean of the gradients.
    pub(super) first: Parameters,
    /// Running mean of their squares.
    pub(super) second: Parameters,
    /// Steps taken.
    pub(super) steps: u64,
    /// Product of the momenta so far.
    pub(super) product: f64,
}

impl Nadam {
    /// Before the first step.
    pub(super) fn new() -> Self {
        Self { first: Parameters::zeros(), second: Parameters::zeros(), steps: 0, product: 1.0 }
    }

    /// Moves the trainable values of `parameters` along `gradients`, which already hold what decay adds.
    pub(super) fn step(&mut self, parameters: &mut Parameters, gradients: &Parameters, learning_rate: f64) {
        self.steps += 1;
        let momentum = |step: u64| BETA_1 * (1.0 - 0.5 * SCHEDULE.powf(step as f64));
        let (now, next) = (momentum(self.steps), momentum(self.steps + 1));
        self.product *= now;
        let by_first = next / (1.0 - self.product * next);
        let by_gradient = (1.0 - now) / (1.0 - self.product);
        let by_second = 1.0 / (1.0 - BETA_2.powf(self.steps as f64));
        for (index, _) in SPECS.iter().enumerate().filter(|(_, spec)| spec.trainable) {
            let moments = self.first.0[index].iter_mut().zip(&mut self.second.0[index]);
            for ((weight, &gradient), (first, second)) in
                parameters.0[index].iter_mut().zip(&gradients.0[index]).zip(moments)
            {
                let gradient = f64::from(gradient);
                let mean = BETA_1 * f64::from(*first) + (1.0 - BETA_1) * gradient;
                let square = BETA_2 * f64::from(*second) + (1.0 - BETA_2) * gradient * gradient;
                let direction = by_first * mean + by_gradient * gradient;
                *weight -= (learning_rate * direction / ((square * by_second).sqrt() + EPSILON)) as f32;
                (*first, *second) = (mean as f32, square as f32);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_steps_are_keras_s() {
        // By hand from the formula with gradients 0.1 and −0.2, learning rate 0.01. Step 1: u₁ = .468, u₂ = .48528 (u_t = .9 (1 − .5 · .96^t));
        // m = .01, v = 1e-5; m̂ = u₂ m / (1 − u₁ u₂) + (1 − u₁) g / (1 − u₁), v̂ = .01.
        let u = |t: i32| 0.9 * (1.0 - 0.5 * 0.96_f64.powi(t));
        let mut expected = 1.0;
        let (mut m, mut v) = (0.0, 0.0);
        for (t, g) in [(1, 0.1_f64), (2, -0.2)] {
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            let product: f64 = (1..=t).map(u).product();
            let hat = u(t + 1) * m / (1.0 - product * u(t + 1)) + (1.0 - u(t)) * g / (1.0 - product);
            expected -= 0.01 * hat / ((v / (1.0 - 0.999_f64.powi(t))).sqrt() + 1e-7);
        }
        let (mut parameters, mut gradients, mut nadam) = (Parameters::zeros(), Parameters::zeros(), Nadam::new());
        parameters.0[1][0] = 1.0;
        for gradient in [0.1, -0.2] {
            gradients.0[1][0] = gradient;
            nadam.step(&mut parameters, &gradients, 0.01);
        }
        assert!((f64::from(parameters.0[1][0]) - expected).abs() < 1e-6, "{} {expected}", parameters.0[1][0]);
        assert!((expected - 1.0).abs() > 1e-3);
    }

    #[test]
    fn running_statistics_are_left_alone() {
        let (mut parameters, mut gradients) = (Parameters::zeros(), Parameters::zeros());
        gradients.0.iter_mut().flatten().for_each(|gradient| *gradient = 1.0);
        Nadam::new().step(&mut parameters, &gradients, 0.1);
        for (spec, values) in SPECS.iter().zip(&parameters.0) {
            assert_eq!(values.iter().any(|&value| value != 0.0), spec.trainable, "{}", spec.name);
        }
    }
}
