//! The journal that keeps nothing: it numbers entries and tells those who listen.

use std::{sync::Mutex, sync::PoisonError, time::SystemTime};

use futures_util::{FutureExt as _, future, future::BoxFuture};

use super::{Draft, Engine, Entry, Error, Kind, Page, Query, Record, Scope, tail::Tail};

/// Numbers entries, and forgets them.
pub(super) struct Nothing {
    node: String,
    tail: Tail,
    /// Held while an entry is told, so that entries are told in order.
    last: Mutex<u64>,
}

impl Nothing {
    pub(super) fn new(node: String, tail: Tail) -> Self {
        Self { node, tail, last: Mutex::new(0) }
    }

    fn tell(&self, draft: Draft) -> u64 {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last += 1;
        self.tail.tell(Entry { sequence: *last, node: self.node.clone(), draft });
        *last
    }
}

impl Engine for Nothing {
    fn append(&self, drafts: Vec<Draft>) -> BoxFuture<'_, Result<Vec<u64>, Error>> {
        future::ready(Ok(drafts.into_iter().map(|draft| self.tell(draft)).collect())).boxed()
    }

    fn read(&self, query: Query) -> BoxFuture<'_, Result<Page, Error>> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        future::ready(Ok(Page { entries: Vec::new(), last: last.max(query.after), more: false })).boxed()
    }

    fn purge(&self, _: Scope, mut audit: Draft) -> BoxFuture<'_, Result<u64, Error>> {
        if let Record::Audit(audit) = &mut audit.record {
            audit.count(0);
        }
        self.tell(audit);
        future::ready(Ok(0)).boxed()
    }

    fn expire(&self, _: Vec<(Kind, SystemTime)>) -> BoxFuture<'_, Result<u64, Error>> {
        future::ready(Ok(0)).boxed()
    }

    fn last_sequence(&self) -> BoxFuture<'_, Result<u64, Error>> {
        future::ready(Ok(*self.last.lock().unwrap_or_else(PoisonError::into_inner))).boxed()
    }

    fn mark(&self, _: String, _: u64) -> BoxFuture<'_, Result<(), Error>> {
        future::ready(Ok(())).boxed()
    }

    fn marked(&self, _: String) -> BoxFuture<'_, Result<Option<u64>, Error>> {
        future::ready(Ok(None)).boxed()
    }

    fn keeps(&self) -> bool {
        false
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        future::ready(()).boxed()
    }
}
