//! `WatchCalls`: rounds of what changed among the calls that live, made when the transport has room for them.
//!
//! | state | what happens | what the watcher is told | next |
//! |---|---|---|---|
//! | waiting | an interval passes | | telling what changed since the round before |
//! | telling | more than a message's worth is left | so many calls | telling |
//! | telling | the rest fits | it, what ended, the end of the round | waiting |
//! | telling | the transport has room only much later | each call as it then is | telling |
//! | any | the server closes | a status | ended |
//!
//! Nothing that was heard is kept between two messages: not for one who stalls either, while consent is withdrawn.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    pin::Pin,
    sync::{Arc, Weak},
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
    session::{CallView, Refusal, Sessions, View},
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
    told: HashMap<String, Known>,
    round: Option<Round>,
    closing: CancellationToken,
    ended: bool,
    _place: Place,
}

/// How a call was when it was told.
struct Known {
    view: Weak<CallView>,
    fingerprint: u64,
}

/// What is still to be told of a round.
struct Round {
    /// By session.
    changed: VecDeque<String>,
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
        let view = self.sessions.view().await;
        let mut round = match self.round.take() {
            Some(round) => round,
            None => self.begin_round(&view),
        };
        let turn: HashSet<String> = round.changed.drain(..CALLS.min(round.changed.len())).collect();
        let mut response = WatchCallsResponse::default();
        // One that ended meanwhile is told in the next round, if it was told at all.
        for call in view.calls.iter().filter(|call| turn.contains(&call.session_id)) {
            response.calls.push(convert::live_call(call));
            self.told.insert(call.session_id.clone(), Known::of(call));
        }
        if round.changed.is_empty() {
            response.last_of_round = true;
            (response.ended_session_ids, response.nodes) = (round.ended_session_ids, round.nodes);
        } else {
            self.round = Some(round);
        }
        Some(Ok(response))
    }

    /// What changed since the round before, and what ended.
    fn begin_round(&mut self, view: &View) -> Round {
        let calls = || view.calls.iter().filter(|call| self.filter.takes(call));
        let is_known = |call: &&Arc<CallView>| self.told.get(&call.session_id).is_some_and(|known| known.is(call));
        let changed = calls().filter(|call| !is_known(call)).map(|call| call.session_id.clone()).collect();
        let live: HashSet<&str> = calls().map(|call| call.session_id.as_str()).collect();
        let ended = |session_id: &&String| !live.contains(session_id.as_str());
        let ended_session_ids: Vec<String> = self.told.keys().filter(ended).cloned().collect();
        for session_id in &ended_session_ids {
            self.told.remove(session_id);
        }
        Round { changed, ended_session_ids, nodes: view.nodes.clone() }
    }
}

impl Known {
    fn of(call: &Arc<CallView>) -> Self {
        Self { view: Arc::downgrade(call), fingerprint: call.fingerprint() }
    }

    /// Whether the call is still like that. Another server's is another value with every beat, though nothing may have changed.
    fn is(&self, call: &Arc<CallView>) -> bool {
        std::ptr::eq(self.view.as_ptr(), Arc::as_ptr(call)) || self.fingerprint == call.fingerprint()
    }
}
