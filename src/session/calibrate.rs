//! What this machine can carry: how long a window and a second of audio take, and so how many windows a second calls may need.
//!
//! [`measure`] runs a model's own front end and network on one thread, the best of some tries, so that other work on the machine
//! disturbs it little. What a message costs on its way through gRPC depends on the client as well; [`WIRE`] stands for it.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    features::{self, Pipeline, PipelineOptions},
    model::{self, Classifier as _, Model, onnx::Provider},
};

/// What the messages of a second of call take beside features and network: ten of 100 ms, as tonic was derived to take them (docs/performance.md).
const WIRE: Duration = Duration::from_micros(150);

/// The part of a machine that calls may take: beyond it queues grow and latency with them.
pub const SAFETY: f64 = 0.75;

/// Windows a second for each core where nothing was measured and nothing configured: what one core was derived to carry at most
/// (docs/performance.md).
pub const WINDOWS_PER_CORE: f64 = 2_600.0;

/// The stride by which windows a second are counted: the default.
const STRIDE: Duration = Duration::from_millis(500);

/// Tries of each measurement.
const TRIES: usize = 3;
/// Audio in one try.
const AUDIO_SECONDS: usize = 4;
/// Batches in one try.
const BATCHES: u32 = 6;
/// The telephone's rate, at which most calls come.
const RATE_HZ: u32 = 8_000;

/// What cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The front end.
    #[error("the model's front end cannot be measured: {0}")]
    Features(#[from] features::Error),
    /// The network.
    #[error("the model's network cannot be measured: {0}")]
    Network(#[from] model::onnx::Error),
    /// A run of it.
    #[error("the model's network cannot be measured: {0}")]
    Run(#[from] model::Error),
}

/// What a model's calls take on one core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// For a second of one leg's audio: its messages, samples and frames.
    pub second: Duration,
    /// For a window: its assembly, and, where the network runs on the CPU, its part of a batch.
    pub window: Duration,
    /// What a window takes of the GPU, where the network runs on one: its part of a batch.
    pub gpu: Option<Duration>,
}

/// What a model's calls weigh, in windows of the default model at the default stride.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    per_second: f64,
    per_window: f64,
}

impl Default for Cost {
    /// Every window weighs 1.
    fn default() -> Self {
        Self { per_second: 0.0, per_window: 1.0 }
    }
}

impl Cost {
    /// The weight of a leg with this stride, in windows a second.
    pub fn of(self, stride: Duration) -> f64 {
        self.per_second + self.per_window / stride.as_secs_f64()
    }
}

impl Measured {
    /// What a call of the default stride takes for each of its windows, all counted.
    fn unit(self) -> f64 {
        self.window.as_secs_f64() + self.second.as_secs_f64() * STRIDE.as_secs_f64()
    }

    /// What calls of this model weigh where those of `default` are the measure.
    pub fn cost(self, default: Self) -> Cost {
        let unit = default.unit();
        Cost { per_second: self.second.as_secs_f64() / unit, per_window: self.window.as_secs_f64() / unit }
    }

    /// Windows a second of this model that so many cores, and the GPU, carry.
    pub fn windows_per_second(self, cores: usize) -> f64 {
        let by_gpu = self.gpu.map_or(f64::INFINITY, |window| SAFETY / window.as_secs_f64());
        (cores as f64 * SAFETY / self.unit()).min(by_gpu)
    }
}

/// Cores that this process may use.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Measures a model whose windows are run in batches of `batch`. Takes about half a second of one core.
///
/// # Errors
/// [`Error`] when the model cannot be run at all.
pub fn measure(model: &Model, batch: usize) -> Result<Measured, Error> {
    let voice = voice();
    // Without the gate everything counts as speech, so that windows are assembled whatever the gate thinks of this voice.
    let heard = listen(model, &voice, 5.0, true)?;
    let (seldom, often) = (listen(model, &voice, 5.0, false)?, listen(model, &voice, 0.25, false)?);
    let windows = AUDIO_SECONDS as u32 * 4 - AUDIO_SECONDS as u32 / 5;
    let assembly = often.saturating_sub(seldom) / windows;
    let second = heard / AUDIO_SECONDS as u32 + WIRE;
    let network = run(model, batch)?;
    Ok(match model.provider() {
        Provider::Cpu => Measured { second, window: assembly + network, gpu: None },
        Provider::Cuda | Provider::Tensorrt => Measured { second, window: assembly, gpu: Some(network) },
    })
}

/// The time that the recording takes.
fn listen(model: &Model, voice: &[f32], stride_seconds: f64, gate: bool) -> Result<Duration, Error> {
    let manifest = &model.manifest;
    let options = PipelineOptions { source_hz: RATE_HZ, stride_seconds, gate };
    best(|| {
        let mut pipeline = Pipeline::new(&manifest.front_end, &manifest.window, &manifest.standardization, &options)?;
        let began = Instant::now();
        for chunk in voice.chunks(RATE_HZ as usize / 10) {
            pipeline.push(chunk);
            while pipeline.poll().is_some() {}
        }
        Ok(began.elapsed())
    })
}

/// The time that a window takes in a batch.
fn run(model: &Model, batch: usize) -> Result<Duration, Error> {
    let mut session = model.session()?;
    let values = model.manifest.window.frames * model.manifest.front_end.values();
    let windows = vec![0.0; batch * values];
    let time = best(|| {
        let began = Instant::now();
        for _ in 0..BATCHES {
            session.run(&windows, batch)?;
        }
        Ok(began.elapsed())
    })?;
    Ok(time / (BATCHES * u32::try_from(batch).unwrap_or(u32::MAX)))
}

/// The least of some tries.
fn best(mut time: impl FnMut() -> Result<Duration, Error>) -> Result<Duration, Error> {
    let mut least = time()?;
    for _ in 1..TRIES {
        least = least.min(time()?);
    }
    Ok(least)
}

/// Something like a voice: harmonics of 140 Hz that swell at the pace of syllables.
fn voice() -> Vec<f32> {
    let turns = |hz: f32, n: usize| (std::f32::consts::TAU * hz * n as f32 / RATE_HZ as f32).sin();
    (0..AUDIO_SECONDS * RATE_HZ as usize)
        .map(|n| {
            let harmonics: f32 = (1..12_u8).map(|k| turns(140.0 * f32::from(k), n) / f32::from(k)).sum();
            0.15 * (0.6 + 0.4 * turns(4.0, n)) * harmonics
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: Duration = Duration::from_micros(1);

    #[test]
    fn a_leg_of_the_default_model_and_stride_weighs_its_windows() {
        let measured = Measured { second: 400 * MICRO, window: 200 * MICRO, gpu: None };
        let cost = measured.cost(measured);
        assert!((cost.of(STRIDE) - 2.0).abs() < 1e-9);
        // Four windows and a second of audio, of 400 µs a window all counted.
        assert!((cost.of(STRIDE / 2) - 3.0).abs() < 1e-9);
        assert!((measured.windows_per_second(2) - 2.0 * SAFETY / 400e-6).abs() < 1e-6);
        // Whichever is the narrower.
        let on_gpu = |window| Measured { gpu: Some(window), ..measured }.windows_per_second(2);
        assert!((on_gpu(800 * MICRO) - SAFETY / 800e-6).abs() < 1e-6);
        assert!((on_gpu(MICRO) - 2.0 * SAFETY / 400e-6).abs() < 1e-6);
    }

    #[test]
    fn a_model_that_takes_twice_as_long_weighs_twice_as_much() {
        let default = Measured { second: 400 * MICRO, window: 200 * MICRO, gpu: None };
        let other = Measured { second: 800 * MICRO, window: 400 * MICRO, gpu: None };
        assert!((other.cost(default).of(STRIDE) - 4.0).abs() < 1e-9);
    }

    #[test]
    fn unmeasured_windows_weigh_one_each() {
        assert!((Cost::default().of(Duration::from_millis(250)) - 4.0).abs() < 1e-9);
    }

    #[test]
    fn a_model_is_measured() {
        let runtime = model::onnx::Runtime::load(None).unwrap();
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models/tiny");
        let model = Model::load(runtime, &dir, model::onnx::Options::default()).unwrap();
        let measured = measure(&model, 8).unwrap();
        assert!(measured.second > WIRE && measured.window > Duration::ZERO, "{measured:?}");
    }
}
