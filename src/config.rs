//! How a server is to run: defaults, then a TOML file, then the environment, then flags; each overrides what came before.
//!
//! The variable of `session.idle_timeout` is `UNDERTONE_SESSION__IDLE_TIMEOUT`. A key that is not known is an error wherever it
//! stands. Durations are written as "30s" or "500ms". Relative paths are relative to the working directory. [`Config::validate`]
//! is to be called before anything is bound or loaded; [`Config::load`] does.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    inference, journal,
    model::onnx::{self, Provider},
    policy::Policy,
    telemetry,
};

mod changes;
mod load;
pub mod shadow;
mod source;
#[cfg(test)]
mod tests;
mod validate;
pub mod webhook;
mod words;

pub use changes::Changes;
pub use load::{Error, Flags, InferenceFlags, SessionFlags};
pub use shadow::Shadow;
pub use source::Source;
pub use validate::Invalid;
pub use webhook::Webhook;

/// The journal's file, where nothing else is said.
const JOURNAL: &str = "undertone.db";

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where gRPC is served; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where /livez, /readyz, /metrics and /reload are served; port 0 takes a free one.
    pub admin: SocketAddr,
    /// Permits addresses that other machines reach, although nobody has to authenticate.
    pub allow_insecure: bool,
    /// Folders of models; the first is the default. Empty: `models/telephone`, where it is found.
    pub models: Vec<PathBuf>,
    /// How long a shutdown waits for calls to get their summaries.
    #[serde(with = "humantime_serde")]
    pub drain_deadline: Duration,
    /// What runs the models.
    pub onnxruntime: OnnxRuntime,
    /// How it runs them.
    pub inference: Inference,
    /// A model that is tried beside one in service.
    pub shadow: Shadow,
    /// What a call may take.
    pub session: Session,
    /// What keeps connections alive.
    pub http2: Http2,
    /// Who may be analysed.
    pub policy: Policy,
    /// What outlives the process.
    pub journal: journal::Options,
    /// When alerts are told.
    pub alerts: Alerts,
    /// Who else is told of them.
    pub webhook: Webhook,
    /// What is logged, and how.
    pub log: telemetry::Log,
    /// Whether calls are traced, and where to.
    pub telemetry: telemetry::Telemetry,
}

/// ONNX Runtime.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OnnxRuntime {
    /// Its shared library. Left out: `ORT_DYLIB_PATH`, then beside the executable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<PathBuf>,
}

/// How models are run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Inference {
    /// What runs the networks.
    pub provider: Provider,
    /// Which GPU, as CUDA counts them.
    pub device_id: u16,
    /// Whether models run on the CPU where the provider cannot be had; else that is an error.
    pub fallback_to_cpu: bool,
    /// Where TensorRT keeps the engines that it has built. Left out: nowhere, so that it builds them at every start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine_cache: Option<PathBuf>,
    /// Threads a model; 1 to 1024. Left out: one a core that the process may use, since what a network and features take of the cores differs
    /// by model, and a core without a thread would score nothing; 1 for a GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// Windows run at once at most; 1 to 4096. Left out: 8, or 64 on a GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_batch: Option<usize>,
    /// How long the oldest waiting window waits for others; at most 20 ms.
    #[serde(with = "humantime_serde")]
    pub max_wait: Duration,
    /// Windows of one model that may wait; one more, and the oldest of the busiest leg is given up; 1 to 524288. Left out: 512 a thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_capacity: Option<usize>,
}

/// What a call may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Session {
    /// Legs that may be live at once; a call beyond is refused. It bounds memory.
    pub max_legs: usize,
    /// Windows a second that the live legs may need, all together; a call beyond is refused. A leg needs one a stride. Left out: three
    /// quarters of what this machine is measured to carry at the start, which takes about a second a model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_windows_per_second: Option<u32>,
    /// Measures what this machine carries even where `max_windows_per_second` is set, takes that for it, and tells it when it serves.
    pub calibrate: bool,
    /// Messages a second that a call is reckoned to send where the machine is measured: 10 are chunks of 100 ms, 50 of 20 ms.
    pub messages_per_second: u32,
    /// A call without any message for so long is ended.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// A call on hold without any message for so long is ended; at least `idle_timeout`.
    #[serde(with = "humantime_serde")]
    pub hold_timeout: Duration,
    /// Time between two statuses; at most 10 s.
    #[serde(with = "humantime_serde")]
    pub status_interval: Duration,
    /// How long the end of a call waits for windows that are still out; less than `drain_deadline`.
    #[serde(with = "humantime_serde")]
    pub close_timeout: Duration,
    /// How long the state of a call whose client vanished is kept, so that the same call can go on; at most `idle_timeout` counts. 0s keeps
    /// nothing.
    #[serde(with = "humantime_serde")]
    pub resume_grace: Duration,
    /// A stream so old is ended, and its call kept to go on by another: on another connection, so that long calls do not stay on one
    /// server for ever. Each ends at random within the last fifth of it. At least 1 s, and only with a `resume_grace`. Left out: never.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub max_stream_age: Option<Duration>,
    /// Events kept for a client that reads slowly; one more, and the oldest is dropped and counted.
    pub event_buffer: usize,
    /// A client that reads nothing for so long, while something waits for it, has its call ended.
    #[serde(with = "humantime_serde")]
    pub stall_timeout: Duration,
    /// Windows of one call that may be out; at more, its audio is read when some are back. Only a client that sends much faster than
    /// real time gets there.
    pub max_windows_out: usize,
    /// Recordings that may be classified at once; one more is refused, and one for which live calls leave no room.
    pub max_classifications: usize,
    /// Streams of WatchAlerts and WatchCalls that may stand at once; one more is refused.
    pub max_watchers: usize,
    /// Calls that may be registered beforehand at once; one more is refused.
    pub max_registrations: usize,
}

/// What keeps connections alive, and finds those that are dead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http2 {
    /// Time between two pings.
    #[serde(with = "humantime_serde")]
    pub keepalive_interval: Duration,
    /// A connection whose ping is not answered for so long is closed.
    #[serde(with = "humantime_serde")]
    pub keepalive_timeout: Duration,
}

/// When alerts are told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alerts {
    /// A file of rules. Left out: the rules that are shipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<PathBuf>,
    /// Time between two looks at whether that file has changed.
    #[serde(with = "humantime_serde")]
    pub reload_interval: Duration,
}

impl Config {
    /// Defaults, `file`, the environment and `flags`, put together and validated.
    pub fn load(file: Option<&Path>, flags: &Flags) -> Result<Self, Error> {
        let config = load::gather(file, flags)?;
        config.validate()?;
        Ok(config)
    }

    /// The journal's options, with what is left out put in. The file is the service manager's to place (`STATE_DIRECTORY`), else in the
    /// working directory; a server on a free port, which is nobody's for long, keeps its journal in memory.
    pub fn journal(&self) -> journal::Options {
        let mut options = self.journal.clone();
        let port = self.listen.port();
        options.node.get_or_insert_with(|| match port {
            // No other server may have the same.
            0 => format!("{}-{:08x}", journal::machine_name(), uuid::Uuid::new_v4().as_fields().0),
            port => format!("{}-{port}", journal::machine_name()),
        });
        if options.path.is_none() {
            let of_manager = std::env::var_os("STATE_DIRECTORY").filter(|folder| !folder.is_empty());
            let of_manager = of_manager.map(|folder| PathBuf::from(folder).join(JOURNAL));
            options.path = of_manager.or_else(|| (port != 0).then(|| JOURNAL.into()));
        }
        options
    }

    /// The whole of it as TOML.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }
}

impl Inference {
    /// As sessions take it.
    pub fn session_options(&self) -> onnx::Options {
        let max_batch = self.max_batch.unwrap_or(self.provider.max_batch());
        onnx::Options {
            device_id: self.device_id.into(),
            engine_cache: self.engine_cache.clone(),
            fallback_to_cpu: self.fallback_to_cpu,
            ..onnx::Options::on(self.provider, max_batch)
        }
    }

    /// As [`crate::inference`] takes it, for a model that runs on this provider.
    pub fn options(&self, provider: Provider) -> inference::Options {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads = match provider {
            Provider::Cpu => cores,
            // All threads would wait for the same GPU, each with the network in its memory.
            Provider::Cuda | Provider::Tensorrt => 1,
        };
        let threads = self.threads.unwrap_or(threads);
        let capacity = inference::Options::default().queue.capacity.saturating_mul(threads);
        inference::Options {
            threads,
            queue: inference::queue::Options {
                capacity: self.queue_capacity.unwrap_or(capacity),
                max_batch: self.max_batch.unwrap_or(provider.max_batch()),
                max_wait: self.max_wait,
            },
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 50051)),
            admin: SocketAddr::from(([127, 0, 0, 1], 9600)),
            allow_insecure: false,
            models: Vec::new(),
            // Below the 30 s that systemd and Kubernetes commonly grant before they kill.
            drain_deadline: Duration::from_secs(20),
            onnxruntime: OnnxRuntime::default(),
            inference: Inference::default(),
            shadow: Shadow::default(),
            session: Session::default(),
            http2: Http2::default(),
            policy: Policy::default(),
            journal: journal::Options::default(),
            alerts: Alerts::default(),
            webhook: Webhook::default(),
            log: telemetry::Log::default(),
            telemetry: telemetry::Telemetry::default(),
        }
    }
}

impl Default for Inference {
    fn default() -> Self {
        let queue = inference::Options::default().queue;
        Self {
            provider: Provider::Cpu,
            device_id: 0,
            fallback_to_cpu: false,
            engine_cache: None,
            threads: None,
            max_batch: None,
            max_wait: queue.max_wait,
            queue_capacity: None,
        }
    }
}

impl Default for Session {
    fn default() -> Self {
        Self {
            // 2.6 GB at 256 KiB a leg, 2.8 at the 272 of 44.1 and 48 kHz; what the machine can score in time is bounded by `max_windows_per_second`.
            max_legs: 10_000,
            max_windows_per_second: None,
            calibrate: false,
            messages_per_second: 10,
            idle_timeout: Duration::from_secs(30),
            // Longer holds are rare, and a forgotten one must not keep its place for ever.
            hold_timeout: Duration::from_secs(30 * 60),
            // Each is a little late, and none may be later than 10 s.
            status_interval: Duration::from_secs(9),
            close_timeout: Duration::from_secs(5),
            // With the 25 s after which a dead connection is found, a place is free again within a minute.
            resume_grace: Duration::from_secs(30),
            max_stream_age: None,
            // Two minutes of one leg at the default stride of 0.5 s.
            event_buffer: 240,
            stall_timeout: Duration::from_secs(30),
            // 16 s of one leg at the default stride: far beyond what a call in real time has out.
            max_windows_out: 32,
            max_classifications: 4,
            // A watcher that reads nothing takes about 100 KiB.
            max_watchers: 2_000,
            // At up to 6 KiB each, 600 MB if every tag is as long as it may be, and 50 MB as calls are commonly tagged.
            max_registrations: 100_000,
        }
    }
}

impl Default for Alerts {
    fn default() -> Self {
        // Soon enough for whoever changes a rule and looks for it.
        Self { rules: None, reload_interval: Duration::from_secs(5) }
    }
}

impl Default for Http2 {
    fn default() -> Self {
        // Below the 60 s after which common load balancers close what is idle.
        Self { keepalive_interval: Duration::from_secs(15), keepalive_timeout: Duration::from_secs(10) }
    }
}
