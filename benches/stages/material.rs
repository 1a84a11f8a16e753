//! What the benches work on: a voice at the telephone's rate, and the models that are shipped.

use std::{env, fs, path::Path};

use clap::ValueEnum as _;
use undertone::{
    audio::{file, resample::resample},
    features::{FrontEnd, Standardization, WindowOptions, waveform},
    model::{
        Manifest, Model,
        onnx::{Options, Provider, Runtime},
    },
};

/// The telephone's rate.
pub(crate) const RATE_HZ: u32 = 8_000;
/// Samples of a second.
pub(crate) const SECOND: usize = RATE_HZ as usize;

/// What an actor says, over and over, without the silence around it.
pub(crate) fn voice(rate_hz: u32, samples: usize) -> Vec<f32> {
    let clip = include_bytes!("../../tests/data/crema-d/1015_IWW_ANG_XX.flac");
    let clip = file::decode("1015_IWW_ANG_XX.flac", clip).unwrap().into_mono();
    let clip = resample(&clip, 16_000, rate_hz).unwrap();
    let loud = |sample: &f32| sample.abs() > 0.02;
    let (from, to) = (clip.iter().position(loud).unwrap(), clip.iter().rposition(loud).unwrap());
    clip[from..to].iter().copied().cycle().take(samples).collect()
}

/// The models in `models/`, by name, on what UNDERTONE_INFERENCE__PROVIDER says, as a server's configuration has it.
pub(crate) fn models() -> Vec<Model> {
    let runtime = Runtime::load(None).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let mut folders: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.join("manifest.toml").is_file());
    folders.sort();
    let provider = env::var("UNDERTONE_INFERENCE__PROVIDER").ok();
    let provider = provider.map_or(Provider::Cpu, |name| Provider::from_str(&name, true).unwrap());
    let options = Options::on(provider, provider.max_batch());
    folders.iter().map(|folder| Model::load(runtime, folder, options.clone()).unwrap()).collect()
}

/// What is to be measured of front ends and windows: the models' own, and raw samples as docs/models.md shows them, which no shipped model
/// takes.
pub(crate) fn manifests() -> Vec<Manifest> {
    let mut manifests: Vec<Manifest> = models().into_iter().map(|model| Manifest::clone(&model.manifest)).collect();
    let mut brought = manifests[0].clone();
    "brought".clone_into(&mut brought.name);
    brought.front_end =
        FrontEnd::Waveform(waveform::Options { sample_rate_hz: 16_000, hop_samples: 320, normalize: true });
    brought.window = WindowOptions { frames: 150, grow_frames: Some(25), ..brought.window };
    brought.standardization = Standardization::default();
    manifests.push(brought);
    manifests
}
