//! The recipe's parts: gradients, the agreement with what serves calls, scenes.

use std::path::Path;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{
    WEIGHTS, begin,
    fit::{self, Adam, FIXED, Scene},
    scene, sources,
    sources::Sources,
};
use crate::{
    audio::gate::{
        measure::VALUES,
        network::{CLASSES, OUTPUTS, PARAMETERS, Walker},
    },
    corpus::{Clip, Corpus},
};

fn made_up(blocks: usize, seed: u64) -> Scene {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    Scene {
        values: (0..blocks * VALUES).map(|_| random.random_range(-1.0..1.0)).collect(),
        labels: (0..blocks).map(|_| random.random_range(0..4)).collect(),
    }
}

fn sources() -> Sources {
    let corpus = Corpus::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/crema-d")).unwrap();
    let clips: Vec<&Clip> = corpus.clips.iter().collect();
    Sources { voices: sources::voices(&clips, || {}), music: Vec::new(), noise: Vec::new() }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let scenes = [made_up(30, 1), made_up(20, 2)];
    let parameters = begin(&scenes, 3);
    let scenes: Vec<&Scene> = scenes.iter().collect();
    let gradient = fit::gradient(&parameters, &scenes, WEIGHTS);
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let width = 3e-3;
    let mut compared = 0;
    for _ in 0..150 {
        let index = random.random_range(FIXED..PARAMETERS);
        let at = |by: f32| {
            let mut moved = parameters.clone();
            moved[index] += by;
            fit::gradient(&moved, &scenes, WEIGHTS).loss
        };
        let (low, middle, high) = (at(-width), gradient.loss, at(width));
        // Where a unit begins or ceases to be heard within the step there is no slope to compare with.
        if ((high - middle) - (middle - low)).abs() > 2e-5 {
            continue;
        }
        let slope = (high - low) / (2.0 * f64::from(width));
        assert!(
            (slope - f64::from(gradient.numbers[index])).abs() < 3e-3,
            "{index}: {slope} and {}",
            gradient.numbers[index]
        );
        compared += 1;
    }
    assert!(compared > 120, "{compared}");
}

#[test]
fn the_network_that_learns_is_the_one_that_serves_calls() {
    let scene = made_up(100, 5);
    let parameters: &'static [f32] = Box::leak(begin(std::slice::from_ref(&scene), 6).into_boxed_slice());
    let learning = fit::logits(parameters, &scene);
    let mut walker = Walker::new(parameters);
    for (block, values) in scene.values.as_chunks::<VALUES>().0.iter().enumerate() {
        let serving = walker.step(values);
        for output in 0..OUTPUTS {
            let (a, b) = (serving[output], learning[[block, output]]);
            assert!((a - b).abs() < 1e-4 * (1.0 + a.abs()), "block {block}, output {output}: {a} and {b}");
        }
    }
}

#[test]
fn scenes_are_repeatable_and_hold_all_kinds() {
    let sources = sources();
    let mut counts = [0; CLASSES];
    for number in 0..24 {
        let one = scene::scene(&sources, 7, number);
        assert_eq!(one.values.len(), one.blocks() * VALUES);
        assert!(one.values.iter().all(|value| value.is_finite()));
        one.labels.iter().for_each(|&label| counts[usize::from(label)] += 1);
        if number < 3 {
            let again = scene::scene(&sources, 7, number);
            assert_eq!((one.labels, one.values), (again.labels, again.values));
        }
    }
    assert!(counts.iter().all(|&count| count > 100), "{counts:?}");
}

#[test]
fn a_few_scenes_are_learnt() {
    let sources = sources();
    let scenes: Vec<Scene> = (0..8).map(|number| scene::scene(&sources, 8, number)).collect();
    let mut parameters = begin(&scenes, 9);
    let batch: Vec<&Scene> = scenes.iter().collect();
    let mut adam = Adam::new();
    let before = fit::gradient(&parameters, &batch, WEIGHTS).loss;
    for _ in 0..40 {
        let gradient = fit::gradient(&parameters, &batch, WEIGHTS);
        adam.step(&mut parameters, &gradient.numbers, 4e-3);
    }
    let after = fit::gradient(&parameters, &batch, WEIGHTS).loss;
    assert!(after < 0.5 * before, "{before} to {after}");
}
