//! Entries after a sequence: those that are there, then each as it comes.
//!
//! | state | what happens | next | told |
//! |---|---|---|---|
//! | catching up | a page is read, more to come | catching up | its entries |
//! | catching up | the last page is read | listening | its entries |
//! | listening | an entry comes that was read already | listening | nothing |
//! | listening | an entry comes | listening | it |
//! | any | what waits to be told was purged | catching up | nothing |
//! | any | the journal was made anew | catching up, from its first entry | that |
//! | listening | too far behind, entries can be read | catching up | nothing |
//! | listening | too far behind, nothing is kept | listening | how many were missed |

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio_util::task::AbortOnDropHandle;

use super::{Entry, Error, Journal, Page, Query, tail::Held};

/// Entries as they come. Ends when the journal is closed.
pub struct Subscription {
    journal: Journal,
    query: Query,
    live: Receiver<Arc<Held>>,
    read: VecDeque<Arc<Held>>,
    reading: Option<Reading>,
    catching_up: bool,
    /// The journal's last sequence when the subscription began.
    began: u64,
    era: u64,
}

/// A page that is being read. A task of its own, so that it comes to its end, and holds up no other, whether or not it is waited for.
struct Reading {
    /// Purges that had been told when it began.
    purged: u64,
    page: AbortOnDropHandle<Result<Page, Error>>,
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
        let (live, era) = (journal.tail().listen(), journal.tail().era());
        let catching_up = journal.keeps();
        Self { journal, query, live, read: VecDeque::new(), reading: None, catching_up, began: last, era }
    }

    /// All up to this sequence was told, or is not asked for: where another subscription goes on.
    pub fn position(&self) -> u64 {
        self.read.front().map_or(self.query.after, |next| next.sequence - 1)
    }

    /// The journal's last sequence, as far as this server knows.
    pub fn last(&self) -> u64 {
        self.began.max(self.journal.tail().last()).max(self.query.after)
    }

    /// The next; `None` once the journal is closed. After an error it may be asked again, and goes on where it was, or at the first
    /// entry of a journal that was made anew ([`Error::UnknownSequence`]). Nothing is lost, and nothing read twice, when the future is
    /// dropped.
    pub async fn next(&mut self) -> Option<Result<Told, Error>> {
        loop {
            if let Some(error) = self.made_anew() {
                return Some(Err(error));
            }
            if let Some(held) = self.read.pop_front() {
                match held.entry() {
                    Some(entry) => return Some(Ok(Told::Entry(entry))),
                    None => self.read_again_from(held.sequence),
                }
                continue;
            }
            if self.catching_up {
                match self.read_page().await {
                    Ok(()) => {}
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
                // Of another journal, where it is read.
                _ if self.era != self.journal.tail().era() => {}
                Ok(held) if held.sequence <= self.query.after => {}
                Ok(held) => match held.entry() {
                    Some(entry) => {
                        self.query.after = entry.sequence;
                        if self.query.takes(&entry.draft) {
                            return Some(Ok(Told::Entry(entry)));
                        }
                    }
                    None if self.journal.keeps() => self.read_again_from(held.sequence),
                    None => self.query.after = held.sequence,
                },
                Err(RecvError::Lagged(_)) if self.journal.keeps() => self.catching_up = true,
                Err(RecvError::Lagged(missed)) => return Some(Ok(Told::Missed(missed))),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Takes in a page. One that a purge came across is read again.
    async fn read_page(&mut self) -> Result<(), Error> {
        let tail = self.journal.tail();
        let reading = self.reading.get_or_insert_with(|| {
            let (journal, query) = (self.journal.clone(), self.query.clone());
            let page = tokio::spawn(async move { journal.read(query).await });
            Reading { purged: tail.purged(), page: AbortOnDropHandle::new(page) }
        });
        let page = (&mut reading.page).await;
        let purged = reading.purged;
        self.reading = None;
        let page = page.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends.
            Err(_) => Err(Error::Closed),
        })?;
        if let Some(read) = tail.hold(purged, page.entries) {
            self.query.after = page.last.max(self.query.after);
            self.read = read;
            self.catching_up = page.more;
        }
        Ok(())
    }

    /// Reads what is left of entries that were purged while they waited here, this one first.
    fn read_again_from(&mut self, sequence: u64) {
        self.read.clear();
        self.query.after = sequence - 1;
        self.catching_up = true;
    }

    /// Begins at the first entry of a journal that took the place of the one it was of, and says so.
    fn made_anew(&mut self) -> Option<Error> {
        let era = self.journal.tail().era();
        if std::mem::replace(&mut self.era, era) == era {
            return None;
        }
        let asked = self.position();
        (self.query.after, self.began) = (0, 0);
        (self.read, self.reading) = (VecDeque::new(), None);
        self.catching_up = self.journal.keeps();
        Some(Error::UnknownSequence { asked, last: self.journal.tail().last() })
    }
}

#[cfg(test)]
mod tests;
