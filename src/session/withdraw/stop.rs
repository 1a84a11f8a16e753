//! Stopping the analysis of a call on every server on which it lives.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::oneshot::error::RecvError,
    time::{Instant, timeout, timeout_at},
};

use super::{Forgotten, stop_all};
use crate::{
    decision::alert::Attribution,
    journal::{self, Action, Audit, Kind, Query, Record, Scope, Told},
    session::{Denied, LegView, Sessions, View, board::Purged, lost::live, peers::BEAT},
};

/// After so long the servers' own word shows what has become of their calls.
const BY_THEN_SEEN: Duration = BEAT.saturating_mul(2);

/// A call that is analysed no further, as far as is known.
pub(super) struct Stopped {
    pub(super) forgotten: Forgotten,
    /// Whether it is for the call's own servers to delete what was kept: they were told to.
    pub(super) purged: bool,
    /// Why not all is deleted that is to be.
    left: Option<Denied>,
    /// A server that may not have stopped.
    unanswered: Option<String>,
}

impl Sessions {
    /// Stops the analysis of a call, or one leg of it, wherever it lives, and has what was kept of it deleted there. [`Denied::Unknown`] is
    /// the one error; what else was not done is told by [`Stopped::finished`].
    pub(super) async fn stop(
        &self,
        call_id: &str,
        leg_id: Option<&str>,
        by: &Attribution,
        deadline: Instant,
    ) -> Result<Stopped, Denied> {
        let view = self.view_now().await;
        let (live_legs, purges) = self.stop_here(call_id, leg_id, by).await;
        let mut stopped = Stopped { purged: !purges.is_empty(), ..Stopped::nothing() };
        stopped.forgotten.live_legs = live_legs;
        let mut nodes = analysing(&view, call_id, leg_id, self.journal().node());
        let unanswered = self.shared.unanswered.servers(call_id, leg_id);
        nodes.extend(self.may_analyse(&unanswered, call_id, leg_id).await);
        if live_legs == 0 && nodes.is_empty() {
            nodes = self.said_to_live(&view, call_id, leg_id, deadline).await?;
        }
        if !nodes.is_empty() {
            match timeout_at(deadline, self.ask_to_stop(&mut nodes, call_id, leg_id, by)).await {
                Ok(Ok(entries)) => {
                    stopped.purged |= entries.is_some();
                    stopped.forgotten.entries += entries.unwrap_or(0);
                }
                // What is kept is deleted all the same, and the others hear of that.
                Ok(Err(error)) => tracing::warn!(%error, call_id, "other servers could not be asked to stop a call"),
                Err(_) => {}
            }
            let silent = self.may_analyse(&nodes, call_id, leg_id).await;
            stopped.unanswered = silent.first().cloned();
            self.shared.unanswered.did_not_answer(call_id, leg_id, silent);
        }
        for purged in purges {
            stopped.deleted(timeout_at(deadline, purged).await.map_or(Err(Denied::NotDeletedYet), settled));
        }
        Ok(stopped)
    }

    /// The other servers on which a call lives, as the journal says; none where it cannot be read. [`Denied::Unknown`] where neither it nor
    /// anybody else knows of such a call or leg.
    async fn said_to_live(
        &self,
        view: &View,
        call_id: &str,
        leg_id: Option<&str>,
        deadline: Instant,
    ) -> Result<BTreeSet<String>, Denied> {
        let scope = Scope::of_call(call_id, leg_id);
        let query = scope.query();
        let was_withdrawn = |leg_id| self.shared.withdrawals.holds(call_id, leg_id, SystemTime::now());
        let is_known = was_withdrawn(None)
            || was_withdrawn(leg_id)
            || !self.shared.feed.waiting(&query).is_empty()
            || self.shared.feed.is_purging(&scope)
            || of(view, call_id, leg_id).next().is_some()
            || leg_id.is_none() && self.registration(call_id).is_some();
        let Some(kept) = self.read_by(deadline, query).await else { return Ok(BTreeSet::new()) };
        if !is_known && kept.is_empty() {
            return Err(match leg_id {
                Some(leg_id) => Denied::Unknown { what: "leg", id: format!("{call_id}/{leg_id}") },
                None => Denied::Unknown { what: "call", id: call_id.to_owned() },
            });
        }
        // What it says of a server that has died needs no answer.
        let own = self.journal().node();
        let lives = |node: &&String| *node != own && (view.nodes.contains(node) || !self.shared.peers.is_silent(node));
        Ok(live(&kept).into_iter().map(|began| &began.node).filter(lives).cloned().collect())
    }

    /// All entries that a query takes; `None`, and a line in the log, where they cannot be read until then.
    pub(super) async fn read_by(&self, deadline: Instant, query: Query) -> Option<Vec<journal::Entry>> {
        match timeout_at(deadline, self.journal().read_all(query)).await {
            Ok(Ok(kept)) => return Some(kept),
            Ok(Err(error)) => tracing::warn!(%error, "the journal cannot be read for what is to be deleted"),
            Err(_) => tracing::warn!("the journal does not answer what is to be deleted"),
        }
        None
    }

    /// Stops the analysis of this server's legs of a call. How many, and what will tell how many entries were deleted.
    pub(super) async fn stop_here(
        &self,
        call_id: &str,
        leg_id: Option<&str>,
        by: &Attribution,
    ) -> (usize, Vec<Purged>) {
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
                    *nodes = self.may_analyse(nodes, call_id, leg_id).await;
                    continue;
                }
            };
            if let Told::Entry(entry) = told?
                && let Record::Audit(Audit::ConsentWithdrawn { call_id: of, leg_id: of_leg, entries, .. }) =
                    &entry.draft.record
                && of == call_id
                && (of_leg.is_none() || of_leg.as_deref() == leg_id)
                && nodes.remove(&entry.node)
            {
                deleted = Some(deleted.unwrap_or(0) + entries);
            }
        }
        Ok(deleted)
    }

    /// Those of these servers that may analyse it still: by their own word, or because nothing is heard of them and their lease is not over.
    async fn may_analyse(&self, nodes: &BTreeSet<String>, call_id: &str, leg_id: Option<&str>) -> BTreeSet<String> {
        let view = self.view_now().await;
        let still = analysing(&view, call_id, leg_id, self.journal().node());
        let has_stopped = |node: &String| view.nodes.contains(node) || self.shared.peers.is_silent(node);
        nodes.iter().filter(|node| still.contains(*node) || !has_stopped(node)).cloned().collect()
    }
}

impl Stopped {
    pub(super) fn nothing() -> Self {
        Self { forgotten: Forgotten { live_legs: 0, entries: 0 }, purged: false, left: None, unanswered: None }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.forgotten.live_legs += other.forgotten.live_legs;
        self.deleted(other.left.map_or(Ok(other.forgotten.entries), Err));
        self.unanswered = self.unanswered.take().or(other.unanswered);
    }

    pub(super) fn is_unanswered(&self) -> bool {
        self.unanswered.is_some()
    }

    /// What became of a deletion.
    pub(super) fn deleted(&mut self, deleted: Result<u64, Denied>) {
        match deleted {
            Ok(entries) => self.forgotten.entries += entries,
            Err(denied) => self.left = self.left.take().or(Some(denied)),
        }
    }

    /// What was done, or what was not; `shared` says whether other servers write to the journal.
    pub(super) fn finished(self, shared: bool) -> Result<Forgotten, Denied> {
        match (self.left, self.unanswered) {
            // The others hear of it by the journal alone.
            (Some(Denied::NotDeletedYet), _) if shared => Err(Denied::NotToldYet),
            (Some(denied), _) => Err(denied),
            (None, Some(node)) => Err(Denied::NoAnswer { node }),
            (None, None) => Ok(self.forgotten),
        }
    }
}

/// What came of a deletion that is tried until it is done.
pub(super) fn settled(purged: Result<u64, RecvError>) -> Result<u64, Denied> {
    purged.map_err(|_| journal::Error::Closed.into())
}

/// The legs of a call, or the one leg, that live, each with its server.
fn of<'a>(view: &'a View, call_id: &str, leg_id: Option<&str>) -> impl Iterator<Item = (&'a str, &'a LegView)> {
    let calls = view.calls.iter().filter(move |call| call.call_id == call_id);
    let legs = calls.flat_map(|call| call.legs.iter().map(move |leg| (call.node.as_str(), leg)));
    legs.filter(move |(_, leg)| leg_id.is_none_or(|leg_id| leg.leg_id == leg_id))
}

/// The servers but `own` on which it is still analysed.
fn analysing(view: &View, call_id: &str, leg_id: Option<&str>, own: &str) -> BTreeSet<String> {
    let legs = of(view, call_id, leg_id).filter(|(node, leg)| *node != own && !leg.state.withdrawn);
    legs.map(|(node, _)| node.to_owned()).collect()
}
