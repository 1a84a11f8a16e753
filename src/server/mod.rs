//! gRPC and the admin port over one [`Sessions`]. The only place that sees tonic, axum and generated types.
//!
//! [`Server::bind`] takes both ports and starts nothing; [`Listening::start`] serves; [`Server::stop`] drains. [`Server::launch`] does
//! it all from a configuration: loads ONNX Runtime and the models, binds, starts.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use metrics_exporter_prometheus::PrometheusRecorder;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Config, Source},
    inference,
    journal::{self, Audit, Draft, Feed, Feeder, Journal, Record},
    model::{self, onnx},
    session::{
        EngineWorker, Engines, Sessions, calibrate,
        shadow::{self, Making},
    },
    telemetry::{Metrics, metrics},
};

mod admin;
mod analyze;
mod bounds;
mod convert;
mod crew;
mod health;
pub mod json;
pub mod proto;
mod reload;
mod rules;
mod run;
mod service;
mod status;
mod supervise;
mod webhook;
mod whole;

pub use reload::{Loaded, Refused as ReloadRefused, Reloaded, Trigger};
pub use rules::Error as RulesError;
pub use status::{DRAINING, REASON_DOMAIN, STREAM_AGE};
pub use webhook::Error as WebhookError;

/// What a server serves by.
pub struct Deps {
    /// The models in service.
    pub engines: Engines,
    /// What runs them.
    pub workers: Vec<EngineWorker>,
    /// What is measured of calls.
    pub metrics: Metrics,
    /// Where all that is measured is kept.
    pub recorder: PrometheusRecorder,
    /// Where the configuration is read again.
    pub source: Source,
}

/// Both ports are taken, and nothing is served yet.
pub struct Listening {
    grpc: TcpListener,
    grpc_address: SocketAddr,
    admin: TcpListener,
    admin_address: SocketAddr,
    config: Config,
    source: Source,
    sessions: Sessions,
    feeder: Feeder,
    /// Where the journal says that this server starts, and under which name.
    started: u64,
    node: String,
    rules: rules::Ruleset,
    webhook: webhook::Webhook,
    workers: Vec<EngineWorker>,
    recorder: Arc<PrometheusRecorder>,
}

/// A server that serves.
pub struct Server {
    grpc_address: SocketAddr,
    admin_address: SocketAddr,
    sessions: Sessions,
    health: health::Health,
    reloader: Arc<reload::Reloader>,
    crew: crew::Crew,
    /// Cancelled when the calls have ended: connections are closed.
    closing: CancellationToken,
    watchers: supervise::Watchers,
    grpc: JoinHandle<()>,
    /// Cancelled when nothing more comes for the journal.
    closing_journal: CancellationToken,
    feeder: JoinHandle<usize>,
    /// Cancelled when the journal has all that there is to post.
    closing_webhook: CancellationToken,
    receivers: Vec<JoinHandle<()>>,
    /// The admin port, metrics' upkeep, and who watches over journal and rules.
    others: Vec<JoinHandle<()>>,
}

/// Why there is no server; the message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// ONNX Runtime.
    #[error(transparent)]
    OnnxRuntime(#[from] onnx::Error),
    /// A model.
    #[error(transparent)]
    Model(#[from] model::registry::Error),
    /// How models are to be run.
    #[error(transparent)]
    Inference(#[from] inference::Invalid),
    /// The model that is tried beside one of them.
    #[error(transparent)]
    Shadow(#[from] shadow::Error),
    /// A model that cannot be run.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// What this machine carries.
    #[error(transparent)]
    Calibrate(#[from] calibrate::Error),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// The file of alert rules.
    #[error(transparent)]
    Rules(#[from] rules::Error),
    /// The receivers of alerts.
    #[error(transparent)]
    Webhook(#[from] webhook::Error),
    /// A port.
    #[error(
        "cannot listen on {address}: {source}; end what uses it, or set {key} to another address (port 0 takes a free one)"
    )]
    Bind {
        /// The key in the configuration.
        key: &'static str,
        /// Its value.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A model that cannot be run, though it could be loaded.
#[derive(Debug, thiserror::Error)]
#[error("model {model:?}: {source}")]
pub struct WorkerError {
    /// Its name.
    pub model: String,
    /// Why.
    pub source: inference::Stopped,
}

/// A shutdown that left something undone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfinished {
    /// The drain's deadline passed; what was left was cut off.
    #[error(
        "not everything had ended {deadline:?} after the shutdown began: {legs} legs were cut off; a longer drain_deadline gives them time"
    )]
    CutOff {
        /// The deadline.
        deadline: Duration,
        /// Legs that were still live.
        legs: usize,
    },
    /// The journal could not be written.
    #[error(
        "what was to be deleted is still in the journal, {deletions} times, because it could not be written; the log names the calls: withdraw \
         consent again, or delete them, once the journal can be written"
    )]
    NotDeleted {
        /// Withdrawals and deletions that were not done.
        deletions: usize,
    },
}

impl Deps {
    /// Loads ONNX Runtime and the models. Takes seconds.
    pub fn load(config: &Config, source: Source) -> Result<Self, Error> {
        let runtime = onnx::Runtime::load(config.onnxruntime.library.as_deref())?;
        let registry = model::Registry::load(runtime, &config.models, &config.inference.session_options())?;
        let recorder = metrics::recorder();
        let (engines, mut workers) = Engines::new(registry, &config.inference, &recorder, Arc::clone)?;
        let making = Making { runtime, inference: &config.inference, recorder: &recorder };
        let (engines, of_shadow) = engines.with_shadow(None, &config.shadow, &making)?;
        workers.extend(of_shadow);
        prepare(&mut workers)?;
        if config.session.calibrate || config.session.max_windows_per_second.is_none() {
            engines.calibrate(config.session.messages_per_second)?;
        }
        Ok(Self { engines, workers, metrics: Metrics::new(&recorder), recorder, source })
    }
}

impl Server {
    /// Loads, binds and starts. Models and rules may be read again, the configuration stays.
    pub async fn launch(config: &Config) -> Result<Self, Error> {
        Self::launch_from(config, Source::fixed(config.clone())).await
    }

    /// Loads, binds and starts by a configuration that was read from `source`, and can be again.
    pub async fn launch_from(config: &Config, source: Source) -> Result<Self, Error> {
        let of_loading = config.clone();
        let loaded = tokio::task::spawn_blocking(move || Deps::load(&of_loading, source)).await;
        let deps = loaded.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        Ok(Self::bind(config, deps).await?.start().await)
    }

    /// Opens the journal, reads the rules, takes both ports, and tells the journal that a server starts, with its policy and rules.
    pub async fn bind(config: &Config, deps: Deps) -> Result<Listening, Error> {
        let options = config.journal();
        let journal = Journal::open(&options, deps.metrics.journal.clone()).await?;
        let (feed, feeder) = Feed::pair(journal.clone(), options.buffer);
        let limits = config.session.clone();
        deps.engines.tell_providers(None, &deps.recorder);
        let sessions = Sessions::new(limits, config.policy.clone(), deps.engines, deps.metrics, feed);
        let rules = rules::read(&config.alerts, sessions.engines().registry()).await?;
        rules.warnings(&config.policy).iter().for_each(|warning| tracing::warn!("{warning}"));
        sessions.set_rules(rules.rules.clone());
        let shared = config.journal.engine == journal::EngineKind::Jetstream;
        let (node, of_posts) = (shared.then(|| options.node_name()), sessions.metrics().webhook.clone());
        let webhook = webhook::Webhook::prepare(&config.webhook, &journal, node, of_posts).await?;
        let (grpc, grpc_address) = listen("listen", config.listen).await?;
        let (admin, admin_address) = listen("admin", config.admin).await?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let (policy, of_rules) = (config.policy.clone(), rules.version());
        let started = Record::Audit(Audit::Started { version, policy, rules: of_rules });
        let started = sessions.tell_started(Draft::new(SystemTime::now(), started)).await?;
        // Before any call: one whose consent was withdrawn may come again at once.
        sessions.recall(started).await?;
        Ok(Listening {
            started,
            node: options.node_name(),
            feeder,
            grpc,
            grpc_address,
            admin,
            admin_address,
            config: config.clone(),
            source: deps.source,
            sessions,
            rules,
            webhook,
            workers: deps.workers,
            recorder: Arc::new(deps.recorder),
        })
    }

    /// Where gRPC is served.
    pub fn grpc(&self) -> SocketAddr {
        self.grpc_address
    }

    /// Where the admin port is.
    pub fn admin(&self) -> SocketAddr {
        self.admin_address
    }

    /// Reads configuration, models and rules again and takes all of it, or nothing; logged and counted either way.
    ///
    /// # Errors
    /// [`ReloadRefused`] says why everything stays as it was.
    pub async fn reload(&self, trigger: Trigger) -> Result<Reloaded, ReloadRefused> {
        Arc::clone(&self.reloader).reload(trigger).await
    }

    /// The calls.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }
}

impl Listening {
    /// Where gRPC will be served.
    pub fn grpc(&self) -> SocketAddr {
        self.grpc_address
    }

    /// Where the admin port will be.
    pub fn admin(&self) -> SocketAddr {
        self.admin_address
    }
}

/// Makes every session now, so that none is missing once calls rely on it, and the first window waits for none.
fn prepare(workers: &mut [EngineWorker]) -> Result<(), WorkerError> {
    workers.iter_mut().try_for_each(|EngineWorker { worker, model, .. }| {
        worker.prepare().map_err(|source| WorkerError { model: model.clone(), source })
    })
}

async fn listen(key: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let refused = |source| Error::Bind { key, address, source };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    Ok((listener, bound))
}
