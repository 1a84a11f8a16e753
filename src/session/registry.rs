//! Which legs of which calls are live, and how many.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use dashmap::{DashMap, Entry};
use uuid::Uuid;

use super::Refusal;

/// The legs that are live, by call and leg, each with the session that serves it.
pub(super) struct Registry {
    legs: DashMap<Key, Uuid>,
    taken: AtomicUsize,
    limit: AtomicUsize,
    /// Thousandths of a window a second.
    load: AtomicU64,
    most_load: AtomicU64,
}

/// Call and leg.
type Key = (Arc<str>, Arc<str>);

/// The same leg of the same call is live.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "leg {leg_id:?} of call {call_id:?} is live in session {session_id}; end that stream first, set takeover to end it, or give this leg another leg_id"
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
    load: u64,
}

impl Registry {
    /// Room for so many legs, and for what needs so many windows a second.
    pub(super) fn new(limit: usize, windows_per_second: f64) -> Self {
        Self {
            legs: DashMap::new(),
            taken: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            load: AtomicU64::new(0),
            most_load: AtomicU64::new(thousandths(windows_per_second)),
        }
    }

    /// Makes room for so many from now on. What is live beyond stays.
    pub(super) fn set_limits(&self, limit: usize, windows_per_second: f64) {
        self.limit.store(limit, Ordering::Relaxed);
        self.most_load.store(thousandths(windows_per_second), Ordering::Relaxed);
    }

    /// Legs that are live.
    pub(super) fn live(&self) -> usize {
        self.legs.len()
    }

    /// Windows a second that the live legs need, as they were admitted.
    pub(super) fn windows_per_second(&self) -> f64 {
        self.load.load(Ordering::Relaxed) as f64 / 1000.0
    }

    /// The most of them.
    pub(super) fn most_windows_per_second(&self) -> f64 {
        self.most_load.load(Ordering::Relaxed) as f64 / 1000.0
    }

    /// Takes all of these legs, which need so many windows a second together, or none.
    pub(super) fn take<'a>(
        self: &Arc<Self>,
        session_id: Uuid,
        call_id: &str,
        leg_ids: impl ExactSizeIterator<Item = &'a str>,
        windows_per_second: f64,
    ) -> Result<Slots, Refusal> {
        let call: Arc<str> = call_id.into();
        let keys = Vec::with_capacity(leg_ids.len());
        let mut slots = Slots { registry: Arc::clone(self), keys, places: 0, load: 0 };
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
        let limit = self.limit.load(Ordering::Relaxed);
        let fits = |taken: usize| taken.checked_add(legs).filter(|taken| *taken <= limit);
        if self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err() {
            return Err(Refusal::Full { what: "legs", limit });
        }
        slots.places = legs;
        let load = thousandths(windows_per_second);
        let most_load = self.most_load.load(Ordering::Relaxed);
        let fits = |taken: u64| taken.checked_add(load).filter(|taken| *taken <= most_load);
        if self.load.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err() {
            return Err(Refusal::Busy { windows_per_second: self.most_windows_per_second() });
        }
        slots.load = load;
        Ok(slots)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "loads are positive; one too large saturates"
)]
fn thousandths(windows_per_second: f64) -> u64 {
    (windows_per_second * 1000.0).round() as u64
}

impl Drop for Slots {
    fn drop(&mut self) {
        for key in &self.keys {
            self.registry.legs.remove(key);
        }
        self.registry.taken.fetch_sub(self.places, Ordering::Relaxed);
        self.registry.load.fetch_sub(self.load, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(registry: &Arc<Registry>, call: &str, legs: &[&str]) -> Result<Slots, Refusal> {
        registry.take(Uuid::new_v4(), call, legs.iter().copied(), 2.0 * legs.len() as f64)
    }

    #[test]
    fn a_leg_is_live_until_its_slots_are_dropped() {
        let registry = Arc::new(Registry::new(10, 100.0));
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
        let registry = Arc::new(Registry::new(2, 100.0));
        let one = take(&registry, "a", &["x"]).unwrap();
        assert!(matches!(take(&registry, "b", &["x", "y"]), Err(Refusal::Full { limit: 2, .. })));
        assert_eq!(registry.live(), 1);
        let two = take(&registry, "b", &["x"]).unwrap();
        drop((one, two));
        take(&registry, "b", &["x", "y"]).unwrap();
    }

    #[test]
    fn limits_may_change_while_legs_are_live() {
        let registry = Arc::new(Registry::new(2, 100.0));
        let live = take(&registry, "a", &["x", "y"]).unwrap();
        registry.set_limits(1, 100.0);
        assert!(matches!(take(&registry, "b", &["x"]), Err(Refusal::Full { limit: 1, .. })));
        registry.set_limits(9, 5.0);
        assert!(matches!(take(&registry, "b", &["x"]), Err(Refusal::Busy { .. })));
        registry.set_limits(9, 6.0);
        drop((take(&registry, "b", &["x"]).unwrap(), live));
    }

    #[test]
    fn a_leg_with_a_short_stride_weighs_more() {
        let registry = Arc::new(Registry::new(100, 8.0));
        let take =
            |call: &str, windows_per_second| registry.take(Uuid::new_v4(), call, ["x"].into_iter(), windows_per_second);
        let quick = take("a", 4.0).unwrap();
        let slow = take("b", 2.5).unwrap();
        let Err(Refusal::Busy { windows_per_second }) = take("c", 2.0) else { panic!("taken beyond the limit") };
        assert!((windows_per_second - 8.0).abs() < 1e-9);
        assert_eq!(
            (registry.live(), registry.taken.load(Ordering::Relaxed)),
            (2, 2),
            "nothing is kept of what was refused"
        );
        let other = take("c", 1.5).unwrap();
        assert!((registry.windows_per_second() - 8.0).abs() < 1e-9);
        drop((quick, slow, other));
        assert!(registry.windows_per_second().abs() < 1e-9);
    }
}
