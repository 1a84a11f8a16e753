//! The threads that run what is queued.

use std::{
    any::Any,
    iter,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError, atomic::Ordering},
    thread,
    time::Instant,
};

use zeroize::{Zeroize, Zeroizing};

use super::{
    Backend, Intake, Request, Shared,
    queue::{Due, Next},
};
use crate::{
    model::{self, Classifier, Outcome},
    telemetry::trace,
};

/// Runs what is queued. Dropped without having run, it answers every waiter with a failure.
pub struct Worker {
    shared: Arc<Shared>,
    backend: Box<dyn Backend>,
    /// Made beforehand, one a thread.
    classifiers: Vec<Box<dyn Classifier>>,
}

/// Why inference stopped for good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("inference stopped for good: {0}")]
pub struct Stopped(String);

/// One thread's own.
struct Thread<'a> {
    shared: &'a Shared,
    backend: &'a dyn Backend,
    classifier: Box<dyn Classifier>,
    /// The windows of a batch, one after another. Kept for the next batch, wiped when there is none and at the end.
    gathered: Zeroizing<Vec<f32>>,
}

/// What became of one run.
enum Run {
    /// Wiped when dropped.
    Logits(Zeroizing<Vec<f32>>),
    Failed(String),
    /// The backend panicked, and no other could be made.
    Stopped(Stopped),
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, backend: Box<dyn Backend>) -> Self {
        Self { shared, backend, classifiers: Vec::new() }
    }

    /// Makes every thread's classifier now, so that a backend which cannot is found before a call relies on it, and the first window
    /// waits for none of it. Once the intake is closed it makes no more than what waits needs: one, or none.
    ///
    /// # Errors
    /// [`Stopped`] says why one cannot be made.
    pub fn prepare(&mut self) -> Result<(), Stopped> {
        while self.classifiers.len() < self.shared.options.threads && self.is_needed() {
            self.classifiers.push(make(&*self.backend)?);
        }
        Ok(())
    }

    /// Whether one classifier more will have something to run.
    fn is_needed(&self) -> bool {
        let state = self.shared.lock();
        state.intake == Intake::Open || (self.classifiers.is_empty() && !state.queue.is_empty())
    }

    /// Runs what is queued, on threads named `inference-0` and so on, until the intake is closed and nothing waits, or until it
    /// cannot go on. Blocks: give it a thread.
    pub fn run(mut self) -> Result<(), Stopped> {
        let outcome = self.run_threads();
        if let Err(stopped) = &outcome {
            tracing::error!(error = %stopped, "inference failed for good");
            self.shared.fail(&stopped.to_string());
        }
        outcome
    }

    fn run_threads(&mut self) -> Result<(), Stopped> {
        // All before the first window.
        self.prepare()?;
        let classifiers = std::mem::take(&mut self.classifiers);
        let (shared, backend) = (&*self.shared, &*self.backend);
        thread::scope(|scope| {
            let mut threads = Vec::with_capacity(classifiers.len());
            for (index, classifier) in classifiers.into_iter().enumerate() {
                let mut own = Thread { shared, backend, classifier, gathered: Zeroizing::default() };
                let run = move || {
                    let outcome = catch_unwind(AssertUnwindSafe(|| own.run()))
                        .unwrap_or_else(|panic| Err(Stopped(panic_text(&*panic))));
                    if let Err(stopped) = &outcome {
                        // Before the others are joined: they end only once the intake is closed.
                        shared.fail(&stopped.to_string());
                    }
                    outcome
                };
                let spawned = thread::Builder::new().name(format!("inference-{index}")).spawn_scoped(scope, run);
                threads.push(spawned.map_err(|error| {
                    let stopped = Stopped(format!("cannot start a thread: {error}"));
                    shared.fail(&stopped.to_string());
                    stopped
                })?);
            }
            let mut outcome = Ok(());
            for thread in threads {
                let ended = thread.join().unwrap_or_else(|panic| Err(Stopped(panic_text(&*panic))));
                outcome = outcome.and(ended);
            }
            outcome
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // After a clean end nothing waits; else nobody will ever answer.
        let state = self.shared.lock();
        let ended_well = state.intake == Intake::Closed && state.queue.is_empty();
        drop(state);
        if !ended_well {
            self.shared.fail("the inference worker is gone");
        }
    }
}

impl Thread<'_> {
    fn run(&mut self) -> Result<(), Stopped> {
        while let Some(batch) = self.wait() {
            self.run_batch(batch)?;
            // Its windows are back.
            self.shared.tell_memory();
        }
        Ok(())
    }

    /// The next batch, or `None` when there will be no more.
    fn wait(&mut self) -> Option<Vec<Due<Request>>> {
        let shared = self.shared;
        let mut state = shared.lock();
        loop {
            let now = Instant::now();
            let next = state.queue.next(now);
            state = match next {
                Next::Batch(batch) => {
                    let is_empty = state.queue.is_empty();
                    shared.tell_waiting(&mut state);
                    drop(state);
                    if !is_empty {
                        // Somebody must watch over what is left while this thread runs the batch.
                        shared.wake.notify_one();
                    }
                    return Some(batch);
                }
                Next::WaitUntil(due) => {
                    let wait = due.saturating_duration_since(now);
                    shared.wake.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
                }
                Next::Empty if state.intake != Intake::Open => return None,
                Next::Empty if !self.gathered.is_empty() => {
                    drop(state);
                    // Not after every batch: it takes about 6 µs a window, and the next batch overwrites them.
                    self.gathered.zeroize();
                    shared.lock()
                }
                Next::Empty => shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Runs a batch and answers it; where it fails as a whole, window by window. Stopping, it answers what is left of it first.
    fn run_batch(&mut self, batch: Vec<Due<Request>>) -> Result<(), Stopped> {
        let metrics = &self.shared.metrics;
        let taken = Instant::now();
        metrics.batch_windows.record(batch.len() as f64);
        let span = tracing::debug_span!("inference", windows = batch.len());
        for due in &batch {
            metrics.queue_wait_seconds.record(due.waited);
            span.follows_from(&due.request.span);
        }
        let _entered = span.enter();
        let requests: Vec<Request> = batch.into_iter().map(|due| due.request).collect();
        let mut traced =
            trace::Batch::begin(requests.iter().filter_map(|request| request.trace.as_ref()), requests.len(), taken);
        if requests.len() > 1 {
            let mut gathered = std::mem::take(&mut self.gathered);
            let before = bytes(&gathered);
            gather(&mut gathered, &requests);
            self.shared.batch_bytes.fetch_add(bytes(&gathered) - before, Ordering::Relaxed);
            let put_together = Instant::now();
            metrics.gather_seconds.record(put_together - taken);
            let outcome = self.run_windows(&gathered, requests.len());
            self.gathered = gathered;
            // Before anyone is answered, so that whoever is knows it.
            traced.take().into_iter().for_each(|batch| batch.ran(put_together));
            match outcome {
                Run::Logits(logits) => {
                    self.shared.metrics.scored_total.increment(requests.len() as u64);
                    let labels = logits.len() / requests.len();
                    for (request, row) in requests.into_iter().zip(logits.chunks_exact(labels)) {
                        request.answer(Outcome::Logits(row.to_vec().into()));
                    }
                    return Ok(());
                }
                Run::Failed(error) => {
                    tracing::warn!(error, windows = requests.len(), "a batch failed and is run again window by window");
                }
                Run::Stopped(stopped) => return self.stop(requests, stopped),
            }
        } else {
            metrics.gather_seconds.record(taken.elapsed());
        }
        let mut requests = requests.into_iter();
        while let Some(request) = requests.next() {
            let began = Instant::now();
            let outcome = self.run_windows(&request.window, 1);
            traced.take().into_iter().for_each(|batch| batch.ran(began));
            match outcome {
                Run::Logits(logits) => {
                    self.shared.metrics.scored_total.increment(1);
                    request.answer(Outcome::Logits(logits));
                }
                Run::Failed(error) => {
                    self.shared.metrics.failed_total.increment(1);
                    request.span.in_scope(|| tracing::warn!(error, "inference failed on a window"));
                    request.answer(Outcome::Failed(error));
                }
                Run::Stopped(stopped) => return self.stop(iter::once(request).chain(requests), stopped),
            }
        }
        Ok(())
    }

    /// Publishes why before anyone is answered, so that whoever is sees it.
    fn stop(&self, unanswered: impl IntoIterator<Item = Request>, stopped: Stopped) -> Result<(), Stopped> {
        self.shared.fail(&stopped.to_string());
        for request in unanswered {
            self.shared.metrics.failed_total.increment(1);
            request.answer(Outcome::Failed(stopped.to_string()));
        }
        Err(stopped)
    }

    fn run_windows(&mut self, windows: &[f32], batch: usize) -> Run {
        let started = Instant::now();
        // The classifier is replaced after a panic, so nobody sees what the panic left of it.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.classifier.run(windows, batch)));
        self.shared.metrics.run_seconds.record(started.elapsed());
        match outcome {
            Ok(Ok(logits)) if !logits.is_empty() && logits.len().is_multiple_of(batch) => Run::Logits(logits.into()),
            Ok(Ok(logits)) => Run::Failed(format!("the network answered {} logits for {batch} windows", logits.len())),
            Ok(Err(error)) => Run::Failed(error.to_string()),
            Err(panic) => {
                let text = panic_text(&*panic);
                tracing::error!(panic = text, "the inference backend panicked and is made anew");
                match make(self.backend) {
                    Ok(classifier) => {
                        self.classifier = classifier;
                        Run::Failed(format!("the inference backend panicked: {text}"))
                    }
                    Err(stopped) => Run::Stopped(stopped),
                }
            }
        }
    }
}

impl Drop for Thread<'_> {
    fn drop(&mut self) {
        self.shared.batch_bytes.fetch_sub(bytes(&self.gathered), Ordering::Relaxed);
        self.shared.tell_memory();
    }
}

fn bytes(gathered: &Vec<f32>) -> usize {
    gathered.capacity() * size_of::<f32>()
}

/// Lays windows out one after another. Memory that is too small for them is wiped before it is given up, which a vector that grows
/// would not do.
fn gather(gathered: &mut Zeroizing<Vec<f32>>, requests: &[Request]) {
    gathered.clear();
    let values = requests.iter().map(|request| request.window.len()).sum();
    if gathered.capacity() < values {
        *gathered = Zeroizing::new(Vec::with_capacity(values));
    }
    requests.iter().for_each(|request| gathered.extend_from_slice(&request.window));
}

/// A classifier; a backend that panics over it is as one that says no.
fn make(backend: &dyn Backend) -> Result<Box<dyn Classifier>, Stopped> {
    let made = catch_unwind(AssertUnwindSafe(|| backend.classifier()));
    let made: Result<_, model::Error> = made.map_err(|panic| Stopped(panic_text(&*panic)))?;
    made.map_err(|error| Stopped(error.to_string()))
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".to_owned())
}
