//! Room for recordings: what live calls leave of it, and no more. Without clock or I/O.
//!
//! | | |
//! |---|---|
//! | a recording begins | it weighs as a leg of the default stride; with those in work it must fit into what live legs leave, but where there are none of either |
//! | a call begins | recordings in work take no room from it |
//! | recordings in work | are heard as fast as the room that is left allows, all together, and in real time each where none is left |

use std::time::{Duration, Instant};

use super::Refusal;

/// Weights are counted to a thousandth, as those of legs are.
const ROUNDING: f64 = 0.001;

/// Recordings in work.
#[derive(Debug, Default)]
pub(super) struct Recordings {
    count: usize,
    /// Windows a second that they would need as legs.
    weight: f64,
    /// When what was heard so far is paid off.
    paid: Option<Instant>,
}

/// Windows a second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// What the server scores.
    pub(super) most: f64,
    /// What live legs need of it.
    pub(super) taken: f64,
}

impl Room {
    fn left(self) -> f64 {
        self.most - self.taken
    }
}

impl Recordings {
    /// Takes one more in, which as a leg would need so many windows a second.
    ///
    /// # Errors
    /// [`Refusal::Full`] and [`Refusal::Occupied`].
    pub(super) fn enter(&mut self, weight: f64, limit: usize, room: Room) -> Result<(), Refusal> {
        if self.count >= limit {
            return Err(Refusal::Full { what: "classifications", limit });
        }
        // An idle server takes one, however slow it is.
        let is_idle = self.count == 0 && room.taken < ROUNDING;
        if !is_idle && self.weight + weight > room.left() + ROUNDING {
            return Err(Refusal::Occupied { windows_per_second: room.most });
        }
        self.count += 1;
        self.weight += weight;
        Ok(())
    }

    /// One is over.
    pub(super) fn leave(&mut self, weight: f64) {
        self.count -= 1;
        self.weight = if self.count == 0 { 0.0 } else { self.weight - weight };
    }

    /// When the next audio of one may be heard, that would take so many windows.
    pub(super) fn turn(&mut self, windows: f64, room: Room, now: Instant) -> Instant {
        let begins = self.paid.map_or(now, |paid| paid.max(now));
        let takes = windows / room.left().max(self.weight);
        self.paid = Duration::try_from_secs_f64(takes).ok().and_then(|takes| begins.checked_add(takes));
        begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEIGHT: f64 = 2.0;

    fn room(most: f64, taken: f64) -> Room {
        Room { most, taken }
    }

    /// How long so many seconds of audio take, heard by the half second.
    fn heard(recordings: &mut Recordings, half_seconds: u32, room: Room) -> Duration {
        let began = Instant::now();
        let mut now = began;
        for _ in 0..half_seconds {
            now = recordings.turn(WEIGHT / 2.0, room, now);
        }
        now - began
    }

    #[test]
    fn recordings_get_what_live_legs_leave() {
        let mut recordings = Recordings::default();
        recordings.enter(WEIGHT, 4, room(100.0, 98.0)).unwrap();
        assert!(
            matches!(recordings.enter(WEIGHT, 4, room(100.0, 97.0)), Err(Refusal::Occupied { windows_per_second }) if windows_per_second == 100.0)
        );
        recordings.enter(WEIGHT, 4, room(100.0, 96.0)).unwrap();
        recordings.leave(WEIGHT);
        recordings.enter(WEIGHT, 2, room(100.0, 0.0)).unwrap();
        assert!(matches!(recordings.enter(WEIGHT, 2, room(100.0, 0.0)), Err(Refusal::Full { limit: 2, .. })));
        (0..2).for_each(|_| recordings.leave(WEIGHT));
        assert!(recordings.enter(WEIGHT, 2, room(1.0, 0.5)).is_err());
        recordings.enter(WEIGHT, 2, room(1.0, 0.0)).unwrap();
        assert!(recordings.enter(WEIGHT, 2, room(1.0, 0.0)).is_err(), "one that is slow and idle takes one");
    }

    #[test]
    fn they_are_heard_as_fast_as_there_is_room() {
        let mut recordings = Recordings::default();
        recordings.enter(WEIGHT, 4, room(100.0, 60.0)).unwrap();
        // 120 windows at 40 a second, the first at once.
        let minute = heard(&mut recordings, 120, room(100.0, 60.0));
        assert!((minute.as_secs_f64() - 119.0 / 40.0).abs() < 1e-6, "{minute:?}");
    }

    #[test]
    fn all_of_them_share_the_room() {
        let mut recordings = Recordings::default();
        let now = Instant::now();
        (0..4).for_each(|_| recordings.enter(WEIGHT, 4, room(100.0, 90.0)).unwrap());
        let turns = [(); 4].map(|()| recordings.turn(1.0, room(100.0, 90.0), now) - now);
        assert_eq!(turns.map(|turn| turn.as_millis()), [0, 100, 200, 300]);
    }

    #[test]
    fn where_calls_came_since_they_go_on_in_real_time() {
        let mut recordings = Recordings::default();
        (0..2).for_each(|_| recordings.enter(WEIGHT, 4, room(100.0, 90.0)).unwrap());
        for taken in [100.0, 250.0] {
            // Two of them: ten seconds of each, by turns.
            let mut of_this = Recordings { paid: None, ..recordings };
            let both = heard(&mut of_this, 40, room(100.0, taken));
            assert!((both.as_secs_f64() - 39.0 / 4.0).abs() < 1e-6, "{both:?}");
        }
    }

    #[test]
    fn a_pause_saves_nothing_up() {
        let mut recordings = Recordings::default();
        recordings.enter(WEIGHT, 1, room(10.0, 0.0)).unwrap();
        let now = Instant::now();
        recordings.turn(1.0, room(10.0, 0.0), now);
        let later = now + Duration::from_secs(60);
        assert_eq!(recordings.turn(1.0, room(10.0, 0.0), later), later);
        assert_eq!(recordings.turn(1.0, room(10.0, 0.0), later), later + Duration::from_millis(100));
    }
}
