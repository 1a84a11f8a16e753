//! Calls, and legs of calls, whose consent was withdrawn: they are not analysed again for a day, whoever sends them, to whichever server
//! of the journal, registered or not.
//!
//! The audit entry says so to other servers, and to this one after a restart.

use std::time::{Duration, SystemTime};

use dashmap::DashMap;

use super::{Refusal, Request, Sessions};
use crate::journal::{Action, Audit, Entry, Record};

/// How long a withdrawal is remembered: as long as the longest registration, and any call that a platform may send again by itself.
pub(super) const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// Withdrawals, and until when each is remembered. There are as many as a day has withdrawals, at some 100 bytes each: none may be given up
/// for want of room.
#[derive(Default)]
pub(super) struct Withdrawals {
    until: DashMap<Withdrawn, SystemTime>,
}

/// A call, and the leg of it, or all.
type Withdrawn = (String, Option<String>);

impl Sessions {
    /// Sees to it that the call, or the leg, is not analysed again.
    pub(super) fn remember_withdrawal(&self, call_id: &str, leg_id: Option<&str>, at: SystemTime) {
        self.shared.withdrawals.add(call_id, leg_id, at);
        if leg_id.is_none() {
            self.shared.registrations.refuse(call_id);
        }
    }

    /// Takes over what an entry of the journal says of withdrawals.
    pub(super) fn recall_withdrawal(&self, entry: &Entry) {
        if let Record::Action(Action::WithdrawConsent { call_id, leg_id, .. })
        | Record::Audit(Audit::ConsentWithdrawn { call_id, leg_id, .. }) = &entry.draft.record
        {
            self.remember_withdrawal(call_id, leg_id.as_deref(), entry.draft.at);
        }
    }

    /// Refuses a call whose consent, or that of a leg in it, was withdrawn.
    pub(super) fn refuse_withdrawn(&self, request: &Request) -> Result<(), Refusal> {
        let (call_id, now) = (&request.call_id, SystemTime::now());
        let withdrawn = |leg_id| self.shared.withdrawals.holds(call_id, leg_id, now);
        if withdrawn(None) {
            return Err(Refusal::Withdrawn { what: format!("call {call_id:?}") });
        }
        match request.legs.iter().find(|leg| withdrawn(Some(&leg.leg_id))) {
            Some(leg) => Err(Refusal::Withdrawn { what: format!("leg {:?} of call {call_id:?}", leg.leg_id) }),
            None => Ok(()),
        }
    }
}

impl Withdrawals {
    fn add(&self, call_id: &str, leg_id: Option<&str>, at: SystemTime) {
        let until = at + REMEMBERED;
        let mut known = self.until.entry((call_id.to_owned(), leg_id.map(str::to_owned))).or_insert(until);
        *known = until.max(*known);
    }

    pub(super) fn holds(&self, call_id: &str, leg_id: Option<&str>, now: SystemTime) -> bool {
        let until = self.until.get(&(call_id.to_owned(), leg_id.map(str::to_owned)));
        until.is_some_and(|until| *until > now)
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Withdrawn> {
        self.until.iter().map(|known| known.key().clone()).collect()
    }

    /// Forgets those that are remembered no longer. A hundred thousand take milliseconds.
    pub(super) fn sweep(&self, now: SystemTime) {
        tokio::task::block_in_place(|| self.until.retain(|_, until| *until > now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_withdrawal_is_remembered_for_a_day_since_it_was_said_last() {
        let (withdrawals, now) = (Withdrawals::default(), SystemTime::now());
        withdrawals.add("c", None, now);
        withdrawals.add("d", Some("left"), now);
        let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3600));
        assert!(withdrawals.holds("c", None, now + REMEMBERED - second));
        assert!(!withdrawals.holds("c", None, now + REMEMBERED));
        assert!(!withdrawals.holds("d", None, now) && !withdrawals.holds("d", Some("right"), now));
        assert!(withdrawals.holds("d", Some("left"), now));
        // Said again, and told late of what was said before.
        withdrawals.add("c", None, now + hour);
        withdrawals.add("c", None, now - hour);
        withdrawals.sweep(now + REMEMBERED);
        assert!(withdrawals.holds("c", None, now + REMEMBERED));
        assert_eq!(withdrawals.all(), [("c".to_owned(), None)]);
    }
}
