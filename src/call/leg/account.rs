//! What a leg comes to: how it stands, and what it was in all.

use std::time::Duration;

use super::Leg;
use crate::call::{EndReason, LegStatus, Summary};

impl Leg {
    /// How it stands.
    pub(in crate::call) fn status(&self) -> LegStatus {
        LegStatus {
            leg: self.index,
            received_samples: self.received_samples,
            dropped_samples: self.dropped_samples,
            filled_samples: self.filled_samples,
            waiting_windows: self.pending.iter().filter(|pending| pending.finding.is_waiting()).count(),
            shed_windows: self.shed_windows,
            on_hold: self.on_hold,
            not_scored: self.last_not_scored,
        }
    }

    /// What was heard on it, in all.
    pub(in crate::call) fn summary(&self, end_reason: EndReason, warnings: Vec<String>) -> Summary {
        Summary {
            leg: self.index,
            end_reason: if self.withdrawn { EndReason::ConsentWithdrawn } else { end_reason },
            received_samples: self.received_samples,
            dropped_samples: self.dropped_samples,
            filled_samples: self.filled_samples,
            speech: if self.withdrawn { Duration::ZERO } else { Duration::from_secs_f64(self.speech_seconds) },
            scored_windows: self.decider.windows(),
            not_scored: self.not_scored.iter().map(|(reason, strides)| (*reason, *strides)).collect(),
            mean: self.decider.mean(),
            shares: self.decider.shares(),
            shed_windows: self.shed_windows,
            warnings,
        }
    }
}
