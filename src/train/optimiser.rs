//! The optimisers: Nadam as Keras computes it (Dozat, 2016), AdamW with decoupled decay (Loshchilov and Hutter, 2019).

use super::network::{Parameters, Spec};

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
/// Keras's backend epsilon.
const NADAM_EPSILON: f64 = 1e-7;
/// PyTorch's.
const ADAM_EPSILON: f64 = 1e-8;
/// The momentum at step t is β₁ (1 − ½ · 0.96^t): Keras's constant for Dozat's schedule, with his decay of 0.004 a step left out.
const SCHEDULE: f64 = 0.96;

/// How values are moved along gradients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rule {
    /// Adam with Nesterov momentum under a schedule.
    Nadam,
    /// Adam, with a part of each value taken off every step.
    AdamW {
        /// Times the learning rate: that part.
        decay: f64,
    },
}

/// How far to go in one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pace {
    /// The learning rate.
    pub(super) learning_rate: f64,
    /// Adam's β₁; Nadam has a schedule of its own.
    pub(super) momentum: f64,
}

/// An optimiser's state.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Optimiser {
    /// What it computes.
    pub(super) rule: Rule,
    /// Running mean of the gradients.
    pub(super) first: Parameters,
    /// Running mean of their squares.
    pub(super) second: Parameters,
    /// Steps taken.
    pub(super) steps: u64,
    /// Product of the momenta so far.
    pub(super) product: f64,
}

impl Pace {
    /// At a learning rate, with the usual momentum.
    pub(super) fn at(learning_rate: f64) -> Self {
        Self { learning_rate, momentum: BETA_1 }
    }
}

impl Optimiser {
    /// Before the first step.
    pub(super) fn new(rule: Rule, specs: &[Spec]) -> Self {
        Self { rule, first: Parameters::zeros(specs), second: Parameters::zeros(specs), steps: 0, product: 1.0 }
    }

    /// Moves the trainable values of `parameters` along `gradients`, which already hold what decay adds to the loss.
    pub(super) fn step(&mut self, specs: &[Spec], parameters: &mut Parameters, gradients: &Parameters, pace: Pace) {
        self.steps += 1;
        match self.rule {
            Rule::Nadam => self.nadam(specs, parameters, gradients, pace.learning_rate),
            Rule::AdamW { decay } => self.adam_w(specs, parameters, gradients, pace, decay),
        }
    }

    fn nadam(&mut self, specs: &[Spec], parameters: &mut Parameters, gradients: &Parameters, learning_rate: f64) {
        let momentum = |step: u64| BETA_1 * (1.0 - 0.5 * SCHEDULE.powf(step as f64));
        let (now, next) = (momentum(self.steps), momentum(self.steps + 1));
        self.product *= now;
        let by_first = next / (1.0 - self.product * next);
        let by_gradient = (1.0 - now) / (1.0 - self.product);
        let by_second = 1.0 / (1.0 - BETA_2.powf(self.steps as f64));
        self.each(specs, parameters, gradients, |weight, gradient, first, second| {
            let gradient = f64::from(gradient);
            let mean = BETA_1 * f64::from(*first) + (1.0 - BETA_1) * gradient;
            let square = BETA_2 * f64::from(*second) + (1.0 - BETA_2) * gradient * gradient;
            let direction = by_first * mean + by_gradient * gradient;
            *weight -= (learning_rate * direction / ((square * by_second).sqrt() + NADAM_EPSILON)) as f32;
            (*first, *second) = (mean as f32, square as f32);
        });
    }

    /// As PyTorch corrects the means: by the momentum of this step to the power of all steps, also where a schedule moves it.
    fn adam_w(&mut self, specs: &[Spec], parameters: &mut Parameters, gradients: &Parameters, pace: Pace, decay: f64) {
        let Pace { learning_rate, momentum } = pace;
        let by_first = learning_rate / (1.0 - momentum.powf(self.steps as f64));
        let by_second = 1.0 / (1.0 - BETA_2.powf(self.steps as f64));
        self.each(specs, parameters, gradients, |weight, gradient, first, second| {
            let gradient = f64::from(gradient);
            let mean = momentum * f64::from(*first) + (1.0 - momentum) * gradient;
            let square = BETA_2 * f64::from(*second) + (1.0 - BETA_2) * gradient * gradient;
            let kept = f64::from(*weight) * (1.0 - learning_rate * decay);
            *weight = (kept - by_first * mean / ((square * by_second).sqrt() + ADAM_EPSILON)) as f32;
            (*first, *second) = (mean as f32, square as f32);
        });
    }

    fn each(
        &mut self,
        specs: &[Spec],
        parameters: &mut Parameters,
        gradients: &Parameters,
        update: impl Fn(&mut f32, f32, &mut f32, &mut f32),
    ) {
        for (index, _) in specs.iter().enumerate().filter(|(_, spec)| spec.trainable) {
            let moments = self.first.0[index].iter_mut().zip(&mut self.second.0[index]);
            let values = parameters.0[index].iter_mut().zip(&gradients.0[index]);
            for ((weight, &gradient), (first, second)) in values.zip(moments) {
                update(weight, gradient, first, second);
            }
        }
    }
}

/// Scales `gradients` so that all of them together are no longer than `most` (Pascanu et al., 2013).
pub(super) fn clip(gradients: &mut Parameters, most: f64) {
    let squares = gradients.0.iter().flatten().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>();
    let norm = squares.sqrt();
    if norm > most {
        let scale = (most / norm) as f32;
        gradients.0.iter_mut().flatten().for_each(|gradient| *gradient *= scale);
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn specs() -> [Spec; 2] {
        [true, false].map(|trainable| Spec {
            name: Cow::Borrowed("value"),
            shape: Cow::Borrowed(&[1]),
            decays: false,
            trainable,
        })
    }

    /// The value after steps from 1 along gradients 0.1 and −0.2.
    fn moved(rule: Rule, paces: [Pace; 2]) -> f64 {
        let specs = specs();
        let mut parameters = Parameters(vec![vec![1.0], vec![1.0]]);
        let mut optimiser = Optimiser::new(rule, &specs);
        for (pace, gradient) in paces.into_iter().zip([0.1, -0.2]) {
            optimiser.step(&specs, &mut parameters, &Parameters(vec![vec![gradient]; 2]), pace);
        }
        assert!((parameters.0[1][0] - 1.0).abs() < f32::EPSILON, "what is not trainable stays");
        parameters.0[0][0].into()
    }

    #[test]
    fn two_steps_of_nadam_are_keras_s() {
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
        let actual = moved(Rule::Nadam, [Pace::at(0.01); 2]);
        assert!((actual - expected).abs() < 1e-6, "{actual} {expected}");
        assert!((expected - 1.0).abs() > 1e-3);
    }

    #[test]
    fn two_steps_of_adam_w_are_pytorch_s() {
        // By hand: the first step goes by the learning rate against the gradient's sign; then m = .85 · .01 + .15 · −.2 and
        // v = .999 · 1e-5 + .001 · .04 under corrections 1 − .85² and 1 − .999². Each begins with 2 % of the learning rate taken off.
        let first = 1.0 * (1.0 - 0.01 * 0.02) - 0.01;
        let m: f64 = 0.85 * 0.01 + 0.15 * -0.2;
        let v: f64 = 0.999 * 1e-5 + 0.001 * 0.04;
        let hat = m / (1.0 - 0.85_f64.powi(2)) / (v / (1.0 - 0.999_f64.powi(2))).sqrt();
        let expected = first * (1.0 - 0.02 * 0.02) - 0.02 * hat;
        let paces = [Pace { learning_rate: 0.01, momentum: 0.9 }, Pace { learning_rate: 0.02, momentum: 0.85 }];
        let actual = moved(Rule::AdamW { decay: 0.02 }, paces);
        assert!((actual - expected).abs() < 1e-6, "{actual} {expected}");
    }

    #[test]
    fn gradients_that_are_too_long_keep_their_direction() {
        let mut gradients = Parameters(vec![vec![3.0], vec![0.0, 4.0]]);
        clip(&mut gradients, 5.0);
        assert_eq!(gradients.0, [vec![3.0], vec![0.0, 4.0]]);
        clip(&mut gradients, 2.5);
        assert_eq!(gradients.0, [vec![1.5], vec![0.0, 2.0]]);
    }
}
