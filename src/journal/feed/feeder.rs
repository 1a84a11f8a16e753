//! The task that appends what is fed.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Shared, queue::Queue};
use crate::journal::{Audit, Draft, Error, Journal, Record};

/// Entries appended at once.
const BATCH: usize = 256;

/// The first wait after a failure; each further one is twice as long, up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Short enough that what waits is written soon after room is made.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Appends what is fed. [`Feeder::run`] is the task.
pub struct Feeder {
    pub(super) shared: Arc<Shared>,
    pub(super) journal: Journal,
    /// The wait after the last failure, while there is one.
    wait: Option<Duration>,
    /// Whether the journal can be written, as others see it.
    writable: watch::Receiver<bool>,
}

impl Feeder {
    pub(super) fn new(shared: Arc<Shared>, journal: Journal) -> Self {
        let writable = journal.writable();
        Self { shared, journal, wait: None, writable }
    }

    /// Appends what is fed until `closing` is cancelled and all is written, or the journal fails then. How many purges were not done.
    pub async fn run(mut self, closing: CancellationToken) -> usize {
        while self.attend(&closing).await {
            let done = self.purge_due().await && self.append().await && self.tell_lost().await;
            let waiting = self.queue().lock().drafts.len();
            self.journal.metrics().waiting.set(waiting as f64);
            self.wait = match self.wait {
                _ if done => None,
                None => Some(FIRST_WAIT),
                Some(wait) => Some((2 * wait).min(LONGEST_WAIT)),
            };
            self.writable.mark_unchanged();
            if !done && closing.is_cancelled() {
                if waiting > 0 {
                    tracing::error!(waiting, "entries are lost: the journal could not be written at shutdown");
                }
                return self.give_up();
            }
        }
        0
    }

    pub(super) fn queue(&self) -> &Queue {
        &self.shared.queue
    }

    /// Says which purges are not done.
    fn give_up(&self) -> usize {
        let given_up = self.queue().close();
        for purge in &given_up {
            tracing::error!(
                of = %purge.scope,
                "what was to be deleted is still in the journal, which could not be written; withdraw consent again, or delete it"
            );
        }
        given_up.len()
    }

    /// Waits for something to do; false when there is nothing and nothing more will come.
    async fn attend(&mut self, closing: &CancellationToken) -> bool {
        let queue = &self.shared.queue;
        // What was lost is still to be told where that failed.
        let idle = self.wait.is_none() && queue.is_empty();
        tokio::select! {
            biased;
            () = queue.asked() => true,
            () = queue.drafted(), if idle => true,
            () = closing.cancelled() => self.wait.is_some() || !queue.close_if_empty(),
            // It was looked at meanwhile, and is there again.
            Ok(()) = self.writable.changed(), if self.wait.is_some() => true,
            () = tokio::time::sleep(self.wait.unwrap_or_default()), if !idle => true,
        }
    }

    /// Does the purges that are due, each once; whether all of them are done.
    async fn purge_due(&self) -> bool {
        let due = self.queue().lock().purges.len();
        let mut done = true;
        for _ in 0..due {
            let is_elsewhere = self.queue().lock().purges.front().is_some_and(|purge| purge.elsewhere.is_some());
            let purged = if is_elsewhere { self.follow_deletion().await } else { self.purge().await };
            match purged {
                Ok(()) => {}
                // One that deletes nothing finds no room to be told; the next may make some.
                Err(Error::Full { .. }) => {
                    done = false;
                    self.queue().lock().purges.rotate_left(1);
                }
                Err(_) => return false,
            }
        }
        done
    }

    /// Does the first purge that is due.
    async fn purge(&self) -> Result<(), Error> {
        // What came before is told first, so that who listens hears how it went on; where that fails it is dropped here.
        while !self.queue().lock().batch(1).is_empty() && self.append().await {}
        let Some((scope, audit)) = self.queue().lock().begin_purge() else { return Ok(()) };
        // It stays until it is done, should this be cut off.
        let purged = self.journal.purge(scope, audit).await;
        if let Err(error) = &purged {
            tracing::error!(%error, "the journal could not be purged");
        }
        let answers = self.queue().lock().end_purge(purged.is_ok());
        let entries = purged?;
        for answer in answers {
            // Who asked may have gone.
            let _ = answer.send(entries);
        }
        Ok(())
    }

    /// Appends a batch, of those before any purge that is due; whether it was.
    async fn append(&self) -> bool {
        let batch = self.queue().lock().batch(BATCH);
        let appended = batch.len();
        if appended > 0 {
            if let Err(error) = self.journal.append(batch).await {
                if self.wait.is_none() {
                    tracing::error!(%error, "the journal cannot be written; entries wait");
                }
                return false;
            }
            // Others only add behind them.
            self.queue().lock().drafts.drain(..appended);
            if self.wait.is_some() {
                tracing::info!("the journal can be written again");
            }
        }
        true
    }

    /// Says in the journal what it does not hold.
    async fn tell_lost(&self) -> bool {
        let lost = self.shared.take_lost();
        if lost.is_empty() {
            return true;
        }
        let draft = Draft::new(SystemTime::now(), Record::Audit(Audit::EntriesLost { lost: lost.clone() }));
        let told = self.journal.append(vec![draft]).await.is_ok();
        if !told {
            lost.into_iter().for_each(|(kind, count)| self.shared.lost(kind, count));
        }
        told
    }
}

impl Drop for Feeder {
    /// One that is cut off says so too.
    fn drop(&mut self) {
        self.give_up();
    }
}
