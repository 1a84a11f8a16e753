//! Scenarios with a clock of their own, and the queue against a naive form of its rules.

use std::cmp::Reverse;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
struct Window {
    id: usize,
    leg: u64,
    length: usize,
}

impl Waiting for Window {
    fn leg(&self) -> u64 {
        self.leg
    }

    fn id(&self) -> u64 {
        self.id as u64
    }

    fn length(&self) -> usize {
        self.length
    }
}

fn window(id: usize, leg: u64) -> Window {
    Window { id, leg, length: 4 }
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
    assert_eq!(queue.push(window(4, 9), now).map(|shed| shed.id), Some(1), "8 and 9 have two each, 8's is the oldest");
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
fn of_equal_legs_the_one_that_was_shed_longest_ago_gives_way() {
    let now = Instant::now();
    let mut queue = Queue::new(options(3, 8));
    (0..3).for_each(|id| assert!(queue.push(window(id, id as u64), now).is_none()));
    assert_eq!(queue.push(window(3, 0), now).map(|shed| shed.id), Some(0), "leg 0 has two");
    assert_eq!(queue.push(window(4, 3), now).map(|shed| shed.id), Some(1), "leg 1 was never shed");
    assert_eq!(queue.push(window(5, 1), now).map(|shed| shed.id), Some(2), "leg 2 neither");
    assert_eq!(queue.push(window(6, 2), now).map(|shed| shed.id), Some(4), "leg 3 neither");
    assert_eq!(queue.push(window(7, 3), now).map(|shed| shed.id), Some(3), "of all leg 0 longest ago");
}

#[test]
fn a_cancelled_window_is_not_run_and_makes_room() {
    let now = Instant::now();
    let mut queue = Queue::new(options(3, 3));
    for (id, leg) in [(0, 1), (1, 1), (2, 2)] {
        queue.push(window(id, leg), now);
    }
    assert_eq!(queue.cancel(1, 1).map(|gone| gone.id), Some(1));
    assert!(queue.push(window(3, 3), now).is_none(), "there is room for it");
    assert_eq!(ids(queue.next(now)), [0, 2, 3]);
    assert!(queue.cancel(1, 0).is_none() && queue.cancel(9, 9).is_none(), "neither waits");
    queue.push(window(4, 4), now);
    assert_eq!(queue.cancel(4, 4).map(|gone| gone.id), Some(4));
    assert!(matches!(queue.next(now), Next::Empty));
}

#[test]
fn a_leg_whose_windows_were_cancelled_is_no_longer_the_busiest() {
    let now = Instant::now();
    let mut queue = Queue::new(options(5, 8));
    for (id, leg) in [(0, 1), (1, 1), (2, 1), (3, 2), (4, 2)] {
        queue.push(window(id, leg), now);
    }
    assert!(queue.cancel(1, 2).is_some() && queue.cancel(1, 0).is_some());
    queue.push(window(5, 3), now);
    queue.push(window(6, 4), now);
    assert_eq!(queue.push(window(7, 5), now).map(|shed| shed.id), Some(3), "leg 2 has two, leg 1 has one left");
    assert_eq!(queue.take_all().iter().map(|window| window.id).collect::<Vec<_>>(), [1, 4, 5, 6, 7]);
    assert!(queue.is_empty() && matches!(queue.next(now), Next::Empty));
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
    shed: Vec<u64>,
}

impl Naive {
    fn cancel(&mut self, id: usize) -> Option<usize> {
        let place = self.waiting.iter().position(|(_, window)| window.id == id)?;
        Some(self.waiting.remove(place).1.id)
    }

    fn push(&mut self, window: Window, now: Instant) -> Option<usize> {
        self.waiting.push((now, window));
        if self.waiting.len() <= self.options.capacity {
            return None;
        }
        let busy = |leg| self.waiting.iter().filter(|(_, other)| other.leg == leg).count();
        let last_shed = |leg| self.shed.iter().rposition(|other| *other == leg);
        let gives_way =
            |(_, (_, window)): &(usize, &(Instant, Window))| (Reverse(busy(window.leg)), last_shed(window.leg));
        let (place, _) = self.waiting.iter().enumerate().min_by_key(gives_way)?;
        let (_, window) = self.waiting.remove(place);
        self.shed.push(window.leg);
        Some(window.id)
    }

    fn next(&mut self, now: Instant) -> Result<Vec<usize>, Option<Instant>> {
        let (arrived, oldest) = self.waiting.first().cloned().ok_or(None)?;
        let mut batch: Vec<usize> = Vec::new();
        for (place, (_, window)) in self.waiting.iter().enumerate() {
            let overtakes =
                self.waiting[..place].iter().any(|(_, other)| other.leg == window.leg && !batch.contains(&other.id));
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
        let mut naive = Naive { options, waiting: Vec::new(), shed: Vec::new() };
        let (mut now, mut all, mut batched) = (Instant::now(), Vec::<Window>::new(), Vec::new());
        for step in steps {
            match step {
                Step::Push { leg, length } => {
                    let window = Window { length, ..window(all.len(), leg) };
                    all.push(window.clone());
                    let shed = queue.push(window.clone(), now).map(|shed| shed.id);
                    prop_assert_eq!(shed, naive.push(window, now));
                }
                Step::Cancel(index) if !all.is_empty() => {
                    let Window { id, leg, .. } = *index.get(&all);
                    prop_assert_eq!(queue.cancel(leg, id as u64).map(|gone| gone.id), naive.cancel(id));
                }
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
