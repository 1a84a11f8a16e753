//! Windows that wait: bounded, fair between legs, gathered into batches. Without clock, threads or I/O.
//!
//! | input | then |
//! |---|---|
//! | [`Queue::push`] below the capacity | the window waits |
//! | [`Queue::push`] at the capacity | cancelled windows go; if there are none, the oldest window of the leg with most waiting is shed, the fresh one counted in; of legs with as many, the one that was shed longest ago gives way |
//! | [`Queue::next`], nothing waits | [`Next::Empty`] |
//! | [`Queue::next`], a full batch waits, or the oldest is due, or the queue drains | [`Next::Batch`] |
//! | [`Queue::next`] otherwise | [`Next::WaitUntil`] the oldest is due |
//!
//! A batch is the oldest window and the next oldest of the same length, since only those fit one tensor. A window never overtakes
//! another of its leg. `now` may go backwards; a window is due by the time it was pushed.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

#[cfg(test)]
mod fairness;
#[cfg(test)]
mod tests;

/// Sheds that are remembered, as a multiple of the capacity: those of more legs than one thread has served for a long time, in half a
/// megabyte.
const REMEMBERED: usize = 32;

/// How much may wait, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Windows that may wait; at least 1. One more is shed.
    pub capacity: usize,
    /// Windows in one batch; at least 1.
    pub max_batch: usize,
    /// How long the oldest window waits for others.
    pub max_wait: Duration,
}

/// What the queue must know of a window.
pub trait Waiting {
    /// The leg it is of.
    fn leg(&self) -> u64;
    /// How many numbers it holds.
    fn length(&self) -> usize;
    /// Whether nobody waits for its answer.
    fn is_cancelled(&self) -> bool;
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<R> {
    /// Run these, oldest first: 1 to `max_batch` of one length.
    Batch(Vec<Due<R>>),
    /// Come back then, or when more were pushed.
    WaitUntil(Instant),
    /// Nothing waits.
    Empty,
}

/// A window that is to be run.
#[derive(Debug, PartialEq, Eq)]
pub struct Due<R> {
    /// It.
    pub request: R,
    /// How long it waited.
    pub waited: Duration,
}

/// The windows that wait.
#[derive(Debug)]
pub struct Queue<R> {
    options: Options,
    waiting: VecDeque<(Instant, R)>,
    cancelled: u64,
    draining: bool,
    sheds: Sheds,
}

/// Which legs were shed last. A queue that sheds what is oldest alone always meets the same legs, because all come once a stride.
#[derive(Debug, Default)]
struct Sheds {
    count: u64,
    last: HashMap<u64, u64>,
    order: VecDeque<(u64, u64)>,
}

impl<R: Waiting> Queue<R> {
    /// An empty queue.
    pub fn new(options: Options) -> Self {
        let waiting = VecDeque::with_capacity(options.capacity);
        Self { options, waiting, cancelled: 0, draining: false, sheds: Sheds::default() }
    }

    /// Takes a window in; gives back the one that had to go for it, if any.
    pub fn push(&mut self, request: R, now: Instant) -> Option<R> {
        if self.waiting.len() >= self.options.capacity {
            self.drop_cancelled();
        }
        self.waiting.push_back((now, request));
        if self.waiting.len() > self.options.capacity { self.shed() } else { None }
    }

    /// What is to be done now. Cancelled windows are dropped on the way.
    pub fn next(&mut self, now: Instant) -> Next<R> {
        self.drop_cancelled();
        let Some((arrived, oldest)) = self.waiting.front() else {
            return Next::Empty;
        };
        let due = *arrived + self.options.max_wait;
        let length = oldest.length();
        let chosen = self.choose(length);
        if chosen.len() < self.options.max_batch && now < due && !self.draining {
            return Next::WaitUntil(due);
        }
        let taken = |(arrived, request)| Due { request, waited: now.saturating_duration_since(arrived) };
        if chosen.last() == Some(&(chosen.len() - 1)) {
            return Next::Batch(self.waiting.drain(..chosen.len()).map(taken).collect());
        }
        let mut chosen = chosen.into_iter().peekable();
        let mut batch = Vec::with_capacity(chosen.len());
        let mut rest = VecDeque::with_capacity(self.options.capacity);
        for (index, entry) in self.waiting.drain(..).enumerate() {
            if chosen.next_if_eq(&index).is_some() {
                batch.push(taken(entry));
            } else {
                rest.push_back(entry);
            }
        }
        self.waiting = rest;
        Next::Batch(batch)
    }

    /// From now on nothing waits for others.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Takes out everything that waits, oldest first.
    pub fn take_all(&mut self) -> Vec<R> {
        self.waiting.drain(..).map(|(_, request)| request).collect()
    }

    /// Windows that wait, cancelled ones included that were not met yet.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Cancelled windows dropped since this was last asked.
    pub fn take_cancelled(&mut self) -> u64 {
        std::mem::take(&mut self.cancelled)
    }

    /// Indices of the batch that begins with the oldest window.
    fn choose(&self, length: usize) -> Vec<usize> {
        let mut chosen = Vec::with_capacity(self.options.max_batch);
        let mut passed_over = HashSet::new();
        for (index, (_, request)) in self.waiting.iter().enumerate() {
            if chosen.len() == self.options.max_batch {
                break;
            }
            if request.length() != length {
                passed_over.insert(request.leg());
            } else if passed_over.is_empty() || !passed_over.contains(&request.leg()) {
                chosen.push(index);
            }
        }
        chosen
    }

    fn drop_cancelled(&mut self) {
        let before = self.waiting.len();
        self.waiting.retain(|(_, request)| !request.is_cancelled());
        self.cancelled += (before - self.waiting.len()) as u64;
    }

    /// Takes out the oldest window of the leg that has most of them; of equal legs the one that was shed longest ago gives way, and of
    /// those that never were the one that has waited longest.
    fn shed(&mut self) -> Option<R> {
        let mut counts: HashMap<u64, usize> = HashMap::with_capacity(self.waiting.len());
        for (_, request) in &self.waiting {
            *counts.entry(request.leg()).or_default() += 1;
        }
        let most = counts.values().copied().max()?;
        let busiest = self.waiting.iter().enumerate().filter(|(_, (_, request))| counts[&request.leg()] == most);
        let (index, (_, chosen)) = busiest.min_by_key(|(_, (_, request))| self.sheds.last(request.leg()))?;
        self.sheds.note(chosen.leg(), self.options.capacity.saturating_mul(REMEMBERED));
        self.waiting.remove(index).map(|(_, request)| request)
    }
}

impl Sheds {
    /// When a leg was shed last: the larger, the later; 0 for never, or too long ago to matter.
    fn last(&self, leg: u64) -> u64 {
        self.last.get(&leg).copied().unwrap_or(0)
    }

    fn note(&mut self, leg: u64, remembered: usize) {
        self.count += 1;
        self.last.insert(leg, self.count);
        self.order.push_back((leg, self.count));
        if self.order.len() > remembered
            && let Some((leg, count)) = self.order.pop_front()
            && self.last(leg) == count
        {
            self.last.remove(&leg);
        }
    }
}
