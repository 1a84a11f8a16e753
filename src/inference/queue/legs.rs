//! The windows that wait, by leg, in the three orders that the queue asks for.
//!
//! Only the oldest window of a leg can be the next of it to go, so legs are ordered, not windows: by who has waited longest, by that
//! among those whose next window is of one length, and by who gives way first.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, VecDeque, hash_map::Entry},
    time::Instant,
};

use super::Waiting;

/// All that waits.
#[derive(Debug)]
pub(super) struct Legs<R> {
    legs: HashMap<u64, Leg<R>>,
    orders: Orders,
    windows: usize,
    /// Tickets given out: the higher, the later.
    tickets: u64,
}

/// What waits of one leg.
#[derive(Debug)]
struct Leg<R> {
    number: u64,
    oldest: Window<R>,
    /// The others, oldest first.
    rest: VecDeque<Window<R>>,
    /// When it was shed last, as the queue counts; 0 for never.
    last_shed: u64,
}

#[derive(Debug)]
struct Window<R> {
    ticket: u64,
    arrived: Instant,
    request: R,
}

/// Every leg once in each, by what stands before its number.
#[derive(Debug, Default)]
struct Orders {
    /// The ticket of its oldest window.
    by_age: BTreeSet<(u64, u64)>,
    /// That window's length and ticket.
    by_length: BTreeSet<(usize, u64, u64)>,
    /// Who gives way first: how many of it wait, most first, when it was shed last, and its oldest ticket.
    by_burden: BTreeSet<(Reverse<usize>, u64, u64, u64)>,
}

impl<R: Waiting> Legs<R> {
    /// None, with room for so many windows.
    pub(super) fn with_capacity(windows: usize) -> Self {
        // One more, since what is pushed is counted in before another goes.
        let legs = HashMap::with_capacity(windows.saturating_add(1));
        Self { legs, orders: Orders::default(), windows: 0, tickets: 0 }
    }

    /// Windows that wait.
    pub(super) fn len(&self) -> usize {
        self.windows
    }

    /// Takes a window in, of a leg that was shed last at `last_shed`.
    pub(super) fn push(&mut self, request: R, arrived: Instant, last_shed: u64) {
        self.tickets += 1;
        self.windows += 1;
        let number = request.leg();
        let window = Window { ticket: self.tickets, arrived, request };
        match self.legs.entry(number) {
            Entry::Occupied(mut leg) => {
                let leg = leg.get_mut();
                self.orders.by_burden.remove(&leg.burden());
                leg.rest.push_back(window);
                self.orders.by_burden.insert(leg.burden());
            }
            Entry::Vacant(place) => {
                let leg = Leg { number, oldest: window, rest: VecDeque::new(), last_shed };
                self.orders.insert(place.insert(leg));
            }
        }
    }

    /// When the oldest window came, and its length.
    pub(super) fn oldest(&self) -> Option<(Instant, usize)> {
        let (_, leg) = self.orders.by_age.first()?;
        let oldest = &self.legs[leg].oldest;
        Some((oldest.arrived, oldest.request.length()))
    }

    /// Whether so many windows of this length can go together, none of which overtakes another of its leg.
    pub(super) fn fill(&self, length: usize, windows: usize) -> bool {
        if self.windows < windows {
            return false;
        }
        // No more is looked at than is asked for.
        let mut missing = windows;
        self.orders.of_length(length).any(|leg| {
            missing -= self.legs[&leg].at_once(missing);
            missing == 0
        })
    }

    /// Takes out the oldest window of this length that overtakes none of its leg.
    pub(super) fn pop_of(&mut self, length: usize) -> Option<(Instant, R)> {
        let leg = self.orders.of_length(length).next()?;
        self.pop(leg).map(|window| (window.arrived, window.request))
    }

    /// The leg that is to give way.
    pub(super) fn busiest(&self) -> Option<u64> {
        self.orders.by_burden.first().map(|(.., leg)| *leg)
    }

    /// Takes out the oldest window of a leg, which is shed at `last_shed`.
    pub(super) fn shed(&mut self, leg: u64, last_shed: u64) -> Option<R> {
        let window = self.pop(leg)?;
        if let Some(leg) = self.legs.get_mut(&leg) {
            self.orders.by_burden.remove(&leg.burden());
            leg.last_shed = last_shed;
            self.orders.by_burden.insert(leg.burden());
        }
        Some(window.request)
    }

    /// Takes out a window, wherever it stands among those of its leg.
    pub(super) fn remove(&mut self, leg: u64, id: u64) -> Option<R> {
        let waiting = self.legs.get_mut(&leg)?;
        if waiting.oldest.request.id() == id {
            return self.pop(leg).map(|window| window.request);
        }
        let place = waiting.rest.iter().position(|window| window.request.id() == id)?;
        self.orders.by_burden.remove(&waiting.burden());
        let removed = waiting.rest.remove(place);
        self.orders.by_burden.insert(waiting.burden());
        self.windows -= 1;
        removed.map(|window| window.request)
    }

    /// Takes everything out, oldest first.
    pub(super) fn take_all(&mut self) -> Vec<R> {
        self.orders = Orders::default();
        self.windows = 0;
        let legs = self.legs.drain().map(|(_, leg)| leg);
        let mut all: Vec<Window<R>> = legs.flat_map(|leg| std::iter::once(leg.oldest).chain(leg.rest)).collect();
        all.sort_unstable_by_key(|window| window.ticket);
        all.into_iter().map(|window| window.request).collect()
    }

    /// Takes out the oldest window of a leg.
    fn pop(&mut self, leg: u64) -> Option<Window<R>> {
        let Entry::Occupied(mut place) = self.legs.entry(leg) else { return None };
        self.windows -= 1;
        let leg = place.get_mut();
        self.orders.remove(leg);
        let Some(next) = leg.rest.pop_front() else { return Some(place.remove().oldest) };
        let oldest = std::mem::replace(&mut leg.oldest, next);
        self.orders.insert(leg);
        Some(oldest)
    }
}

impl<R: Waiting> Leg<R> {
    fn age(&self) -> (u64, u64) {
        (self.oldest.ticket, self.number)
    }

    fn length(&self) -> (usize, u64, u64) {
        (self.oldest.request.length(), self.oldest.ticket, self.number)
    }

    fn burden(&self) -> (Reverse<usize>, u64, u64, u64) {
        (Reverse(1 + self.rest.len()), self.last_shed, self.oldest.ticket, self.number)
    }

    /// How many of its windows, `most` at most, are as long as the oldest up to the first that is not.
    fn at_once(&self, most: usize) -> usize {
        let length = self.oldest.request.length();
        let alike =
            self.rest.iter().take(most.saturating_sub(1)).take_while(|window| window.request.length() == length);
        1 + alike.count()
    }
}

impl Orders {
    fn insert<R: Waiting>(&mut self, leg: &Leg<R>) {
        self.by_age.insert(leg.age());
        self.by_length.insert(leg.length());
        self.by_burden.insert(leg.burden());
    }

    fn remove<R: Waiting>(&mut self, leg: &Leg<R>) {
        self.by_age.remove(&leg.age());
        self.by_length.remove(&leg.length());
        self.by_burden.remove(&leg.burden());
    }

    /// The legs whose oldest window is of this length, that window's age first.
    fn of_length(&self, length: usize) -> impl Iterator<Item = u64> {
        self.by_length.range((length, 0, 0)..=(length, u64::MAX, u64::MAX)).map(|(.., leg)| *leg)
    }
}
