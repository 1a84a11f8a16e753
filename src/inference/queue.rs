//! Windows that wait: bounded, fair between legs, gathered into batches. Without clock, threads or I/O.
//!
//! | input | then |
//! |---|---|
//! | [`Queue::push`] below the capacity | the window waits |
//! | [`Queue::push`] at the capacity | cancelled windows go; if there are none, the oldest window of the leg with most waiting is shed, the fresh one counted in |
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
}

impl<R: Waiting> Queue<R> {
    /// An empty queue.
    pub fn new(options: Options) -> Self {
        Self { options, waiting: VecDeque::with_capacity(options.capacity), cancelled: 0, draining: false }
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

    /// Takes out the oldest window of the leg that has most of them; of equal legs the one that has waited longest gives way.
    fn shed(&mut self) -> Option<R> {
        let mut counts: HashMap<u64, usize> = HashMap::with_capacity(self.waiting.len());
        for (_, request) in &self.waiting {
            *counts.entry(request.leg()).or_default() += 1;
        }
        let most = counts.values().copied().max()?;
        let oldest = self.waiting.iter().position(|(_, request)| counts[&request.leg()] == most)?;
        self.waiting.remove(oldest).map(|(_, request)| request)
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    struct Window {
        id: usize,
        leg: u64,
        length: usize,
        cancelled: Rc<Cell<bool>>,
    }

    impl Waiting for Window {
        fn leg(&self) -> u64 {
            self.leg
        }

        fn length(&self) -> usize {
            self.length
        }

        fn is_cancelled(&self) -> bool {
            self.cancelled.get()
        }
    }

    fn window(id: usize, leg: u64) -> Window {
        Window { id, leg, length: 4, cancelled: Rc::default() }
    }

    fn options(capacity: usize, max_batch: usize) -> Options {
        Options { capacity, max_batch, max_wait: Duration::from_millis(5) }
    }

    fn ids(next: Next<Window>) -> Vec<usize> {
        match next {
            Next::Batch(batch) => batch.into_iter().map(|due| due.request.id).collect(),
            other => panic!("expected a batch, got {other:?}"),
        }
    }

    fn waits_until(next: &Next<Window>) -> Instant {
        match next {
            Next::WaitUntil(due) => *due,
            other => panic!("expected to wait, got {other:?}"),
        }
    }

    #[test]
    fn a_lone_window_waits_for_others_until_it_is_due() {
        let (start, wait) = (Instant::now(), Duration::from_millis(5));
        let mut queue = Queue::new(options(8, 4));
        assert!(matches!(queue.next(start), Next::Empty));
        queue.push(window(0, 1), start);
        queue.push(window(1, 2), start + wait / 2);
        assert_eq!(waits_until(&queue.next(start + wait / 2)), start + wait);
        // A clock that goes back makes nothing due and breaks nothing.
        assert_eq!(waits_until(&queue.next(start - wait)), start + wait);
        let Next::Batch(batch) = queue.next(start + wait) else { panic!("it is due") };
        let told: Vec<_> = batch.iter().map(|due| (due.request.id, due.waited)).collect();
        assert_eq!(told, [(0, wait), (1, wait / 2)]);
        assert!(matches!(queue.next(start + wait), Next::Empty));
    }

    #[test]
    fn a_full_batch_does_not_wait_and_the_rest_stays() {
        let now = Instant::now();
        let mut queue = Queue::new(options(8, 2));
        (0..5).for_each(|id| assert!(queue.push(window(id, id as u64), now).is_none()));
        assert_eq!(ids(queue.next(now)), [0, 1]);
        assert_eq!(ids(queue.next(now)), [2, 3]);
        waits_until(&queue.next(now));
        queue.drain();
        assert_eq!(ids(queue.next(now)), [4]);
    }

    #[test]
    fn sheds_the_oldest_window_of_the_busiest_leg() {
        let now = Instant::now();
        let mut queue = Queue::new(options(4, 4));
        for (id, leg) in [(0, 7), (1, 8), (2, 8), (3, 9)] {
            assert!(queue.push(window(id, leg), now).is_none());
        }
        assert_eq!(
            queue.push(window(4, 9), now).map(|shed| shed.id),
            Some(1),
            "8 and 9 have two each, 8's is the oldest"
        );
        assert_eq!(queue.push(window(5, 9), now).map(|shed| shed.id), Some(3));
        assert_eq!(queue.push(window(6, 9), now).map(|shed| shed.id), Some(4), "a flood sheds its own");
        assert_eq!(ids(queue.next(now)), [0, 2, 5, 6]);
    }

    #[test]
    fn when_all_legs_are_equal_the_oldest_window_gives_way_to_the_fresh_one() {
        let now = Instant::now();
        let mut queue = Queue::new(options(2, 2));
        queue.push(window(0, 1), now);
        queue.push(window(1, 2), now);
        assert_eq!(queue.push(window(2, 3), now).map(|shed| shed.id), Some(0));
    }

    #[test]
    fn cancelled_windows_are_not_run_and_make_room_before_any_is_shed() {
        let now = Instant::now();
        let mut queue = Queue::new(options(2, 2));
        let gone = window(0, 1);
        queue.push(gone.clone(), now);
        queue.push(window(1, 2), now);
        gone.cancelled.set(true);
        assert!(queue.push(window(2, 3), now).is_none());
        assert_eq!(queue.take_cancelled(), 1);
        let gone = window(3, 4);
        gone.cancelled.set(true);
        assert_eq!(ids(queue.next(now)), [1, 2]);
        queue.push(gone, now);
        assert!(matches!(queue.next(now), Next::Empty));
        assert_eq!(queue.take_cancelled(), 1);
    }

    #[test]
    fn a_batch_is_of_one_length_and_no_window_overtakes_another_of_its_leg() {
        let now = Instant::now();
        let mut queue = Queue::new(options(8, 8));
        for (id, leg, length) in [(0, 1, 4), (1, 2, 6), (2, 2, 4), (3, 3, 4), (4, 3, 6)] {
            queue.push(Window { length, ..window(id, leg) }, now);
        }
        queue.drain();
        assert_eq!(ids(queue.next(now)), [0, 3], "2 is of the length but must not overtake 1");
        assert_eq!(ids(queue.next(now)), [1, 4]);
        assert_eq!(ids(queue.next(now)), [2]);
    }

    /// The same rules over a plain list, each written as its sentence and without regard to cost.
    struct Naive {
        options: Options,
        waiting: Vec<(Instant, Window)>,
    }

    impl Naive {
        fn forget_cancelled(&mut self) {
            self.waiting.retain(|(_, window)| !window.cancelled.get());
        }

        fn push(&mut self, window: Window, now: Instant) -> Option<usize> {
            if self.waiting.len() == self.options.capacity {
                self.forget_cancelled();
            }
            self.waiting.push((now, window));
            if self.waiting.len() <= self.options.capacity {
                return None;
            }
            let busy = |leg| self.waiting.iter().filter(|(_, other)| other.leg == leg).count();
            // The first of the largest: `max_by_key` gives the last, so from behind.
            let (place, _) = self.waiting.iter().enumerate().rev().max_by_key(|(_, (_, window))| busy(window.leg))?;
            Some(self.waiting.remove(place).1.id)
        }

        fn next(&mut self, now: Instant) -> Result<Vec<usize>, Option<Instant>> {
            self.forget_cancelled();
            let (arrived, oldest) = self.waiting.first().cloned().ok_or(None)?;
            let mut batch: Vec<usize> = Vec::new();
            for (place, (_, window)) in self.waiting.iter().enumerate() {
                let overtakes = self.waiting[..place]
                    .iter()
                    .any(|(_, other)| other.leg == window.leg && !batch.contains(&other.id));
                if batch.len() < self.options.max_batch && window.length == oldest.length && !overtakes {
                    batch.push(window.id);
                }
            }
            let due = arrived + self.options.max_wait;
            if batch.len() < self.options.max_batch && now < due {
                return Err(Some(due));
            }
            self.waiting.retain(|(_, window)| !batch.contains(&window.id));
            Ok(batch)
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push { leg: u64, length: usize },
        Cancel(prop::sample::Index),
        Next,
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            5 => (0..4_u64, 1..3_usize).prop_map(|(leg, length)| Step::Push { leg, length }),
            1 => any::<prop::sample::Index>().prop_map(Step::Cancel),
            2 => Just(Step::Next),
            2 => (0..4_u64).prop_map(Step::Pass),
        ]
    }

    proptest! {
        #[test]
        fn does_as_the_naive_form(
            steps in prop::collection::vec(step(), 1..200), capacity in 1..9_usize, max_batch in 1..5_usize,
        ) {
            let options = options(capacity, max_batch);
            let mut queue = Queue::new(options);
            let mut naive = Naive { options, waiting: Vec::new() };
            let (mut now, mut all, mut batched) = (Instant::now(), Vec::<Window>::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Push { leg, length } => {
                        let window = Window { length, ..window(all.len(), leg) };
                        all.push(window.clone());
                        let shed = queue.push(window.clone(), now).map(|shed| shed.id);
                        prop_assert_eq!(shed, naive.push(window, now));
                    }
                    Step::Cancel(index) if !all.is_empty() => index.get(&all).cancelled.set(true),
                    Step::Cancel(_) => {}
                    Step::Next => match (queue.next(now), naive.next(now)) {
                        (Next::Empty, Err(None)) => {}
                        (Next::WaitUntil(due), Err(Some(expected))) => prop_assert_eq!(due, expected),
                        (batch @ Next::Batch(_), Ok(expected)) => {
                            prop_assert_eq!(ids(batch), expected.clone());
                            batched.extend(expected);
                        }
                        (actual, expected) => prop_assert!(false, "{actual:?} is not {expected:?}"),
                    },
                    Step::Pass(milliseconds) => now += Duration::from_millis(milliseconds),
                }
                prop_assert_eq!(queue.len(), naive.waiting.len());
                prop_assert!(queue.len() <= capacity);
            }
            for leg in 0..4 {
                let order: Vec<_> = batched.iter().filter(|id| all[**id].leg == leg).collect();
                prop_assert!(order.is_sorted(), "the windows of leg {} came in the order {:?}", leg, order);
            }
        }
    }
}
