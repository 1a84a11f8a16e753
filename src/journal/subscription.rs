//! Entries after a sequence: those that are there, then each as it comes.
//!
//! | state | what happens | next | told |
//! |---|---|---|---|
//! | catching up | a page is read, more to come | catching up | its entries |
//! | catching up | the last page is read | listening | its entries |
//! | listening | an entry comes that was read already | listening | nothing |
//! | listening | an entry comes | listening | it |
//! | listening | too far behind, entries can be read | catching up | nothing |
//! | listening | too far behind, nothing is kept | listening | how many were missed |

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{Entry, Error, Journal, Query};

/// Entries as they come. Ends when the journal is closed.
pub struct Subscription {
    journal: Journal,
    query: Query,
    live: Receiver<Arc<Entry>>,
    read: VecDeque<Entry>,
    catching_up: bool,
    /// The journal's last sequence when the subscription began.
    began: u64,
}

/// What a subscriber is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// The next entry.
    Entry(Arc<Entry>),
    /// So many entries, of any kind, came and went while the subscriber did not listen. Only where the engine keeps nothing.
    Missed(u64),
}

impl Subscription {
    /// Entries that `query` takes after its `after`. Listens from now on, so that nothing falls between reading and listening.
    pub(super) fn new(journal: Journal, query: Query, last: u64) -> Self {
        let live = journal.tail().listen();
        let catching_up = journal.keeps();
        Self { journal, query, live, read: VecDeque::new(), catching_up, began: last }
    }

    /// All up to this sequence was told, or is not asked for: where another subscription goes on.
    pub fn position(&self) -> u64 {
        self.read.front().map_or(self.query.after, |next| next.sequence - 1)
    }

    /// The journal's last sequence, as far as this server knows.
    pub fn last(&self) -> u64 {
        self.began.max(self.journal.tail().last()).max(self.query.after)
    }

    /// The next; `None` once the journal is closed. After an error it may be asked again, and goes on where it was. Nothing is lost
    /// when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Told, Error>> {
        loop {
            if let Some(entry) = self.read.pop_front() {
                return Some(Ok(Told::Entry(Arc::new(entry))));
            }
            if self.catching_up {
                match self.journal.read(self.query.clone()).await {
                    Ok(page) => {
                        self.query.after = page.last.max(self.query.after);
                        self.read = page.entries.into();
                        self.catching_up = page.more;
                    }
                    Err(Error::Closed) => return None,
                    Err(error) => return Some(Err(error)),
                }
                continue;
            }
            let came = tokio::select! {
                biased;
                came = self.live.recv() => came,
                () = self.journal.tail().closed().cancelled() => return None,
            };
            match came {
                Ok(entry) if entry.sequence <= self.query.after => {}
                Ok(entry) => {
                    self.query.after = entry.sequence;
                    if self.query.takes(&entry.draft) {
                        return Some(Ok(Told::Entry(entry)));
                    }
                }
                Err(RecvError::Lagged(_)) if self.journal.keeps() => self.catching_up = true,
                Err(RecvError::Lagged(missed)) => return Some(Ok(Told::Missed(missed))),
                Err(RecvError::Closed) => return None,
            }
        }
    }
}
