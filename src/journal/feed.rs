//! The way from calls to the journal: nobody who records waits for it.
//!
//! [`Feed::record`] takes a draft from a call's task and returns at once; the [`Feeder`], one task, appends what came in batches, and
//! tries again, slower and slower, while the journal cannot be written. What happens meanwhile:
//!
//! | state | a timeline | other drafts | a purge |
//! |---|---|---|---|
//! | up to three quarters of the buffer wait | waits | wait | done now, or the failure is told to who waits for it |
//! | more wait | lost, counted | wait | as above |
//! | the buffer is full | lost, counted | lost, counted, logged | as above |
//! | writable again | in order | in order | those that nobody waited for; and an audit entry says what was lost |
//! | shut down before | lost, logged | lost, counted, logged | what it was of is logged, and the server says that it failed |

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::sync::{mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::elsewhere::Elsewhere;
use super::{Audit, Draft, Error, Journal, Kind, Record, Scope};

mod elsewhere;

/// Entries appended at once.
const BATCH: usize = 256;

/// Purges that may wait.
const PURGES: usize = 64;

/// The first wait after a failure; each further one is twice as long, up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Short enough that what waits is written soon after room is made.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Takes drafts in. Cheap to clone.
#[derive(Clone)]
pub struct Feed {
    drafts: mpsc::Sender<Ticketed>,
    purges: mpsc::Sender<Purge>,
    shared: Arc<Shared>,
    journal: Journal,
}

/// Appends what is fed. [`Feeder::run`] is the task.
pub struct Feeder {
    drafts: mpsc::Receiver<Ticketed>,
    purges: mpsc::Receiver<Purge>,
    shared: Arc<Shared>,
    journal: Journal,
    /// What was taken in and is not written yet, in order.
    waiting: VecDeque<Ticketed>,
    /// Purges that are not done yet.
    due: VecDeque<Purge>,
    /// The wait after the last failure, while there is one.
    wait: Option<Duration>,
}

#[derive(Default)]
struct Shared {
    next_ticket: Mutex<u64>,
    /// Purges that find no room among those that wait.
    forgetting: TaskTracker,
    /// Entries lost since the journal was last told, in the order of [`Kind::ALL`].
    lost: [AtomicU64; Kind::ALL.len()],
}

/// A draft with its place among drafts and purges.
type Ticketed = (u64, Draft);

struct Purge {
    /// Drafts with a lower one are purged too.
    ticket: u64,
    scope: Scope,
    audit: Draft,
    answer: oneshot::Sender<Result<u64, Error>>,
    /// Whether it is tried until it is done, though somebody waits.
    must: bool,
    /// Where another server did it.
    elsewhere: Option<Elsewhere>,
}

impl Feed {
    /// The way to this journal, on which so many drafts may wait. Nothing runs yet.
    pub fn pair(journal: Journal, buffer: usize) -> (Self, Feeder) {
        let (drafts, drafts_in) = mpsc::channel(buffer);
        let (purges, purges_in) = mpsc::channel(PURGES);
        let shared = Arc::new(Shared::default());
        let feeder = Feeder {
            drafts: drafts_in,
            purges: purges_in,
            shared: Arc::clone(&shared),
            journal: journal.clone(),
            waiting: VecDeque::new(),
            due: VecDeque::new(),
            wait: None,
        };
        (Self { drafts, purges, shared, journal }, feeder)
    }

    /// Takes a draft in. Never waits: what finds no room is lost, counted, and told once the journal can be written again.
    pub fn record(&self, draft: Draft) {
        let kind = draft.kind();
        let room = kind != Kind::Timeline || self.drafts.capacity() > self.drafts.max_capacity() / 4;
        let taken_in = room && {
            // Held until the draft is in, so that whoever has a later ticket finds it there.
            let mut next = self.shared.next_ticket();
            self.drafts.try_send((take_ticket(&mut next), draft)).is_ok()
        };
        if !taken_in {
            self.shared.lost(kind, 1);
            self.journal.metrics().lost_total.increment(kind.as_str());
            if kind != Kind::Timeline {
                tracing::error!(
                    kind = kind.as_str(),
                    "an entry is lost: the journal cannot be written, and too many wait"
                );
            }
        }
    }

    /// Deletes what the scope holds, be it kept or still waiting, and has `audit` appended. Returns how many kept entries that were. Where the
    /// future is dropped before it knows, it is tried until it is done.
    pub async fn purge(&self, scope: Scope, audit: Draft) -> Result<u64, Error> {
        self.hand_in(scope, audit, false, None).await.map_err(|_| Error::Closed)?
    }

    /// As [`Feed::purge`], but at once, and tried until it is done, whether or not anybody waits for the answer. Drafts recorded
    /// afterwards stay.
    pub fn forget(&self, scope: Scope, audit: Draft) -> oneshot::Receiver<Result<u64, Error>> {
        self.hand_in(scope, audit, true, None)
    }

    /// The journal itself.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    fn hand_in(
        &self,
        scope: Scope,
        audit: Draft,
        must: bool,
        elsewhere: Option<Elsewhere>,
    ) -> oneshot::Receiver<Result<u64, Error>> {
        let (answer, answered) = oneshot::channel();
        let ticket = take_ticket(&mut self.shared.next_ticket());
        let purge = Purge { ticket, scope, audit, answer, must, elsewhere };
        if let Err(mpsc::error::TrySendError::Full(purge)) = self.purges.try_send(purge) {
            let purges = self.purges.clone();
            // Waited for by the feeder, before it ends.
            self.shared.forgetting.spawn(async move { purges.send(purge).await });
        }
        answered
    }
}

impl Feeder {
    /// Appends what is fed until `closing` is cancelled and all is written, or the journal fails then. How many purges were not done that
    /// nobody was told of.
    pub async fn run(mut self, closing: CancellationToken) -> usize {
        while self.attend(&closing).await {
            self.take_in();
            let done = self.purge_due().await && self.append(None).await && self.tell_lost().await;
            let waiting = self.waiting.len() + self.drafts.len();
            self.journal.metrics().waiting.set(waiting as f64);
            self.wait = match self.wait {
                _ if done => None,
                None => Some(FIRST_WAIT),
                Some(wait) => Some((2 * wait).min(LONGEST_WAIT)),
            };
            if !done && closing.is_cancelled() {
                if waiting > 0 {
                    tracing::error!(waiting, "entries are lost: the journal could not be written at shutdown");
                }
                return self.give_up();
            }
        }
        0
    }

    /// Says which purges are not done.
    fn give_up(&mut self) -> usize {
        let (mut given_up, mut due) = (0, std::mem::take(&mut self.due));
        while let Some(purge) = due.pop_front().or_else(|| self.purges.try_recv().ok()) {
            if purge.is_promised() {
                given_up += 1;
                tracing::error!(
                    of = %purge.scope,
                    "what was to be deleted is still in the journal, which could not be written; withdraw consent again, or delete it"
                );
            }
        }
        given_up
    }

    /// Waits for something to do; false when there is nothing and nothing more will come.
    async fn attend(&mut self, closing: &CancellationToken) -> bool {
        // What was lost is still to be told where that failed.
        let idle = self.waiting.is_empty() && self.due.is_empty() && self.wait.is_none();
        let wait = self.wait;
        let forgetting = &self.shared.forgetting;
        let closed = async {
            closing.cancelled().await;
            forgetting.close();
            forgetting.wait().await;
        };
        tokio::select! {
            biased;
            Some(purge) = self.purges.recv() => self.due.push_back(purge),
            Some(draft) = self.drafts.recv(), if idle => self.waiting.push_back(draft),
            () = closed => return !idle || !self.drafts.is_empty(),
            () = async { tokio::time::sleep(wait.unwrap_or_default()).await }, if !idle => {}
        }
        true
    }

    /// Takes in what is there. Purges after drafts, so that no draft is appended before a purge that came earlier.
    fn take_in(&mut self) {
        while self.waiting.len() < BATCH {
            let Ok(draft) = self.drafts.try_recv() else { break };
            self.waiting.push_back(draft);
        }
        while let Ok(purge) = self.purges.try_recv() {
            self.due.push_back(purge);
        }
        if !self.due.is_empty() {
            while let Ok(draft) = self.drafts.try_recv() {
                self.waiting.push_back(draft);
            }
        }
    }

    /// Does the purges that are due; whether all that are promised are done.
    async fn purge_due(&mut self) -> bool {
        while let Some(ticket) = self.due.front().map(|purge| purge.ticket) {
            if self.due.front().is_some_and(|purge| purge.elsewhere.is_some()) {
                if !self.follow_deletion().await {
                    return false;
                }
                continue;
            }
            // What came before is told first, so that who listens hears how it went on; where that fails it is dropped here.
            while self.waiting.front().is_some_and(|(before, _)| *before < ticket) {
                if !self.append(Some(ticket)).await {
                    break;
                }
            }
            // It is due until it is done, should this be cut off.
            let Some(purge) = self.due.front() else { return true };
            self.waiting = unpurged(std::mem::take(&mut self.waiting), purge);
            let purged = self.journal.purge(purge.scope.clone(), purge.audit.clone()).await;
            if let Err(error) = &purged {
                tracing::error!(%error, "the journal could not be purged");
                if purge.is_promised() {
                    return false;
                }
            }
            if let Some(purge) = self.due.pop_front() {
                // Who asked may have gone.
                let _ = purge.answer.send(purged);
            }
        }
        true
    }

    /// Appends a batch, of those before this ticket; whether it was.
    async fn append(&mut self, before: Option<u64>) -> bool {
        let is_before = |ticketed: &&Ticketed| before.is_none_or(|before| ticketed.0 < before);
        let batch = self.waiting.iter().take(BATCH).take_while(is_before);
        let batch: Vec<Draft> = batch.map(|(_, draft)| draft.clone()).collect();
        let appended = batch.len();
        if appended > 0 {
            if let Err(error) = self.journal.append(batch).await {
                if self.wait.is_none() {
                    tracing::error!(%error, "the journal cannot be written; entries wait");
                }
                return false;
            }
            self.waiting.drain(..appended);
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

impl Purge {
    /// Whether it is tried until it is done: nobody waits who could be told that it failed.
    fn is_promised(&self) -> bool {
        self.must || self.answer.is_closed()
    }
}

impl Shared {
    fn next_ticket(&self) -> MutexGuard<'_, u64> {
        self.next_ticket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self, kind: Kind, count: u64) {
        for (of_kind, lost) in Kind::ALL.into_iter().zip(&self.lost) {
            if of_kind == kind {
                lost.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    fn take_lost(&self) -> BTreeMap<Kind, u64> {
        let taken = Kind::ALL.into_iter().zip(&self.lost).map(|(kind, lost)| (kind, lost.swap(0, Ordering::Relaxed)));
        taken.filter(|(_, lost)| *lost > 0).collect()
    }
}

fn take_ticket(next_ticket: &mut u64) -> u64 {
    let ticket = *next_ticket;
    *next_ticket += 1;
    ticket
}

/// The drafts that a purge leaves.
fn unpurged(waiting: VecDeque<Ticketed>, purge: &Purge) -> VecDeque<Ticketed> {
    let before = |ticket: &u64| *ticket < purge.ticket;
    // A subject's calls go with him.
    let held = waiting.iter().filter(|(ticket, draft)| before(ticket) && purge.scope.holds(draft));
    let subject = matches!(purge.scope, Scope::Subject(_));
    let calls: HashSet<String> = held.filter(|_| subject).filter_map(|(_, draft)| draft.call_id.clone()).collect();
    let of_call = |draft: &Draft| draft.call_id.as_ref().is_some_and(|call_id| calls.contains(call_id));
    let stays = |(ticket, draft): &Ticketed| !(before(ticket) && (purge.scope.holds(draft) || of_call(draft)));
    waiting.into_iter().filter(stays).collect()
}

#[cfg(test)]
mod tests;
