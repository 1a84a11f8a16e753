//! Windows of all calls, in batches, through one model, on threads of its own.
//!
//! [`pair`] makes a [`Handle`], where calls hand windows in, and a [`Worker`], which runs them; it starts nothing. The caller runs
//! [`Worker::run`] on a thread of his own and joins it.
//!
//! The queue between them is bounded: when it is full, the oldest window of the leg with most waiting is shed, and its waiter is
//! told so. What cannot be run is answered [`Outcome::Failed`], and never left unanswered: a batch that fails is run again window
//! by window, so that one bad window fails alone; a backend that panics is made anew; where that fails too, the worker stops for
//! good: it publishes its error ([`Handle::failure`]) and closes the intake, then answers every waiter.
//!
//! It ends well by [`Handle::close`], or when the last handle is gone: what waits is run, then [`Worker::run`] returns.
//!
//! The windows of a leg are queued in order; with more than one thread their answers may cross.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use metrics::{Counter, Gauge, Histogram};
use tokio::sync::oneshot;
use tracing::Span;

use crate::{
    features::buffers::{Buffers, Lent},
    model::{self, Classifier, Outcome},
    telemetry::trace,
};

pub mod queue;
#[cfg(test)]
mod tests;
mod worker;

use queue::Queue;
pub use worker::{Stopped, Worker};

/// How inference is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Threads, each with a classifier of its own; 1 to [`MAX_THREADS`].
    pub threads: usize,
    /// What may wait, and how batches are gathered.
    pub queue: queue::Options,
}

/// What is wrong with [`Options`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A count that must not be 0.
    #[error("inference {0} is 0, expected at least 1")]
    Zero(&'static str),
    /// A count beyond what any machine serves; each takes memory beforehand.
    #[error("inference {name} is {actual}, expected at most {most}")]
    TooMany {
        /// What is counted.
        name: &'static str,
        /// What it is.
        actual: usize,
        /// What it may be.
        most: usize,
    },
    /// Waiting longer than a listener would forgive.
    #[error("inference max_wait is {actual:?}, expected at most {MAX_WAIT:?}: every event would come that much later")]
    MaxWait {
        /// What it is.
        actual: Duration,
    },
}

/// The longest that a window may wait for others: a twenty-fifth of the default stride of 0.5 s.
pub const MAX_WAIT: Duration = Duration::from_millis(20);

/// The most threads of one model.
pub const MAX_THREADS: usize = 1024;
/// The most windows of one model that may wait: the default of 512 a thread, on all threads that there may be.
pub const MAX_CAPACITY: usize = 512 * MAX_THREADS;
/// The most windows in one batch.
pub const MAX_BATCH: usize = 4096;

/// What is counted and measured, by handles that the caller made from a recorder of his. Default: nothing is.
#[derive(Clone)]
pub struct Metrics {
    /// Windows that wait.
    pub queue_windows: Gauge,
    /// Memory kept for windows to come.
    pub buffer_bytes: Gauge,
    /// From when a window was handed in until its batch is run.
    pub queue_wait_seconds: Histogram,
    /// Time that the windows of a batch take to be put together.
    pub gather_seconds: Histogram,
    /// Windows in a batch.
    pub batch_windows: Histogram,
    /// Time a batch takes.
    pub run_seconds: Histogram,
    /// Windows answered with logits.
    pub scored_total: Counter,
    /// Windows given up for fresher ones.
    pub shed_total: Counter,
    /// Windows whose waiter had gone before they were run.
    pub cancelled_total: Counter,
    /// Windows answered with a failure.
    pub failed_total: Counter,
}

/// Makes the classifiers, one a thread, and new ones after a panic.
pub trait Backend: Send + Sync + 'static {
    /// A classifier for one thread.
    fn classifier(&self) -> Result<Box<dyn Classifier>, model::Error>;
}

/// How much there is to do for the threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pressure {
    /// Less than a batch waits: they keep up.
    Low,
    /// A full batch waits.
    Batch,
    /// The queue is half full: windows will soon be shed.
    High,
}

/// Where windows are handed in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    guard: Arc<CloseOnDrop>,
}

/// A window, who waits for it, and on whose behalf.
struct Request {
    leg: u64,
    window: Lent,
    answer: oneshot::Sender<Outcome>,
    span: Span,
    trace: Option<trace::Window>,
}

/// Whether windows are taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Intake {
    Open,
    Closed,
    Failed(String),
}

struct State {
    queue: Queue<Request>,
    intake: Intake,
}

/// What handles and worker share. The lock is the one on the audio's way: never held while a network runs or anything is awaited.
struct Shared {
    state: Mutex<State>,
    /// A worker has something to do, or to end.
    wake: Condvar,
    options: Options,
    metrics: Metrics,
    /// The memory of windows: all that may wait, and those that are run.
    buffers: Buffers,
}

/// Held by all handles together, so that the worker ends when nobody can hand in any more.
struct CloseOnDrop(Arc<Shared>);

/// A handle and the worker that answers it. Nothing runs until [`Worker::run`].
pub fn pair(options: Options, metrics: Metrics, backend: impl Backend) -> Result<(Handle, Worker), Invalid> {
    options.validate()?;
    let state = State { queue: Queue::new(options.queue), intake: Intake::Open };
    let most = options.queue.capacity + options.threads * options.queue.max_batch;
    let buffers = Buffers::new(most);
    let shared = Arc::new(Shared { state: Mutex::new(state), wake: Condvar::new(), options, metrics, buffers });
    let guard = Arc::new(CloseOnDrop(Arc::clone(&shared)));
    Ok((Handle { guard }, Worker::new(shared, Box::new(backend))))
}

impl Default for Options {
    /// One thread; batches of 8, beyond which a CPU gains nothing (measured for the thesis's network: 171, 141 and 182 µs a window
    /// in batches of 1, 8 and 32); 5 ms to gather one; 512 waiting windows, which one core works off in 0.1 s, and those of
    /// `telephone` in 0.4 s (docs/performance.md).
    fn default() -> Self {
        let queue = queue::Options { capacity: 512, max_batch: 8, max_wait: Duration::from_millis(5) };
        Self { threads: 1, queue }
    }
}

impl Options {
    /// Whether inference can run so.
    pub fn validate(&self) -> Result<(), Invalid> {
        let counts = [
            ("threads", self.threads, MAX_THREADS),
            ("max_batch", self.queue.max_batch, MAX_BATCH),
            ("queue_capacity", self.queue.capacity, MAX_CAPACITY),
        ];
        for (name, actual, most) in counts {
            if actual == 0 {
                return Err(Invalid::Zero(name));
            }
            if actual > most {
                return Err(Invalid::TooMany { name, actual, most });
            }
        }
        if self.queue.max_wait > MAX_WAIT {
            return Err(Invalid::MaxWait { actual: self.queue.max_wait });
        }
        Ok(())
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            queue_windows: Gauge::noop(),
            buffer_bytes: Gauge::noop(),
            queue_wait_seconds: Histogram::noop(),
            gather_seconds: Histogram::noop(),
            batch_windows: Histogram::noop(),
            run_seconds: Histogram::noop(),
            scored_total: Counter::noop(),
            shed_total: Counter::noop(),
            cancelled_total: Counter::noop(),
            failed_total: Counter::noop(),
        }
    }
}

impl<F> Backend for F
where
    F: Fn() -> Result<Box<dyn Classifier>, model::Error> + Send + Sync + 'static,
{
    fn classifier(&self) -> Result<Box<dyn Classifier>, model::Error> {
        self()
    }
}

impl Backend for Arc<model::Model> {
    fn classifier(&self) -> Result<Box<dyn Classifier>, model::Error> {
        Ok(Box::new(self.session()?))
    }
}

impl Handle {
    /// Queues a window of a leg at once; the answer comes with the future. Dropping the future cancels the window.
    pub fn infer(&self, leg: u64, window: Vec<f32>) -> impl Future<Output = Outcome> + Send + 'static + use<> {
        self.infer_traced(leg, window, None)
    }

    /// The same of a window whose way may be traced.
    pub fn infer_traced(
        &self,
        leg: u64,
        window: Vec<f32>,
        trace: Option<trace::Window>,
    ) -> impl Future<Output = Outcome> + Send + 'static + use<> {
        let (answer, answered) = oneshot::channel();
        let window = self.guard.0.buffers.lend(window);
        let request = Request { leg, window, answer, span: Span::current(), trace };
        self.guard.0.push(request, Instant::now());
        async move { answered.await.unwrap_or_else(|_| Outcome::Failed("the inference worker is gone".to_owned())) }
    }

    /// The memory that windows are to be taken from; it comes back when they were run.
    pub fn buffers(&self) -> &Buffers {
        &self.guard.0.buffers
    }

    /// Windows that wait.
    pub fn depth(&self) -> usize {
        self.guard.0.lock().queue.len()
    }

    /// How much there is to do.
    pub fn pressure(&self) -> Pressure {
        let (waiting, options) = (self.depth(), &self.guard.0.options.queue);
        if waiting < options.max_batch {
            Pressure::Low
        } else if waiting < options.capacity.div_ceil(2) {
            Pressure::Batch
        } else {
            Pressure::High
        }
    }

    /// The error that stopped the worker, if one did.
    pub fn failure(&self) -> Option<String> {
        match &self.guard.0.lock().intake {
            Intake::Failed(error) => Some(error.clone()),
            Intake::Open | Intake::Closed => None,
        }
    }

    /// Takes no more windows in, from any handle; what waits is run, then [`Worker::run`] returns.
    pub fn close(&self) {
        self.guard.0.close();
    }
}

impl queue::Waiting for Request {
    fn leg(&self) -> u64 {
        self.leg
    }

    fn length(&self) -> usize {
        self.window.len()
    }

    fn is_cancelled(&self) -> bool {
        self.answer.is_closed()
    }
}

impl Request {
    fn answer(self, outcome: Outcome) {
        // A waiter who has gone meanwhile wants no answer.
        let _ = self.answer.send(outcome);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock leaves the state half changed, so it is good after a panic too.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, request: Request, now: Instant) {
        let mut state = self.lock();
        let refused = match &state.intake {
            Intake::Open => None,
            Intake::Closed => Some("inference takes no more windows, because it is stopping".to_owned()),
            Intake::Failed(error) => Some(error.clone()),
        };
        if let Some(reason) = refused {
            drop(state);
            self.metrics.failed_total.increment(1);
            return request.answer(Outcome::Failed(reason));
        }
        let was_empty = state.queue.is_empty();
        let shed = state.queue.push(request, now);
        let cancelled = state.queue.take_cancelled();
        let waiting = state.queue.len();
        drop(state);
        // Between an empty queue and a full batch, the worker that saw the first window is waiting for its time already.
        if was_empty || waiting >= self.options.queue.max_batch {
            self.wake.notify_one();
        }
        self.metrics.cancelled_total.increment(cancelled);
        self.metrics.queue_windows.set(waiting as f64);
        if let Some(shed) = shed {
            self.metrics.shed_total.increment(1);
            shed.answer(Outcome::Shed);
        }
    }

    fn close(&self) {
        let mut state = self.lock();
        if state.intake == Intake::Open {
            state.intake = Intake::Closed;
        }
        state.queue.drain();
        drop(state);
        self.wake.notify_all();
    }

    /// Publishes the error and closes the intake, in one step, then answers all that wait. The first error stays.
    fn fail(&self, error: &str) {
        let mut state = self.lock();
        if !matches!(state.intake, Intake::Failed(_)) {
            state.intake = Intake::Failed(error.to_owned());
        }
        let waiting = state.queue.take_all();
        drop(state);
        self.wake.notify_all();
        self.metrics.queue_windows.set(0.0);
        self.metrics.failed_total.increment(waiting.len() as u64);
        for request in waiting {
            request.answer(Outcome::Failed(error.to_owned()));
        }
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl fmt::Debug for CloseOnDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.lock();
        f.debug_struct("Intake").field("state", &state.intake).field("waiting", &state.queue.len()).finish()
    }
}
