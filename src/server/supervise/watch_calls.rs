//! `WatchCalls`: rounds of what changed among the calls that live, made when the transport has room for them.
//!
//! | state | what happens | what the watcher is told | next |
//! |---|---|---|---|
//! | waiting | an interval passes | | telling what changed since the round before |
//! | telling | more than a message's worth is left | so many calls | telling |
//! | telling | the rest fits | it, what ended, the end of the round | waiting |
//! | any | the server closes | a status | ended |

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    sync::Arc,
};

use futures_util::{Stream, stream};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::watchers::Place;
use crate::{
    server::{
        convert::{self, CallFilter, Watch},
        proto::WatchCallsResponse,
        status::Problem,
    },
    session::{CallView, Refusal, Sessions},
};

/// Calls in a message: as the API promises, and about 100 µs to make.
const CALLS: usize = 100;

/// What one watcher is told, then the status it closes with.
pub(super) type Responses = Pin<Box<dyn Stream<Item = Result<WatchCallsResponse, Status>> + Send>>;

struct Watcher {
    sessions: Sessions,
    filter: CallFilter,
    rounds: Interval,
    /// What the watcher knows, by session.
    told: HashMap<String, Arc<CallView>>,
    round: Option<Round>,
    closing: CancellationToken,
    ended: bool,
    _place: Place,
}

/// What is still to be told of a round.
struct Round {
    changed: VecDeque<Arc<CallView>>,
    ended_session_ids: Vec<String>,
    nodes: Vec<String>,
}

/// Begins to watch.
pub(super) fn watch(
    sessions: Sessions,
    watch: Watch<CallFilter>,
    place: Place,
    closing: CancellationToken,
) -> Responses {
    let mut rounds = interval(watch.interval);
    // One who reads slowly gets how calls are, later; not all that he missed at once.
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watcher = Watcher {
        sessions,
        filter: watch.filter,
        rounds,
        told: HashMap::new(),
        round: None,
        closing,
        ended: false,
        _place: place,
    };
    Box::pin(stream::unfold(watcher, |mut watcher| async {
        let response = watcher.next().await?;
        Some((response, watcher))
    }))
}

impl Watcher {
    async fn next(&mut self) -> Option<Result<WatchCallsResponse, Status>> {
        if self.ended {
            return None;
        }
        if self.round.is_none() {
            tokio::select! {
                biased;
                () = self.closing.cancelled() => {
                    self.ended = true;
                    return Some(Err(Problem::from(Refusal::Draining).into()));
                }
                _ = self.rounds.tick() => {}
            }
        }
        let mut round = match self.round.take() {
            Some(round) => round,
            None => self.begin_round().await,
        };
        let calls = round.changed.drain(..CALLS.min(round.changed.len()));
        let mut response =
            WatchCallsResponse { calls: calls.map(|call| convert::live_call(&call)).collect(), ..Default::default() };
        if round.changed.is_empty() {
            response.last_of_round = true;
            (response.ended_session_ids, response.nodes) = (round.ended_session_ids, round.nodes);
        } else {
            self.round = Some(round);
        }
        Some(Ok(response))
    }

    /// What changed since the round before, which is known from now on.
    async fn begin_round(&mut self) -> Round {
        let view = self.sessions.view().await;
        let mut before = std::mem::take(&mut self.told);
        let mut changed = VecDeque::new();
        for call in view.calls.iter().filter(|call| self.filter.takes(call)) {
            let known = before.remove(&call.session_id);
            // Another server's call is another value with every beat, though nothing may have changed.
            if !known.is_some_and(|known| Arc::ptr_eq(&known, call) || known == *call) {
                changed.push_back(Arc::clone(call));
            }
            self.told.insert(call.session_id.clone(), Arc::clone(call));
        }
        Round { changed, ended_session_ids: before.into_keys().collect(), nodes: view.nodes.clone() }
    }
}
