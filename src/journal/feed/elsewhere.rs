//! What another server of the journal had deleted, while drafts of it waited here or had just been written.
//!
//! A server that could not write holds what it heard of a call that ended there. Once it reads that the call was deleted meanwhile it drops what
//! waits, and deletes what it had written by then. Each server looks after its own entries alone, so that none follows another in circles.

use std::{
    collections::{BTreeSet, HashSet},
    time::SystemTime,
};

use super::{Feed, Feeder, Purge};
use crate::journal::{Audit, Draft, Entry, Error, Record, Scope};

/// What of a purge is another server's.
pub(super) struct Elsewhere {
    /// Drafts with a lower ticket are dropped, whatever they tell, but that an alert is over; later ones, up to the purge's own, where they tell
    /// what was heard.
    before: u64,
    /// A call that began later is not meant.
    began_until: SystemTime,
}

impl Feed {
    /// The ticket of what is recorded next.
    pub fn ticket(&self) -> u64 {
        self.shared.queue.next_ticket()
    }

    /// Does here what an audit entry of another server says was deleted: drops drafts that wait, all with a ticket before `before` and
    /// those told since that tell what was heard, and has deleted what this server had appended. It is tried until it is done. A call that began
    /// after `began_until` is another one of the same name, and stays.
    pub fn follow_deletion(&self, deletion: &Draft, before: u64, began_until: SystemTime) {
        let Some(scope) = Scope::purged_by(&deletion.record) else { return };
        // By the same person, for the same reason.
        let audit = Draft::new(SystemTime::now(), deletion.record.clone());
        drop(self.hand_in(scope, audit, Some(Elsewhere { before, began_until })));
    }
}

impl Feeder {
    /// Does the first purge that is due, which is another server's, and makes what is left of it in the journal purges of its own.
    pub(super) async fn follow_deletion(&self) -> Result<(), Error> {
        let Some(scope) = self.queue().lock().purges.front().map(|purge| purge.scope.clone()) else { return Ok(()) };
        let entries = match self.journal.read_all(scope.query()).await {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!(%error, of = %scope, "what another server deleted cannot be looked for now, and is again");
                return Err(error);
            }
        };
        let mut waiting = self.queue().lock();
        let Some(purge) = waiting.purges.pop_front() else { return Ok(()) };
        let Some(elsewhere) = &purge.elsewhere else { return Ok(()) };
        let waits = waiting.drafts.iter().filter(|(ticket, _)| *ticket < purge.ticket).map(|(_, draft)| draft);
        let told = entries.iter().map(|entry| &entry.draft).chain(waits.filter(|draft| purge.scope.holds(draft)));
        let (mut calls, mut later) = (HashSet::new(), HashSet::new());
        for draft in told {
            calls.extend(draft.call_id.clone());
            if matches!(draft.record, Record::Began(_)) && draft.at > elsewhere.began_until {
                later.extend(draft.call_id.clone());
            }
        }
        calls.retain(|call_id| !later.contains(call_id));
        for call_id in later {
            tracing::warn!(
                call_id,
                "a call of the same name began since another server deleted it; what this one had of it stays"
            );
        }
        let is_meant = |draft: &Draft| {
            draft.call_id.as_ref().is_some_and(|call_id| calls.contains(call_id)) && purge.scope.may_hold(draft)
        };
        let waited = waiting.drafts.len();
        waiting.drafts.retain(|(ticket, draft)| {
            let tells = draft.record.tells_what_was_heard();
            // Who was told that an alert fires is to hear that it does not any more.
            let is_over = matches!(draft.record, Record::Alert(_)) && draft.subject.is_none() && !tells;
            !((*ticket < elsewhere.before && !is_over || *ticket < purge.ticket && tells) && is_meant(draft))
        });
        let dropped = waited - waiting.drafts.len();
        if dropped > 0 {
            tracing::info!(dropped, of = %purge.scope, "what waited is dropped: another server has deleted it");
        }
        let own = self.journal.node();
        let is_left = |entry: &&Entry| {
            let Draft { record, .. } = &entry.draft;
            let of_subject = matches!(purge.scope, Scope::Subject(_));
            let tells = of_subject || record.tells_what_was_heard() || matches!(record, Record::Began(_));
            entry.node == own && tells && is_meant(&entry.draft)
        };
        let left: BTreeSet<String> =
            entries.iter().filter(is_left).filter_map(|entry| entry.draft.call_id.clone()).collect();
        for call_id in left {
            waiting.purges.push_front(of_call(call_id, elsewhere.before, &purge));
        }
        Ok(())
    }
}

/// The purge of one call, or leg, that another server's was of. A subject's later calls stay, so each of the earlier ones is deleted by itself.
fn of_call(call_id: String, ticket: u64, purge: &Purge) -> Purge {
    let (scope, audit) = match (&purge.scope, &purge.audit.record) {
        (Scope::Subject(_), Record::Audit(Audit::SubjectDeleted { actor, reason, .. })) => {
            let (scope, of_call) = (
                Scope::Call(call_id.clone()),
                Audit::CallDeleted { call_id, actor: actor.clone(), reason: reason.clone(), entries: 0 },
            );
            (scope, Draft::new(SystemTime::now(), Record::Audit(of_call)))
        }
        _ => (purge.scope.clone(), purge.audit.clone()),
    };
    Purge { ticket, scope, audit, answers: Vec::new(), elsewhere: None, begun: false }
}
