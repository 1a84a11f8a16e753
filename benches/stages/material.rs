//! What the benches work on: a voice at the telephone's rate, and the models that are shipped.

use std::{fs, path::Path};

use undertone::model::{
    Model,
    onnx::{Options, Runtime},
};

/// The telephone's rate.
pub(crate) const RATE_HZ: u32 = 8_000;
/// Samples of a second.
pub(crate) const SECOND: usize = RATE_HZ as usize;

/// A voiced sound that swells and fades, so that the gate hears speech.
pub(crate) fn voice(rate_hz: u32, samples: usize) -> Vec<f32> {
    let turns = |hz: f32, n: usize| (std::f32::consts::TAU * hz * n as f32 / rate_hz as f32).sin();
    (0..samples)
        .map(|n| {
            let buzz: f32 = (1..8).map(|k| turns(140.0 * k as f32, n) / k as f32).sum();
            0.2 * buzz * (0.6 + 0.4 * turns(4.0, n))
        })
        .collect()
}

/// The models in `models/`, by name.
pub(crate) fn models() -> Vec<Model> {
    let runtime = Runtime::load(None).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let mut folders: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.join("manifest.toml").is_file());
    folders.sort();
    folders.iter().map(|folder| Model::load(runtime, folder, Options::default()).unwrap()).collect()
}
