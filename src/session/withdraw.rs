//! Withdrawn consent and deletion: the analysis stops on every server of the journal, and what is kept is deleted.
//!
//! Legs of this server stop first, whatever the journal does. Servers on which more of the call lives, as they tell or as the journal says, are
//! asked by an [`Action`], and say by an audit entry that it is done. Every server, asked or not, does the same once it reads of it
//! ([`Sessions::follow_withdrawals`]), so that a call is stopped of which nobody knew yet, and nothing is written that waited meanwhile.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Acknowledgement, CallView, Denied, LiveCall, Sessions,
    actions::PATIENCE,
    board::{Command, Purged},
    withdrawals::REMEMBERED,
};
use crate::{
    decision::alert::Attribution,
    journal::{self, Action, Audit, Draft, Entry, Record, Scope},
};
use stop::Stopped;

mod stop;
mod unanswered;

pub(super) use unanswered::Unanswered;

/// Who says that something is withdrawn which a server left undone.
const SERVER: &str = "server";

/// Clocks of servers that share a journal differ by less. Time servers keep them within some milliseconds; a call that began so shortly after
/// the deletion of another of its name is stopped as well rather than one that was deleted left on.
const CLOCKS_APART: Duration = Duration::from_secs(5);

/// What a withdrawal or a deletion came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forgotten {
    /// Live legs of this server whose analysis stopped.
    pub live_legs: usize,
    /// Entries of the journal that were deleted.
    pub entries: u64,
}

impl Sessions {
    /// Withdraws consent for a call, or one leg of it: its analysis stops, wherever it lives, what is kept of it is deleted, and it is
    /// not analysed again.
    ///
    /// # Errors
    /// [`Denied::NotDeletedYet`], [`Denied::NotToldYet`] and [`Denied::NoAnswer`] tell what could not be done within [`PATIENCE`], once for the
    /// analysis and once for the deletion. The rest is done, and this is tried until it is.
    pub async fn withdraw_consent(
        &self,
        call_id: &str,
        leg_id: Option<&str>,
        by: Attribution,
    ) -> Result<Forgotten, Denied> {
        let (sessions, call_id, leg_id) = (self.clone(), call_id.to_owned(), leg_id.map(str::to_owned));
        self.see_through(async move { sessions.withdraw(&call_id, leg_id.as_deref(), by).await }).await
    }

    async fn withdraw(&self, call_id: &str, leg_id: Option<&str>, by: Attribution) -> Result<Forgotten, Denied> {
        let deadline = Instant::now() + PATIENCE;
        let mut stopped = self.stop(call_id, leg_id, &by, deadline).await?;
        self.remember_withdrawal(call_id, leg_id, SystemTime::now());
        // One that began meanwhile.
        self.stop_here(call_id, leg_id, &by).await;
        // Where it lives it was deleted; what was told of its end since stays.
        if !stopped.purged {
            stopped.deleted(self.purge_withdrawn(call_id, leg_id, by).await);
        }
        let forgotten = self.finished(stopped)?;
        if leg_id.is_none() {
            self.keep_refused(call_id).await?;
        }
        Ok(forgotten)
    }

    /// Deletes what is kept of a call. One that still lives, here or on another server, is analysed no further and refused for a day, as if
    /// consent were withdrawn; what is told of it afterwards holds no scores.
    ///
    /// # Errors
    /// As [`Sessions::withdraw_consent`].
    pub async fn delete_call(&self, call_id: &str, by: Attribution) -> Result<Forgotten, Denied> {
        let (sessions, call_id) = (self.clone(), call_id.to_owned());
        self.see_through(async move { sessions.delete(&call_id, by).await }).await
    }

    async fn delete(&self, call_id: &str, by: Attribution) -> Result<Forgotten, Denied> {
        let deadline = Instant::now() + PATIENCE;
        let mut stopped = self.stop(call_id, None, &by, deadline).await?;
        let (call_id, Attribution { actor, reason }) = (call_id.to_owned(), by);
        let audit = Audit::CallDeleted { call_id: call_id.clone(), actor, reason, entries: 0 };
        stopped.deleted(self.purge(Scope::Call(call_id.clone()), audit).await);
        self.shared.registrations.forget_call(&call_id);
        self.finished(stopped)
    }

    /// Deletes what is kept of a subject and of the calls in which he spoke, as [`Sessions::delete_call`] does.
    ///
    /// # Errors
    /// As [`Sessions::withdraw_consent`].
    pub async fn delete_subject(&self, subject: &str, by: Attribution) -> Result<Forgotten, Denied> {
        let (sessions, subject) = (self.clone(), subject.to_owned());
        self.see_through(async move { sessions.delete_all_of(&subject, by).await }).await
    }

    /// Does it to the end, although whoever asked may go meanwhile.
    async fn see_through(
        &self,
        work: impl Future<Output = Result<Forgotten, Denied>> + Send + 'static,
    ) -> Result<Forgotten, Denied> {
        let (answer, answered) = oneshot::channel();
        self.spawn(async move { drop(answer.send(work.await)) });
        answered.await.unwrap_or(Err(Denied::Journal(journal::Error::Closed)))
    }

    async fn delete_all_of(&self, subject: &str, by: Attribution) -> Result<Forgotten, Denied> {
        let deadline = Instant::now() + PATIENCE;
        let scope = Scope::Subject(subject.to_owned());
        let query = scope.query();
        let waiting = self.shared.feed.waiting(&query);
        let mut calls: BTreeSet<String> = waiting.into_iter().filter_map(|draft| draft.call_id).collect();
        let is_purged = self.shared.feed.is_purging(&scope);
        let kept = self.read_by(deadline, query).await;
        let is_read = kept.is_some();
        calls.extend(kept.into_iter().flatten().filter_map(|entry| entry.draft.call_id));
        let speaks = |call: &&Arc<CallView>| call.legs.iter().any(|leg| leg.subject.as_deref() == Some(subject));
        calls.extend(self.view_now().await.calls.iter().filter(speaks).map(|call| call.call_id.clone()));
        calls.extend(self.registered_calls_of(subject));
        calls.extend(self.shared.unanswered.calls_of(subject));
        if calls.is_empty() && is_read && !is_purged {
            return Err(Denied::Unknown { what: "subject", id: subject.to_owned() });
        }
        let mut all = Stopped::nothing();
        for call_id in &calls {
            match self.stop(call_id, None, &by, deadline).await {
                Ok(stopped) => all.add(stopped),
                // It went meanwhile.
                Err(Denied::Unknown { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        if all.is_unanswered() {
            self.shared.unanswered.not_all_stopped(subject, calls);
        }
        let Attribution { actor, reason } = by;
        let audit = Audit::SubjectDeleted { subject: subject.to_owned(), actor, reason, entries: 0 };
        all.deleted(self.purge(scope, audit).await);
        self.shared.registrations.forget_subject(subject);
        self.finished(all)
    }

    /// Does what an entry of the journal says was asked for, or done, on any server.
    pub(super) async fn follow_withdrawals(&self, entry: &Entry) {
        self.recall_withdrawal(entry);
        // What a call that is stopped tells afterwards stays.
        let ticket = self.shared.feed.ticket();
        let by = |actor: &str, reason: &str| Attribution { actor: actor.to_owned(), reason: reason.to_owned() };
        // Nobody waits for the deletion here, which is tried until it is done.
        match &entry.draft.record {
            Record::Action(Action::WithdrawConsent { call_id, leg_id, actor, reason })
            | Record::Audit(Audit::ConsentWithdrawn { call_id, leg_id, actor, reason, .. }) => {
                self.stop_here(call_id, leg_id.as_deref(), &by(actor, reason)).await;
            }
            Record::Audit(Audit::CallDeleted { call_id, actor, reason, .. }) => {
                let calls = self.calls_before(entry, |call| call.call_id == *call_id);
                stop_all(calls, None, &by(actor, reason)).await;
            }
            Record::Audit(Audit::SubjectDeleted { subject, actor, reason, .. }) => {
                let speaks = |call: &Acknowledgement| call.legs.iter().any(|leg| leg.subject.as_ref() == Some(subject));
                let calls = self.calls_before(entry, speaks);
                let ids: BTreeSet<&str> = calls.iter().map(|live| &*live.call.call_id).collect();
                // Others may speak in the same call by streams of their own.
                let streams = self.shared.board.calls().into_iter().filter(|live| ids.contains(&*live.call.call_id));
                stop_all(streams.collect(), None, &by(actor, reason)).await;
            }
            _ => {}
        }
        if entry.node != self.journal().node() {
            let is_refused = matches!(&entry.draft.record, Record::Audit(Audit::ConsentWithdrawn { .. }));
            let apart = if is_refused { REMEMBERED } else { CLOCKS_APART };
            self.shared.feed.follow_deletion(&entry.draft, ticket, entry.draft.at + apart);
        }
    }

    /// Live calls of this server that a deletion may mean which an entry tells of: such an entry may be read late, when the call that was deleted is
    /// over and the next of its name or subject lives.
    fn calls_before(&self, entry: &Entry, chosen: impl Fn(&Acknowledgement) -> bool) -> Vec<Arc<LiveCall>> {
        let is_own = entry.node == self.journal().node();
        let meant = |live: &Arc<LiveCall>| chosen(&live.call) && began_before(live.began_at, entry.draft.at, is_own);
        self.shared.board.calls().into_iter().filter(meant).collect()
    }

    /// Deletes what the journal still holds of what was heard in calls whose consent was withdrawn before this server started: one that
    /// had not deleted it yet may have died.
    pub(crate) async fn finish_withdrawals(self, closing: CancellationToken) {
        for (call_id, leg_id) in self.shared.withdrawals.all() {
            let finished = closing.run_until_cancelled(self.finish_withdrawal(&call_id, leg_id.as_deref())).await;
            if let Some(Err(error)) = finished {
                tracing::error!(%error, call_id, leg_id, "what may be left of a call whose consent was withdrawn is not deleted");
            }
        }
    }

    async fn finish_withdrawal(&self, call_id: &str, leg_id: Option<&str>) -> Result<(), Denied> {
        let kept = self.journal().read_all(Scope::of_call(call_id, leg_id).query()).await?;
        if kept.iter().any(|entry| entry.draft.record.tells_what_was_heard()) {
            let reason = "left undone by a server that ended".to_owned();
            let by = Attribution { actor: SERVER.to_owned(), reason };
            self.purge_withdrawn(call_id, leg_id, by).await?;
        }
        Ok(())
    }

    async fn purge_withdrawn(&self, call_id: &str, leg_id: Option<&str>, by: Attribution) -> Result<u64, Denied> {
        let (call_id, leg_id) = (call_id.to_owned(), leg_id.map(str::to_owned));
        let scope = Scope::of_call(&call_id, leg_id.as_deref());
        let Attribution { actor, reason } = by;
        self.purge(scope, Audit::ConsentWithdrawn { call_id, leg_id, actor, reason, entries: 0 }).await
    }

    /// Has it deleted, which is tried until it is done, and waits for it as long as [`PATIENCE`].
    async fn purge(&self, scope: Scope, audit: Audit) -> Result<u64, Denied> {
        let audit = Draft::new(SystemTime::now(), Record::Audit(audit));
        let purged = timeout(PATIENCE, self.shared.feed.forget(scope, audit)).await;
        purged.map_or(Err(Denied::NotDeletedYet), stop::settled)
    }

    fn finished(&self, stopped: Stopped) -> Result<Forgotten, Denied> {
        stopped.finished(self.journal().wire().is_some())
    }
}

/// Stops the analysis of these calls, or one leg of them. How many legs, and what will tell how many entries were deleted.
async fn stop_all(calls: Vec<Arc<LiveCall>>, leg_id: Option<&str>, by: &Attribution) -> (usize, Vec<Purged>) {
    let (mut live_legs, mut purges) = (0, Vec::new());
    for live in calls {
        let leg = leg_id.map(|leg_id| live.leg(leg_id));
        // This session has other legs of the call.
        if leg == Some(None) {
            continue;
        }
        let leg = leg.flatten();
        let Attribution { actor, reason } = by.clone();
        let Some(purged) = live.tell(|answer| Command::Withdraw { leg, actor, reason, answer }).await else {
            continue;
        };
        live_legs += leg.map_or(live.call.legs.len(), |_| 1);
        purges.extend(purged);
    }
    (live_legs, purges)
}

/// Whether a call of this server began before something that an entry of it, or of another server, says was done at `at`.
fn began_before(began_at: SystemTime, at: SystemTime, is_own: bool) -> bool {
    // Entries are written to the millisecond.
    let apart = if is_own { Duration::from_millis(1) } else { CLOCKS_APART };
    at.checked_add(apart).is_none_or(|at| began_at <= at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_began_after_a_deletion_is_not_meant_by_it() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let (millis, second) = (Duration::from_millis(2), Duration::from_secs(1));
        for (began_at, own, other) in [
            (at - second, true, true),
            (at, true, true),
            (at + millis, false, true),
            (at + CLOCKS_APART, false, true),
            (at + CLOCKS_APART + second, false, false),
        ] {
            assert_eq!((began_before(began_at, at, true), began_before(began_at, at, false)), (own, other));
        }
    }
}
