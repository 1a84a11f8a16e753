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

use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{
    Acknowledgement, CallView, Denied, LiveCall, Sessions, View,
    actions::PATIENCE,
    board::{Command, Purged},
    lost::live,
    peers::BEAT,
    withdrawals::REMEMBERED,
};
use crate::{
    decision::alert::Attribution,
    journal::{self, Action, Audit, Draft, Entry, Kind, Query, Record, Scope, Told},
};

/// Who says that something is withdrawn which a server left undone.
const SERVER: &str = "server";

/// After so long the servers' own word shows what has become of their calls.
const BY_THEN_SEEN: Duration = BEAT.saturating_mul(2);

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

/// A call that is analysed no further.
struct Stopped {
    forgotten: Forgotten,
    /// Whether what was kept was deleted where it lives.
    purged: bool,
    /// What is still to be done.
    left: Option<Denied>,
}

impl Sessions {
    /// Withdraws consent for a call, or one leg of it: its analysis stops, wherever it lives, what is kept of it is deleted, and it is
    /// not analysed again.
    ///
    /// # Errors
    /// [`Denied::NotDeletedYet`] and [`Denied::NoAnswer`] tell what could not be done within [`PATIENCE`], once for the analysis and once for the
    /// deletion; the rest is done.
    pub async fn withdraw_consent(
        &self,
        call_id: &str,
        leg_id: Option<&str>,
        by: Attribution,
    ) -> Result<Forgotten, Denied> {
        let deadline = Instant::now() + PATIENCE;
        let mut stopped = self.stop(call_id, leg_id, &by, deadline).await?;
        self.remember_withdrawal(call_id, leg_id, SystemTime::now());
        // Where it lives it was deleted; what was told of its end since stays.
        if !stopped.purged {
            stopped.forgotten.entries += self.purge_withdrawn(call_id, leg_id, by).await?;
        }
        let forgotten = stopped.finished()?;
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
        let deadline = Instant::now() + PATIENCE;
        let mut stopped = self.stop(call_id, None, &by, deadline).await?;
        let (call_id, Attribution { actor, reason }) = (call_id.to_owned(), by);
        let audit = Audit::CallDeleted { call_id: call_id.clone(), actor, reason, entries: 0 };
        stopped.forgotten.entries += self.purge(Scope::Call(call_id.clone()), audit).await?;
        self.shared.registrations.forget_call(&call_id);
        stopped.finished()
    }

    /// Deletes what is kept of a subject and of the calls in which he spoke, as [`Sessions::delete_call`] does.
    ///
    /// # Errors
    /// As [`Sessions::withdraw_consent`].
    pub async fn delete_subject(&self, subject: &str, by: Attribution) -> Result<Forgotten, Denied> {
        let deadline = Instant::now() + PATIENCE;
        let kept = self.journal().read_all(Query { subject: Some(subject.to_owned()), ..Query::default() }).await?;
        let mut calls: BTreeSet<String> = kept.into_iter().filter_map(|entry| entry.draft.call_id).collect();
        let speaks = |call: &&Arc<CallView>| call.legs.iter().any(|leg| leg.subject.as_deref() == Some(subject));
        calls.extend(self.view_now().await.calls.iter().filter(speaks).map(|call| call.call_id.clone()));
        calls.extend(self.registered_calls_of(subject));
        if calls.is_empty() {
            return Err(Denied::Unknown { what: "subject", id: subject.to_owned() });
        }
        let mut all = Stopped { forgotten: Forgotten { live_legs: 0, entries: 0 }, purged: false, left: None };
        for call_id in calls {
            match self.stop(&call_id, None, &by, deadline).await {
                Ok(stopped) => all.add(stopped),
                // It went meanwhile.
                Err(Denied::Unknown { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let Attribution { actor, reason } = by;
        let audit = Audit::SubjectDeleted { subject: subject.to_owned(), actor, reason, entries: 0 };
        all.forgotten.entries += self.purge(Scope::Subject(subject.to_owned()), audit).await?;
        self.shared.registrations.forget_subject(subject);
        all.finished()
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
        let query = Query { call_id: Some(call_id.to_owned()), leg_id: leg_id.map(str::to_owned), ..Query::default() };
        let kept = self.journal().read_all(query).await?;
        if kept.iter().any(|entry| entry.draft.record.tells_what_was_heard()) {
            let reason = "left undone by a server that ended".to_owned();
            let by = Attribution { actor: SERVER.to_owned(), reason };
            self.purge_withdrawn(call_id, leg_id, by).await?;
        }
        Ok(())
    }

    /// Stops the analysis of a call, or one leg of it, wherever it lives, and has what was kept of it deleted there.
    async fn stop(
        &self,
        call_id: &str,
        leg_id: Option<&str>,
        by: &Attribution,
        deadline: Instant,
    ) -> Result<Stopped, Denied> {
        let view = self.view_now().await;
        let (live_legs, purges) = self.stop_here(call_id, leg_id, by).await;
        let mut nodes = analysing(&view, call_id, leg_id, self.journal().node());
        if live_legs == 0 && nodes.is_empty() {
            let (call, leg) = (Some(call_id.to_owned()), leg_id.map(str::to_owned));
            let kept = self.journal().read_all(Query { call_id: call, leg_id: leg, ..Query::default() }).await?;
            let is_known = !kept.is_empty()
                || of(&view, call_id, leg_id).next().is_some()
                || leg_id.is_none() && self.registration(call_id).is_some();
            if !is_known {
                return Err(match leg_id {
                    Some(leg_id) => Denied::Unknown { what: "leg", id: format!("{call_id}/{leg_id}") },
                    None => Denied::Unknown { what: "call", id: call_id.to_owned() },
                });
            }
            // What it says of a server that has died needs no answer.
            let others = live(&kept).into_iter().map(|began| &began.node).filter(|node| view.nodes[1..].contains(node));
            nodes.extend(others.cloned());
        }
        let mut stopped =
            Stopped { forgotten: Forgotten { live_legs, entries: 0 }, purged: !purges.is_empty(), left: None };
        if !nodes.is_empty() {
            match timeout_at(deadline, self.ask_to_stop(&mut nodes, call_id, leg_id, by)).await {
                Ok(Ok(entries)) => {
                    stopped.purged |= entries.is_some();
                    stopped.forgotten.entries += entries.unwrap_or(0);
                }
                // What is kept is deleted all the same.
                Ok(Err(error)) => stopped.left = Some(error.into()),
                Err(_) => {}
            }
            // One that has died meanwhile has nothing to stop.
            let view = self.view_now().await;
            let silent = analysing(&view, call_id, leg_id, self.journal().node());
            if let Some(node) = silent.into_iter().find(|node| nodes.contains(node)) {
                stopped.left.get_or_insert(Denied::NoAnswer { node });
            }
        }
        for purged in purges {
            match timeout_at(deadline, purged).await {
                Ok(purged) => stopped.forgotten.entries += purged.unwrap_or(Err(journal::Error::Closed))?,
                Err(_) => stopped.left = Some(Denied::NotDeletedYet),
            }
        }
        Ok(stopped)
    }

    /// Stops the analysis of this server's legs of a call. How many, and what will tell how many entries were deleted.
    async fn stop_here(&self, call_id: &str, leg_id: Option<&str>, by: &Attribution) -> (usize, Vec<Purged>) {
        let calls = self.shared.board.calls().into_iter().filter(|live| live.call.call_id == call_id);
        stop_all(calls.collect(), leg_id, by).await
    }

    /// Has these servers stop the analysis, and waits until each says so; those that did not are left in `nodes`. How many entries they
    /// deleted, where one did.
    async fn ask_to_stop(
        &self,
        nodes: &mut BTreeSet<String>,
        call_id: &str,
        leg_id: Option<&str>,
        by: &Attribution,
    ) -> Result<Option<u64>, journal::Error> {
        let after = self.journal().last_sequence().await?;
        let query = Query { after, kinds: vec![Kind::Audit], ..Query::default() };
        let mut audits = self.journal().subscribe(query).await?;
        let Attribution { actor, reason } = by.clone();
        let (of_call, of_leg) = (call_id.to_owned(), leg_id.map(str::to_owned));
        self.act(Action::WithdrawConsent { call_id: of_call, leg_id: of_leg, actor, reason }).await?;
        let mut deleted = None;
        while !nodes.is_empty() {
            let told = match timeout(BY_THEN_SEEN, audits.next()).await {
                Ok(Some(told)) => told,
                Ok(None) => break,
                // One that had nothing to stop any more says nothing.
                Err(_) => {
                    let still = analysing(&*self.view_now().await, call_id, leg_id, self.journal().node());
                    nodes.retain(|node| still.contains(node));
                    continue;
                }
            };
            if let Told::Entry(entry) = told?
                && let Record::Audit(Audit::ConsentWithdrawn { call_id: of, entries, .. }) = &entry.draft.record
                && of == call_id
                && nodes.remove(&entry.node)
            {
                deleted = Some(deleted.unwrap_or(0) + entries);
            }
        }
        Ok(deleted)
    }

    async fn purge_withdrawn(&self, call_id: &str, leg_id: Option<&str>, by: Attribution) -> Result<u64, Denied> {
        let (call_id, leg_id) = (call_id.to_owned(), leg_id.map(str::to_owned));
        let scope = match leg_id.clone() {
            Some(leg_id) => Scope::Leg(call_id.clone(), leg_id),
            None => Scope::Call(call_id.clone()),
        };
        let Attribution { actor, reason } = by;
        self.purge(scope, Audit::ConsentWithdrawn { call_id, leg_id, actor, reason, entries: 0 }).await
    }

    /// Has it deleted; what takes longer than [`PATIENCE`] is deleted once the journal can be written.
    async fn purge(&self, scope: Scope, audit: Audit) -> Result<u64, Denied> {
        let audit = Draft::new(SystemTime::now(), Record::Audit(audit));
        match timeout(PATIENCE, self.shared.feed.purge(scope, audit)).await {
            Ok(purged) => Ok(purged?),
            Err(_) => Err(Denied::NotDeletedYet),
        }
    }
}

impl Stopped {
    fn add(&mut self, other: Self) {
        self.forgotten.live_legs += other.forgotten.live_legs;
        self.forgotten.entries += other.forgotten.entries;
        self.left = self.left.take().or(other.left);
    }

    fn finished(self) -> Result<Forgotten, Denied> {
        self.left.map_or(Ok(self.forgotten), Err)
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

/// The legs of a call, or the one leg, that live, each with its server.
fn of<'a>(view: &'a View, call_id: &str, leg_id: Option<&str>) -> impl Iterator<Item = (&'a str, &'a super::LegView)> {
    let calls = view.calls.iter().filter(move |call| call.call_id == call_id);
    let legs = calls.flat_map(|call| call.legs.iter().map(move |leg| (call.node.as_str(), leg)));
    legs.filter(move |(_, leg)| leg_id.is_none_or(|leg_id| leg.leg_id == leg_id))
}

/// The servers but `own` on which it is still analysed.
fn analysing(view: &View, call_id: &str, leg_id: Option<&str>, own: &str) -> BTreeSet<String> {
    let legs = of(view, call_id, leg_id).filter(|(node, leg)| *node != own && !leg.state.withdrawn);
    legs.map(|(node, _)| node.to_owned()).collect()
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
