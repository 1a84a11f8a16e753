//! `WatchAlerts`: a watcher pulls entries from the journal, one at a time, when the transport has room for one.
//!
//! | what happens | what the watcher is told | next |
//! |---|---|---|
//! | it begins | a heartbeat | watching |
//! | an alert changes that passes the filter | the change | watching |
//! | nothing else for a heartbeat | a heartbeat | watching |
//! | entries are lost, because nothing is kept | how many | watching |
//! | the server closes, or the journal fails | a status | ended |

use std::{
    pin::Pin,
    time::{Duration, SystemTime},
};

use futures_util::{Stream, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::watchers::Place;
use crate::{
    journal::{Entry, Error, Kind, Query, Record, Subscription, Told},
    server::{
        convert::{self, AlertFilter, Watch},
        proto::{self, WatchAlertsResponse, watch_alerts_response::Message},
        status::Problem,
    },
    session::{Refusal, Sessions},
};

/// What one watcher is told, then the status it closes with.
pub(super) type Responses = Pin<Box<dyn Stream<Item = Result<WatchAlertsResponse, Status>> + Send>>;

struct Watcher {
    sessions: Sessions,
    entries: Subscription,
    filter: AlertFilter,
    heartbeat: Duration,
    /// When a heartbeat is due; the first is before all else.
    due: Option<Instant>,
    closing: CancellationToken,
    ended: bool,
    _place: Place,
}

/// Begins to watch.
pub(super) async fn watch(
    sessions: &Sessions,
    watch: Watch<AlertFilter>,
    place: Place,
    closing: CancellationToken,
) -> Result<Responses, Problem> {
    let journal = sessions.journal();
    let after = match watch.after {
        Some(after) => after,
        None => journal.last_sequence().await?,
    };
    let query = Query { after, kinds: vec![Kind::Alert], call_id: watch.filter.call_id.clone(), ..Query::default() };
    let watcher = Watcher {
        entries: journal.subscribe(query).await?,
        sessions: sessions.clone(),
        filter: watch.filter,
        heartbeat: watch.interval,
        due: None,
        closing,
        ended: false,
        _place: place,
    };
    Ok(Box::pin(stream::unfold(watcher, |mut watcher| async {
        let response = watcher.next().await?;
        Some((response, watcher))
    })))
}

impl Watcher {
    async fn next(&mut self) -> Option<Result<WatchAlertsResponse, Status>> {
        if self.ended {
            return None;
        }
        let response = loop {
            let Some(due) = self.due else { break Ok(self.heartbeat()) };
            let told = tokio::select! {
                biased;
                () = self.closing.cancelled() => break Err(Problem::from(Refusal::Draining)),
                // Also while nothing but what does not pass the filter comes.
                () = tokio::time::sleep_until(due) => break Ok(self.heartbeat()),
                told = self.entries.next() => told,
            };
            match told {
                Some(Ok(Told::Entry(entry))) => {
                    if let Some(response) = self.alert(&entry) {
                        break Ok(response);
                    }
                }
                Some(Ok(Told::Missed(missed))) => break Ok(self.missed(missed)),
                Some(Err(error)) => break Err(Problem::from(error)),
                None => break Err(Problem::from(Error::Closed)),
            }
        };
        self.ended = response.is_err();
        self.due = Some(Instant::now() + self.heartbeat);
        Some(response.map_err(Status::from))
    }

    fn alert(&self, entry: &Entry) -> Option<WatchAlertsResponse> {
        let Record::Alert(alert) = &entry.draft.record else { return None };
        if !self.filter.takes(entry, alert) {
            return None;
        }
        let message = Message::Alert(convert::alert_entry(entry)?);
        Some(WatchAlertsResponse { sequence: convert::count(entry.sequence), message: Some(message) })
    }

    fn heartbeat(&self) -> WatchAlertsResponse {
        let (sent_at, last_sequence) = (Some(SystemTime::now().into()), convert::count(self.entries.last()));
        self.response(Message::Heartbeat(proto::Heartbeat { sent_at, last_sequence }))
    }

    fn missed(&self, missed: u64) -> WatchAlertsResponse {
        self.sessions.metrics().supervision.missed_total.increment(missed);
        self.response(Message::Missed(proto::Missed { entries: convert::count(missed) }))
    }

    fn response(&self, message: Message) -> WatchAlertsResponse {
        WatchAlertsResponse { sequence: convert::count(self.entries.position()), message: Some(message) }
    }
}
