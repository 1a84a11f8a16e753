//! Which legs of which calls are live, and how many.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use dashmap::{DashMap, Entry};
use uuid::Uuid;

use super::Refusal;

/// The legs that are live, by call and leg, each with the session that serves it.
pub(super) struct Registry {
    legs: DashMap<Key, Uuid>,
    taken: AtomicUsize,
    limit: usize,
}

/// Call and leg.
type Key = (Arc<str>, Arc<str>);

/// The same leg of the same call is live.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "leg {leg_id:?} of call {call_id:?} is live in session {session_id}; end that stream first, or give this leg another leg_id"
)]
pub struct Live {
    /// The call.
    pub call_id: String,
    /// The leg.
    pub leg_id: String,
    /// Who serves it.
    pub session_id: Uuid,
}

/// The legs of one call in the registry, while it is held.
pub(super) struct Slots {
    registry: Arc<Registry>,
    keys: Vec<Key>,
    places: usize,
}

impl Registry {
    pub(super) fn new(limit: usize) -> Self {
        Self { legs: DashMap::new(), taken: AtomicUsize::new(0), limit }
    }

    /// Legs that are live.
    pub(super) fn live(&self) -> usize {
        self.legs.len()
    }

    /// Takes all of these legs, or none.
    pub(super) fn take<'a>(
        self: &Arc<Self>,
        session_id: Uuid,
        call_id: &str,
        leg_ids: impl ExactSizeIterator<Item = &'a str>,
    ) -> Result<Slots, Refusal> {
        let call: Arc<str> = call_id.into();
        let mut slots = Slots { registry: Arc::clone(self), keys: Vec::with_capacity(leg_ids.len()), places: 0 };
        let legs = leg_ids.len();
        for leg_id in leg_ids {
            let key: Key = (Arc::clone(&call), leg_id.into());
            match self.legs.entry(key.clone()) {
                // What was taken so far goes back as `slots` is dropped.
                Entry::Occupied(other) => {
                    return Err(
                        Live { call_id: call_id.into(), leg_id: leg_id.into(), session_id: *other.get() }.into()
                    );
                }
                Entry::Vacant(place) => drop(place.insert(session_id)),
            }
            slots.keys.push(key);
        }
        let fits = |taken: usize| taken.checked_add(legs).filter(|taken| *taken <= self.limit);
        if self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err() {
            return Err(Refusal::Full { what: "legs", limit: self.limit });
        }
        slots.places = legs;
        Ok(slots)
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        for key in &self.keys {
            self.registry.legs.remove(key);
        }
        self.registry.taken.fetch_sub(self.places, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(registry: &Arc<Registry>, call: &str, legs: &[&str]) -> Result<Slots, Refusal> {
        registry.take(Uuid::new_v4(), call, legs.iter().copied())
    }

    #[test]
    fn a_leg_is_live_until_its_slots_are_dropped() {
        let registry = Arc::new(Registry::new(10));
        let slots = take(&registry, "c", &["customer"]).unwrap();
        let Err(Refusal::Live(live)) = take(&registry, "c", &["agent", "customer"]) else { panic!("taken twice") };
        assert_eq!((live.call_id.as_str(), live.leg_id.as_str()), ("c", "customer"));
        assert_eq!(registry.live(), 1, "the agent's leg went back");
        let other = take(&registry, "d", &["customer"]).unwrap();
        drop(slots);
        drop(take(&registry, "c", &["agent", "customer"]).unwrap());
        drop(other);
        assert_eq!((registry.live(), registry.taken.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn beyond_the_limit_nothing_is_taken() {
        let registry = Arc::new(Registry::new(2));
        let one = take(&registry, "a", &["x"]).unwrap();
        assert!(matches!(take(&registry, "b", &["x", "y"]), Err(Refusal::Full { limit: 2, .. })));
        assert_eq!(registry.live(), 1);
        let two = take(&registry, "b", &["x"]).unwrap();
        drop((one, two));
        take(&registry, "b", &["x", "y"]).unwrap();
    }
}
