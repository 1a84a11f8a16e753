//! What this machine can carry: how long a window and a second of audio take, and so how many windows a second calls may need.
//!
//! [`measure`] runs a model's own front end and network on one thread, the best of some tries, so that other work on the machine
//! disturbs it little. What a message costs on its way through gRPC depends on the client as well; [`MESSAGE`] stands for it. Of two
//! limits the narrower counts: what the cores carry of all work, and what the threads that run networks score.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    features::{self, Pipeline, PipelineOptions},
    model::{self, Classifier as _, Model, onnx::Provider},
};

/// What a message of a call takes beside features and network, as chunks of 20 ms were measured beside chunks of 100 ms (docs/performance.md).
const MESSAGE: Duration = Duration::from_micros(9);
/// What a second of call takes beside its messages, features and network: its events, its task and its timers.
const TASK: Duration = Duration::from_micros(60);

/// The part of a machine that calls may take: beyond it queues grow and latency with them.
pub const SAFETY: f64 = 0.75;

/// Windows a second for each core where nothing was measured and nothing configured, as after a reload that takes the configured limit
/// away: [`SAFETY`] of the 728 calls of `telephone` that one core carried (docs/performance.md).
pub const WINDOWS_PER_CORE: f64 = SAFETY * 2.0 * 728.0;

/// The stride by which windows a second are counted: the default.
const STRIDE: Duration = Duration::from_millis(500);

/// Tries of each measurement, which are fewer where they take longer than this in all: a start must not wait for a large network.
const TRIES: usize = 3;
const PATIENCE: Duration = Duration::from_millis(300);
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
    /// For a window's assembly.
    pub assembly: Duration,
    /// For a window in the network: its part of a batch.
    pub network: Duration,
    /// Whether the network takes that of a GPU, and not of the cores.
    pub on_gpu: bool,
}

/// What there is to carry calls with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Cores that this process may use.
    pub cores: usize,
    /// Threads that run the model's network.
    pub threads: usize,
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
    /// What a window takes of the cores.
    fn window(self) -> Duration {
        if self.on_gpu { self.assembly } else { self.assembly + self.network }
    }

    /// What a call of the default stride takes of the cores for each of its windows, all counted.
    fn unit(self) -> f64 {
        self.window().as_secs_f64() + self.second.as_secs_f64() * STRIDE.as_secs_f64()
    }

    /// What calls of this model weigh where those of `default` are the measure.
    pub fn cost(self, default: Self) -> Cost {
        let unit = default.unit();
        Cost { per_second: self.second.as_secs_f64() / unit, per_window: self.window().as_secs_f64() / unit }
    }

    /// Windows a second of this model that the cores carry and the threads, or the one GPU that they all wait for, score.
    pub fn windows_per_second(self, room: Room) -> f64 {
        let at_once = if self.on_gpu { 1 } else { room.threads.min(room.cores) };
        let scored = at_once as f64 * SAFETY / self.network.as_secs_f64();
        (room.cores as f64 * SAFETY / self.unit()).min(scored)
    }
}

/// Cores that this process may use.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Measures a model whose windows are run in batches of `batch`, for calls of so many messages a second. Takes about half a second of
/// one core, and, of a network that takes longer, a batch or two.
///
/// # Errors
/// [`Error`] when the model cannot be run at all.
pub fn measure(model: &Model, batch: usize, messages: u32) -> Result<Measured, Error> {
    let voice = voice();
    // Without the gate everything counts as speech, so that windows are assembled whatever the gate thinks of this voice.
    let heard = listen(model, &voice, 5.0, true)?;
    let (seldom, often) = (listen(model, &voice, 5.0, false)?, listen(model, &voice, 0.25, false)?);
    let windows = AUDIO_SECONDS as u32 * 4 - AUDIO_SECONDS as u32 / 5;
    let assembly = often.saturating_sub(seldom) / windows;
    let second = heard / AUDIO_SECONDS as u32 + TASK + messages * MESSAGE;
    let network = run(model, batch)?;
    Ok(Measured { second, assembly, network, on_gpu: model.provider() != Provider::Cpu })
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
        let mut batches = 0;
        while batches < BATCHES && (batches == 0 || began.elapsed() < PATIENCE) {
            session.run(&windows, batch)?;
            batches += 1;
        }
        Ok(began.elapsed() / batches)
    })?;
    Ok(time / u32::try_from(batch).unwrap_or(u32::MAX))
}

/// The least of some tries, of one at least.
fn best(mut time: impl FnMut() -> Result<Duration, Error>) -> Result<Duration, Error> {
    let began = Instant::now();
    let mut least = time()?;
    for _ in 1..TRIES {
        if began.elapsed() >= PATIENCE {
            break;
        }
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

    fn measured(second: u32, assembly: u32, network: u32) -> Measured {
        Measured { second: second * MICRO, assembly: assembly * MICRO, network: network * MICRO, on_gpu: false }
    }

    fn carried(measured: Measured, cores: usize, threads: usize) -> f64 {
        measured.windows_per_second(Room { cores, threads })
    }

    #[test]
    fn a_leg_of_the_default_model_and_stride_weighs_its_windows() {
        let measured = measured(400, 50, 150);
        let cost = measured.cost(measured);
        assert!((cost.of(STRIDE) - 2.0).abs() < 1e-9);
        // Four windows and a second of audio, of 400 µs a window all counted.
        assert!((cost.of(STRIDE / 2) - 3.0).abs() < 1e-9);
        assert!((carried(measured, 2, 2) - 2.0 * SAFETY / 400e-6).abs() < 1e-6);
    }

    #[test]
    fn no_more_is_taken_than_the_threads_score() {
        // As `telephone`: 0.7 ms in the network, 0.8 ms in all.
        let telephone = measured(150, 20, 700);
        let unit = 20e-6 + 700e-6 + 75e-6;
        assert!((carried(telephone, 2, 1) - SAFETY / 700e-6).abs() < 1e-6);
        assert!((carried(telephone, 8, 4) - 4.0 * SAFETY / 700e-6).abs() < 1e-6);
        assert!((carried(telephone, 2, 2) - 2.0 * SAFETY / unit).abs() < 1e-6);
        // Threads beyond the cores score no more.
        assert!((carried(telephone, 2, 16) - carried(telephone, 2, 2)).abs() < 1e-6);
        // As `cnn-bilstm`, whose features take as long as its network: one thread of two cores is enough.
        let thesis = measured(380, 40, 200);
        assert!((carried(thesis, 2, 1) - 2.0 * SAFETY / 430e-6).abs() < 1e-6);
        assert!((carried(thesis, 1, 1) - SAFETY / 430e-6).abs() < 1e-6);
    }

    #[test]
    fn of_cores_and_gpu_the_narrower_counts() {
        let on_gpu = |network| Measured { on_gpu: true, ..measured(400, 200, network) };
        assert!((carried(on_gpu(800), 2, 1) - SAFETY / 800e-6).abs() < 1e-6);
        // All threads wait for one GPU.
        assert!((carried(on_gpu(800), 2, 4) - SAFETY / 800e-6).abs() < 1e-6);
        assert!((carried(on_gpu(1), 2, 1) - 2.0 * SAFETY / 400e-6).abs() < 1e-6);
    }

    #[test]
    fn a_measurement_that_takes_long_is_not_repeated() {
        let mut tries = 0;
        let mut took = |each: Duration| {
            tries = 0;
            let least = best(|| {
                tries += 1;
                std::thread::sleep(each);
                Ok(each * tries)
            });
            (least.unwrap(), tries)
        };
        assert_eq!(took(PATIENCE), (PATIENCE, 1));
        assert_eq!(took(Duration::from_micros(10)).1, 3);
    }

    #[test]
    fn a_model_that_takes_twice_as_long_weighs_twice_as_much() {
        let (default, other) = (measured(400, 50, 150), measured(800, 100, 300));
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
        let (seldom, often) = (measure(&model, 8, 10).unwrap(), measure(&model, 8, 10_000).unwrap());
        assert!(seldom.second > TASK && seldom.network > Duration::ZERO, "{seldom:?}");
        assert!(often.second > seldom.second + 5_000 * MESSAGE, "{seldom:?} {often:?}");
    }
}
