//! Servers that did not say whether a call is stopped there. What was kept of it may be deleted by then, so that nothing else tells where
//! it lives.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use dashmap::DashMap;

/// Longer than a server can be silent without counting as dead.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Who asks again within a minute is told of them again.
#[derive(Default)]
pub(in crate::session) struct Unanswered {
    servers: DashMap<Asked, (BTreeSet<String>, Instant)>,
    /// The calls of a subject that is deleted.
    calls: DashMap<String, (BTreeSet<String>, Instant)>,
}

/// A call, and the leg of it, or all.
type Asked = (String, Option<String>);

impl Unanswered {
    /// The servers that did not answer for a call, or a leg of it.
    pub(super) fn servers(&self, call_id: &str, leg_id: Option<&str>) -> BTreeSet<String> {
        let known = self.servers.get(&(call_id.to_owned(), leg_id.map(str::to_owned)));
        known.map(|known| known.0.clone()).unwrap_or_default()
    }

    pub(super) fn did_not_answer(&self, call_id: &str, leg_id: Option<&str>, servers: BTreeSet<String>) {
        let asked = (call_id.to_owned(), leg_id.map(str::to_owned));
        if servers.is_empty() {
            self.servers.remove(&asked);
        } else {
            self.servers.insert(asked, (servers, Instant::now()));
        }
    }

    /// The calls of a subject for which a server did not answer.
    pub(super) fn calls_of(&self, subject: &str) -> BTreeSet<String> {
        self.calls.get(subject).map(|known| known.0.clone()).unwrap_or_default()
    }

    pub(super) fn not_all_stopped(&self, subject: &str, calls: BTreeSet<String>) {
        self.calls.insert(subject.to_owned(), (calls, Instant::now()));
    }

    /// Forgets those of more than a minute ago.
    pub(in crate::session) fn sweep(&self, now: Instant) {
        let is_of_late = |at: Instant| now.saturating_duration_since(at) < REMEMBERED;
        self.servers.retain(|_, (_, at)| is_of_late(*at));
        self.calls.retain(|_, (_, at)| is_of_late(*at));
    }
}
