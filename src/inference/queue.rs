//! Windows that wait: bounded, fair between legs, gathered into batches. Without clock, threads or I/O.
//!
//! | input | then |
//! |---|---|
//! | [`Queue::push`] below the capacity | the window waits |
//! | [`Queue::push`] at the capacity | the oldest window of the leg with most waiting is shed, the fresh one counted in; of legs with as many, the one that was shed longest ago gives way |
//! | [`Queue::cancel`] | the window goes, wherever it stands |
//! | [`Queue::next`], nothing waits | [`Next::Empty`] |
//! | [`Queue::next`], a full batch waits, or the oldest is due, or the queue drains | [`Next::Batch`] |
//! | [`Queue::next`] otherwise | [`Next::WaitUntil`] the oldest is due |
//!
//! A batch is the oldest window and the next oldest of the same length, since only those fit one tensor. A window never overtakes
//! another of its leg. `now` may go backwards; a window is due by the time it was pushed.
//!
//! All of it is done under one lock, so none of it looks at all that waits: a push, a shed and a cancelled window take the logarithm of
//! the legs that wait, and a batch takes that for each of its windows ([`Legs`]).

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

#[cfg(test)]
mod fairness;
mod legs;
#[cfg(test)]
mod tests;

use legs::Legs;

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
    /// Names it among those of its leg.
    fn id(&self) -> u64;
    /// How many numbers it holds.
    fn length(&self) -> usize;
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
    legs: Legs<R>,
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
        Self { options, legs: Legs::with_capacity(options.capacity), draining: false, sheds: Sheds::default() }
    }

    /// Takes a window in; gives back the one that had to go for it, if any.
    pub fn push(&mut self, request: R, now: Instant) -> Option<R> {
        let last_shed = self.sheds.last(request.leg());
        self.legs.push(request, now, last_shed);
        if self.legs.len() > self.options.capacity { self.shed() } else { None }
    }

    /// What is to be done now.
    pub fn next(&mut self, now: Instant) -> Next<R> {
        let Some((arrived, length)) = self.legs.oldest() else {
            return Next::Empty;
        };
        let (due, most) = (arrived + self.options.max_wait, self.options.max_batch);
        if !self.draining && now < due && !self.legs.fill(length, most) {
            return Next::WaitUntil(due);
        }
        let mut batch = Vec::with_capacity(most.min(self.legs.len()));
        while batch.len() < most
            && let Some((arrived, request)) = self.legs.pop_of(length)
        {
            batch.push(Due { request, waited: now.saturating_duration_since(arrived) });
        }
        Next::Batch(batch)
    }

    /// Gives a window back for whose answer nobody waits any more; `None` when it does not wait here.
    pub fn cancel(&mut self, leg: u64, id: u64) -> Option<R> {
        self.legs.remove(leg, id)
    }

    /// From now on nothing waits for others.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Takes out everything that waits, oldest first.
    pub fn take_all(&mut self) -> Vec<R> {
        self.legs.take_all()
    }

    /// Windows that wait.
    pub fn len(&self) -> usize {
        self.legs.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.legs.len() == 0
    }

    /// Takes out the oldest window of the leg that has most of them; of equal legs the one that was shed longest ago gives way, and of
    /// those that never were the one that has waited longest.
    fn shed(&mut self) -> Option<R> {
        let leg = self.legs.busiest()?;
        let shed = self.sheds.note(leg, self.options.capacity.saturating_mul(REMEMBERED));
        self.legs.shed(leg, shed)
    }
}

impl Sheds {
    /// When a leg was shed last: the larger, the later; 0 for never, or too long ago to matter.
    fn last(&self, leg: u64) -> u64 {
        self.last.get(&leg).copied().unwrap_or(0)
    }

    /// Notes that a leg is shed; by what number that is told from others.
    fn note(&mut self, leg: u64, remembered: usize) -> u64 {
        self.count += 1;
        self.last.insert(leg, self.count);
        self.order.push_back((leg, self.count));
        if self.order.len() > remembered
            && let Some((leg, count)) = self.order.pop_front()
            && self.last(leg) == count
        {
            self.last.remove(&leg);
        }
        self.count
    }
}
