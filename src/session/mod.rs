//! Calls that live: admission, one task a call, the registry of their legs. What every way in calls, whatever its wire.
//!
//! An ingest makes a [`Request`] of what its platform says and [`Sessions::open`]s it: a [`Session`] that holds the call's legs in
//! the registry until it is dropped, or a [`Refusal`]. In a task of [`Sessions::spawn`] it then runs [`Session::run`] with a stream of
//! [`Input`]s and a bounded channel to the client:
//!
//! | what happens | what the client is told, in this order |
//! |---|---|
//! | begin | the acknowledgement |
//! | audio, control | events, statuses |
//! | [`Input::End`] or the end of inputs | summaries, [`End::Completed`] |
//! | no message for the idle time-out | summaries, [`End::Idle`] |
//! | the server drains | summaries, [`End::Draining`] |
//! | inference fails for good | summaries, [`End::Failed`] |
//! | an input that the ingest found invalid | summaries, [`End::Invalid`] |
//! | the client takes nothing for the stall time-out | nothing more, [`End::Stalled`] |
//! | the client is gone | nothing for `resume_grace`, in which the same call may go on by another stream; then [`End::Vanished`] |
//! | another stream takes over | summaries, [`End::TakenOver`] |
//! | the stream is as old as it may be | nothing, [`End::Aged`]; the call is kept as if the client were gone |
//!
//! What each call tells goes to the journal too ([`crate::journal`]), which no call waits for; calls that live are on a board for those
//! who watch, and can be reached from there.
//!
//! Everything here needs tokio's multi-threaded runtime.

use std::{
    any::Any,
    collections::BTreeMap,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    audio::Encoding,
    config,
    decision::Rules,
    features,
    journal::Feed,
    model,
    policy::{self, Circumstances, Consent, Policy, Role},
    telemetry::{Metrics, trace},
};

mod actions;
mod age;
mod alarm;
mod board;
pub mod calibrate;
mod chronicle;
mod classify;
mod driver;
mod engine;
mod lost;
mod measure;
mod message;
mod open;
mod outbox;
mod peers;
mod recordings;
mod register;
mod registry;
mod resume;
pub mod shadow;
mod spread;
mod stream;
mod supervise;
mod terms;
mod turn;
mod view;
mod withdraw;
mod withdrawals;

pub use board::{LiveCall, LiveLeg, OpenAlert};
pub use classify::{Classification, Recording};
pub use engine::{Engine, EngineWorker, Engines};
pub use message::{AcknowledgedLeg, Acknowledgement, Message};
pub use open::Session;
pub use registry::Live;
pub use stream::{End, Fault, Input};
pub use supervise::Denied;
pub use terms::Terms;
pub use view::{CallView, LegView, View};
pub use withdraw::Forgotten;

/// What a call asks for. Every value is in the range that [`crate::call`] takes.
#[derive(Debug, Clone)]
pub struct Request {
    /// The call, by the client's own id.
    pub call_id: String,
    /// How samples are written.
    pub encoding: Encoding,
    /// Samples a second and channel.
    pub sample_rate_hz: u32,
    /// One a channel, in order, each with an id of its own.
    pub legs: Vec<LegRequest>,
    /// Free labels of the call.
    pub tags: BTreeMap<String, String>,
    /// Whether the people in the call were told.
    pub notice_given: bool,
    /// What the customer said to it.
    pub consent: Consent,
    /// Time between two decisions.
    pub stride: Duration,
    /// A model's name; `None` for the default.
    pub model: Option<String>,
    /// Ends another stream that has a leg of this call.
    pub takeover: bool,
}

/// One party's audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegRequest {
    /// Names it in every answer.
    pub leg_id: String,
    /// Who speaks.
    pub role: Role,
    /// The speaker, by the client's pseudonymous id.
    pub subject: Option<String>,
}

/// Why a call or recording is not taken; the message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no such model.
    #[error(transparent)]
    Model(#[from] model::registry::NotFound),
    /// The policy does not permit it.
    #[error(transparent)]
    Policy(#[from] policy::Refusal),
    /// Consent was withdrawn.
    #[error(
        "consent for {what} was withdrawn within the last 24 hours, so it is not analysed, whatever is said of it now; do not send it again, \
         and give another call another call_id"
    )]
    Withdrawn {
        /// The call, or the leg of it.
        what: String,
    },
    /// The same leg of the same call is live.
    #[error(transparent)]
    Live(#[from] Live),
    /// A leg of it is kept after a break, and was another call's by its configuration.
    #[error(
        "this call broke off and is kept to go on, but {what} is not as it was then; send the configuration that it began with, or set \
         takeover to end it and begin anew"
    )]
    Differs {
        /// What differs.
        what: &'static str,
    },
    /// More than the server takes at once.
    #[error("the server takes {limit} {what} at once and has no room for more; try again later or on another server")]
    Full {
        /// "legs" or "classifications".
        what: &'static str,
        /// How many it takes.
        limit: usize,
    },
    /// More windows a second than the server scores in time.
    #[error(
        "the server scores {windows_per_second} windows a second and has no room for more; try again later or on another server, or \
         with a longer stride"
    )]
    Busy {
        /// How many it scores.
        windows_per_second: f64,
    },
    /// Live calls and the recordings in work leave no room for another.
    #[error(
        "the server scores {windows_per_second} windows a second, and live calls and other recordings leave no room for one more; try again \
         later or on another server"
    )]
    Occupied {
        /// How many it scores.
        windows_per_second: f64,
    },
    /// The server is on its way out.
    #[error("the server is shutting down; try again, on another server if there is one")]
    Draining,
    /// The model's inference stopped for good.
    #[error("the model cannot be run at present; try another model or server")]
    Failed,
    /// This audio cannot be analysed by this model.
    #[error(transparent)]
    Analysis(#[from] features::Error),
}

/// All calls of one server. Cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    shared: Arc<Shared>,
}

struct Shared {
    /// What new calls are taken by.
    terms: ArcSwap<Terms>,
    /// What served under terms before these, and may serve legs still. Locked while terms are exchanged.
    retired: Mutex<Vec<Weak<Engine>>>,
    rules: Arc<ArcSwap<Rules>>,
    registry: Arc<registry::Registry>,
    spread: Mutex<spread::Spread>,
    recordings: Mutex<recordings::Recordings>,
    /// What the spread counts from.
    began: Instant,
    metrics: Metrics,
    feed: Feed,
    board: Arc<board::Board>,
    peers: peers::Peers,
    registrations: register::Registrations,
    withdrawals: withdrawals::Withdrawals,
    unanswered: withdraw::Unanswered,
    picture: tokio::sync::Mutex<view::Picture>,
    draining: CancellationToken,
    tasks: TaskTracker,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    next_leg: AtomicU64,
}

impl Sessions {
    /// None yet, under the rules that are shipped.
    pub fn new(limits: config::Session, policy: Policy, engines: Engines, metrics: Metrics, feed: Feed) -> Self {
        let terms = Terms::new(limits, policy, engines);
        metrics.load_limit.set(terms.windows_per_second());
        let shared = Shared {
            registry: Arc::new(registry::Registry::new(terms.limits.max_legs, terms.windows_per_second())),
            spread: Mutex::default(),
            recordings: Mutex::default(),
            began: Instant::now(),
            terms: ArcSwap::from_pointee(terms),
            retired: Mutex::default(),
            rules: Arc::new(ArcSwap::from_pointee(Rules::shipped())),
            metrics,
            feed,
            board: Arc::default(),
            peers: peers::Peers::default(),
            registrations: register::Registrations::default(),
            withdrawals: withdrawals::Withdrawals::default(),
            unanswered: withdraw::Unanswered::default(),
            picture: tokio::sync::Mutex::default(),
            draining: CancellationToken::new(),
            tasks: TaskTracker::new(),
            panic: Mutex::new(None),
            next_leg: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Goes on under other rules: calls that live take them with their next audio.
    pub fn set_rules(&self, rules: Rules) {
        self.shared.rules.store(Arc::new(rules));
    }

    /// What is measured.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Counts a call that does not begin, or a recording that is not classified, and has the span it runs in tell why.
    pub fn count_refusal(&self, reason: &'static str) {
        self.metrics().calls_refused_total.increment(reason);
        trace::refused(reason);
    }

    /// Legs that are live.
    pub fn live_legs(&self) -> usize {
        self.shared.registry.live()
    }

    /// Windows a second that the live legs need, as they were admitted.
    pub fn windows_per_second(&self) -> f64 {
        self.shared.registry.windows_per_second()
    }

    /// Windows a second beyond which no call is admitted.
    pub fn most_windows_per_second(&self) -> f64 {
        self.shared.registry.most_windows_per_second()
    }

    /// Cancelled once the server is on its way out.
    pub fn draining(&self) -> &CancellationToken {
        &self.shared.draining
    }

    /// Runs a call's task. A panic in it ends that call alone; [`Sessions::drain`] gives it back.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let sessions = self.clone();
        self.shared.tasks.spawn(async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                sessions.metrics().calls_ended_total.increment("panicked");
                tracing::error!("a call's task panicked");
                // The first tells most.
                sessions.shared.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
            }
        });
    }

    /// Ends every call, each after its summaries, and refuses new ones. Done when all tasks are; the caller sets the deadline.
    ///
    /// Gives back the first panic of any call's task.
    pub async fn drain(&self) -> Option<Box<dyn Any + Send>> {
        self.shared.metrics.draining.set(1.0);
        self.shared.draining.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        self.shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Numbers for so many legs that no other has; the first of them.
    fn number_legs(&self, legs: usize) -> u64 {
        self.shared.next_leg.fetch_add(legs as u64, Ordering::Relaxed)
    }
}

impl Request {
    fn circumstances(&self) -> Vec<Circumstances> {
        let (notice_given, consent) = (self.notice_given, self.consent);
        self.legs.iter().map(|leg| Circumstances { role: leg.role, notice_given, consent }).collect()
    }
}

impl Refusal {
    /// As metrics name it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Model(_) => "model",
            Self::Policy(_) | Self::Withdrawn { .. } => "policy",
            Self::Live(_) => "live",
            Self::Differs { .. } => "differs",
            Self::Full { .. } | Self::Busy { .. } | Self::Occupied { .. } => "full",
            Self::Draining => "draining",
            Self::Failed => "failed",
            Self::Analysis(_) => "invalid",
        }
    }
}
