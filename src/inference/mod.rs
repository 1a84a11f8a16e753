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
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use metrics::{Counter, Gauge, Histogram};
use tokio::sync::oneshot;
use tracing::Span;

use crate::{
    features::buffers::{Buffers, Lent},
    model::{self, Classifier, Outcome},
    telemetry::trace,
};

mod answer;
mod options;
pub mod queue;
#[cfg(test)]
mod tests;
mod worker;

use answer::Answer;
pub use options::{Invalid, MAX_BATCH, MAX_CAPACITY, MAX_THREADS, MAX_WAIT, Options};
use queue::Queue;
pub use worker::{Stopped, Worker};

/// What is counted and measured, by handles that the caller made from a recorder of his. Default: nothing is.
#[derive(Clone)]
pub struct Metrics {
    /// Windows that wait.
    pub queue_windows: Gauge,
    /// Memory of windows: of those that wait and are run, and kept for those to come.
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
    id: u64,
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
    /// How many windows were told last to wait.
    told_windows: usize,
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
    /// Memory in which threads lay batches out, in bytes.
    batch_bytes: AtomicUsize,
    /// What was told last of all memory of windows, in bytes.
    told_bytes: AtomicUsize,
    /// Windows that were ever handed in, by which each is named.
    handed_in: AtomicU64,
}

/// Held by all handles together, so that the worker ends when nobody can hand in any more.
struct CloseOnDrop(Arc<Shared>);

/// A handle and the worker that answers it. Nothing runs until [`Worker::run`].
pub fn pair(options: Options, metrics: Metrics, backend: impl Backend) -> Result<(Handle, Worker), Invalid> {
    options.validate()?;
    let state = State { queue: Queue::new(options.queue), intake: Intake::Open, told_windows: 0 };
    let most = options.queue.capacity + options.threads * options.queue.max_batch;
    let shared = Arc::new(Shared {
        state: Mutex::new(state),
        wake: Condvar::new(),
        options,
        metrics,
        buffers: Buffers::new(most),
        batch_bytes: AtomicUsize::default(),
        told_bytes: AtomicUsize::default(),
        handed_in: AtomicU64::default(),
    });
    let guard = Arc::new(CloseOnDrop(Arc::clone(&shared)));
    Ok((Handle { guard }, Worker::new(shared, Box::new(backend))))
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
        let shared = &self.guard.0;
        let (answer, answered) = oneshot::channel();
        let id = shared.handed_in.fetch_add(1, Ordering::Relaxed);
        let window = shared.buffers.lend(window);
        let answered = Answer::new(Arc::clone(shared), leg, id, answered);
        shared.push(Request { leg, id, window, answer, span: Span::current(), trace }, Instant::now());
        answered
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

    fn id(&self) -> u64 {
        self.id
    }

    fn length(&self) -> usize {
        self.window.len()
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
        let waiting = state.queue.len();
        self.tell_waiting(&mut state);
        drop(state);
        // Between an empty queue and a full batch, the worker that saw the first window is waiting for its time already.
        if was_empty || waiting >= self.options.queue.max_batch {
            self.wake.notify_one();
        }
        if let Some(shed) = shed {
            self.metrics.shed_total.increment(1);
            shed.answer(Outcome::Shed);
        }
    }

    /// Takes a window back for which nobody waits any more, unless it is being run or answered already.
    fn cancel(&self, leg: u64, id: u64) {
        let mut state = self.lock();
        let cancelled = state.queue.cancel(leg, id);
        self.tell_waiting(&mut state);
        drop(state);
        // Its memory is wiped where nobody waits for the lock.
        if cancelled.is_some() {
            self.metrics.cancelled_total.increment(1);
        }
    }

    /// Tells how many windows wait: by how much that changed, for while a model is exchanged both tell one number.
    fn tell_waiting(&self, state: &mut State) {
        let waiting = state.queue.len();
        self.metrics.queue_windows.increment(waiting as f64 - state.told_windows as f64);
        state.told_windows = waiting;
    }

    /// Tells what memory windows take now, by how much it changed as well.
    fn tell_memory(&self) {
        let bytes = self.buffers.bytes() + self.batch_bytes.load(Ordering::Relaxed);
        let before = self.told_bytes.swap(bytes, Ordering::Relaxed);
        self.metrics.buffer_bytes.increment(bytes as f64 - before as f64);
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
        self.tell_waiting(&mut state);
        drop(state);
        self.wake.notify_all();
        self.metrics.failed_total.increment(waiting.len() as u64);
        for request in waiting {
            request.answer(Outcome::Failed(error.to_owned()));
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.metrics.buffer_bytes.decrement(*self.told_bytes.get_mut() as f64);
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
