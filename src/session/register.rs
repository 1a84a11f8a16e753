//! What is known of calls before their audio comes.
//!
//! A registration is an entry of the journal, so that every server of the same journal knows it, and this one still does after a restart.
//! It is kept here until it expires, for any number of streams of its call.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use dashmap::DashMap;
use tokio_util::sync::CancellationToken;

use super::{Denied, Sessions, withdrawals::REMEMBERED};
use crate::journal::{self, Action, Audit, Draft, Entry, Kind, Query, Record, Registration};

/// How often it is looked at what is to be forgotten: small beside the shortest time that a registration is kept.
const SWEEP: Duration = Duration::from_secs(1);

/// No registration is kept longer.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// So many reads may fail at a start, and the wait after each: a busy NATS server takes seconds.
const FAILURES: u32 = 5;
const AGAIN: Duration = Duration::from_millis(500);

/// Registrations by call.
#[derive(Default)]
pub(super) struct Registrations {
    by_call: DashMap<String, Arc<Registration>>,
}

impl Sessions {
    /// Keeps what is known of a call, in place of what was known before, and tells other servers.
    pub async fn register(&self, registration: Registration) -> Result<(), Denied> {
        let limit = self.limits().max_registrations;
        let known = &self.shared.registrations;
        if known.by_call.len() >= limit && !known.by_call.contains_key(&registration.call_id) {
            known.sweep(SystemTime::now());
            if known.by_call.len() >= limit {
                return Err(Denied::TooManyRegistrations { limit });
            }
        }
        self.journal().append(drafts(&registration)).await?;
        known.keep(registration);
        Ok(())
    }

    /// What is known of a call.
    pub fn registration(&self, call_id: &str) -> Option<Arc<Registration>> {
        let registration = Arc::clone(&*self.shared.registrations.by_call.get(call_id)?);
        (registration.expires_at > SystemTime::now()).then_some(registration)
    }

    /// The registered calls in which a subject speaks.
    pub(super) fn registered_calls_of(&self, subject: &str) -> Vec<String> {
        let known = self.shared.registrations.by_call.iter();
        known.filter(|known| known.names(subject)).map(|known| known.call_id.clone()).collect()
    }

    /// Keeps what is left of a registered call whose consent was withdrawn: the purge took the entry with all that was registered.
    pub(super) async fn keep_refused(&self, call_id: &str) -> Result<(), journal::Error> {
        let Some(left) = self.registration(call_id) else { return Ok(()) };
        self.journal().append(drafts(&left)).await.map(drop)
    }

    /// Takes over what an entry of the journal says of registrations.
    pub(super) fn follow_registrations(&self, entry: &Entry) {
        let known = &self.shared.registrations;
        match &entry.draft.record {
            Record::Action(Action::Register { registration }) => known.keep(registration.clone()),
            Record::Audit(Audit::CallDeleted { call_id, .. }) => known.forget_call(call_id),
            Record::Audit(Audit::SubjectDeleted { subject, .. }) => known.forget_subject(subject),
            _ => {}
        }
    }

    /// Takes over what was registered, and withdrawn, before this server started, up to and with this sequence.
    pub(crate) async fn recall(&self, until: u64) -> Result<(), journal::Error> {
        let since = SystemTime::now().checked_sub(LONGEST.max(REMEMBERED));
        let kinds = vec![Kind::Action, Kind::Audit];
        let mut query = Query { until: Some(until), since, kinds, ..Query::default() };
        let mut failures = 0;
        loop {
            let page = match self.journal().read(query.clone()).await {
                Ok(page) => page,
                Err(error) if failures >= FAILURES => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "what was registered and withdrawn before cannot be read, and is asked for again");
                    failures += 1;
                    tokio::time::sleep(AGAIN).await;
                    continue;
                }
            };
            for entry in &page.entries {
                self.follow_registrations(entry);
                self.recall_withdrawal(entry);
            }
            if !page.more {
                return Ok(());
            }
            query.after = page.last;
        }
    }

    /// Forgets registrations and withdrawals that have expired, and pictures that nobody looks at, until `closing`.
    pub(crate) async fn keep_forgetting(self, closing: CancellationToken) {
        let mut ticks = tokio::time::interval(SWEEP);
        while closing.run_until_cancelled(ticks.tick()).await.is_some() {
            self.shared.registrations.sweep(SystemTime::now());
            self.shared.withdrawals.sweep(SystemTime::now());
            self.shared.unanswered.sweep(Instant::now());
            self.forget_picture().await;
        }
    }
}

impl Registrations {
    fn keep(&self, registration: Registration) {
        if registration.expires_at > SystemTime::now() {
            self.by_call.insert(registration.call_id.clone(), Arc::new(registration));
        }
    }

    /// Turns the consent of a registered call to refused, and forgets the rest of what was registered.
    pub(super) fn refuse(&self, call_id: &str) {
        if let Some(mut registration) = self.by_call.get_mut(call_id) {
            let left = registration.withdrawn();
            *registration = Arc::new(left);
        }
    }

    pub(super) fn forget_call(&self, call_id: &str) {
        self.by_call.remove(call_id);
    }

    pub(super) fn forget_subject(&self, subject: &str) {
        self.by_call.retain(|_, registration| !registration.names(subject));
    }

    /// A hundred thousand take milliseconds.
    fn sweep(&self, now: SystemTime) {
        tokio::task::block_in_place(|| self.by_call.retain(|_, registration| registration.expires_at > now));
    }
}

/// One for each speaker, each with all of it, so that it goes with the call and with any of them.
fn drafts(registration: &Registration) -> Vec<Draft> {
    let mut subjects: Vec<Option<String>> = registration.legs.iter().map(|leg| leg.subject.clone()).collect();
    subjects.sort_unstable();
    subjects.dedup();
    subjects.retain(Option::is_some);
    if subjects.is_empty() {
        subjects.push(None);
    }
    let draft = |subject| Draft {
        call_id: Some(registration.call_id.clone()),
        subject,
        ..Draft::new(SystemTime::now(), Record::Action(Action::Register { registration: registration.clone() }))
    };
    subjects.into_iter().map(draft).collect()
}
