//! What a model and its shadow made of the same stretch of a call, until both have.

use std::collections::BTreeMap;

use crate::decision::Judgement;

/// Stretches of one call that wait for their other half: twice the windows that a call may have out by default.
const MOST: usize = 64;

/// A stretch: what tells it from the leg's others and rises from one to the next, and the leg.
pub(super) type Key = (u64, usize);

/// Halves that wait for the other.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    waiting: BTreeMap<Key, Half>,
    unpaired: u64,
}

/// One side's.
#[derive(Debug)]
enum Half {
    Live(Judgement),
    Shadow(Judgement),
}

impl Pairs {
    /// Takes in what the model in service thinks; gives both where the shadow was first.
    pub(super) fn live(&mut self, key: Key, judgement: Judgement) -> Option<(Judgement, Judgement)> {
        match self.waiting.remove(&key) {
            Some(Half::Shadow(shadow)) => Some((judgement, shadow)),
            _ => self.wait(key, Half::Live(judgement)),
        }
    }

    /// Takes in what the shadow thinks; gives both where the model in service was first.
    pub(super) fn shadow(&mut self, key: Key, judgement: Judgement) -> Option<(Judgement, Judgement)> {
        match self.waiting.remove(&key) {
            Some(Half::Live(live)) => Some((live, judgement)),
            _ => self.wait(key, Half::Shadow(judgement)),
        }
    }

    /// The model in service did not judge a stretch.
    pub(super) fn unjudged(&mut self, key: Key) {
        if let Some(Half::Shadow(_)) = self.waiting.remove(&key) {
            self.unpaired += 1;
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Judgements of the shadow without another half since this was last asked.
    pub(super) fn take_unpaired(&mut self) -> u64 {
        std::mem::take(&mut self.unpaired)
    }

    fn wait(&mut self, key: Key, half: Half) -> Option<(Judgement, Judgement)> {
        self.waiting.insert(key, half);
        // A half whose other never comes, because its window was skipped, say, goes at last; the lowest is the oldest.
        while self.waiting.len() > MOST {
            if let Some((_, Half::Shadow(_))) = self.waiting.pop_first() {
                self.unpaired += 1;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judgement(confidence: f32) -> Judgement {
        Judgement { probabilities: vec![confidence], label: Some(0), confidence }
    }

    #[test]
    fn halves_meet_in_either_order_and_once() {
        let mut pairs = Pairs::default();
        assert_eq!(pairs.live((1, 0), judgement(0.5)), None);
        assert_eq!(pairs.shadow((1, 0), judgement(0.6)), Some((judgement(0.5), judgement(0.6))));
        assert_eq!(pairs.shadow((1, 1), judgement(0.6)), None, "another leg");
        assert_eq!(pairs.live((1, 1), judgement(0.5)), Some((judgement(0.5), judgement(0.6))));
        assert_eq!((pairs.waiting.len(), pairs.take_unpaired()), (0, 0));
    }

    #[test]
    fn what_finds_no_other_half_is_counted_and_never_piles_up() {
        let mut pairs = Pairs::default();
        pairs.shadow((0, 0), judgement(0.6));
        pairs.unjudged((0, 0));
        pairs.unjudged((7, 0));
        assert_eq!(pairs.take_unpaired(), 1);
        for key in 0..MOST as u64 + 10 {
            pairs.shadow((key, 0), judgement(0.6));
        }
        assert_eq!((pairs.waiting.len(), pairs.take_unpaired(), pairs.take_unpaired()), (MOST, 10, 0));
        pairs.clear();
        assert!(pairs.waiting.is_empty());
    }
}
