//! The calls that live, as those who watch them see them, and the way to each.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{Acknowledgement, Request, resume::Rejoined};
use crate::{
    call::{Alert, Event},
    decision::{
        Judgement, NotOpen,
        alert::{Attribution, Severity, Snooze, State},
    },
    features::NotScored,
};

/// Commands that may wait for one call; who commands waits at more.
const COMMANDS: usize = 16;

/// All calls that live.
#[derive(Default)]
pub(super) struct Board {
    calls: DashMap<Uuid, Arc<LiveCall>>,
}

/// One call that lives.
pub struct LiveCall {
    /// As it was negotiated.
    pub call: Arc<Acknowledgement>,
    /// When it began.
    pub began_at: SystemTime,
    legs: Vec<ArcSwap<LiveLeg>>,
    commands: mpsc::Sender<Command>,
}

/// How a leg stands now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LiveLeg {
    /// End of the stretch that the last decision was about, samples.
    pub position_samples: u64,
    /// The average over speech time.
    pub smoothed: Option<Judgement>,
    /// Why nothing was scored at the last stride; `None` when something was.
    pub not_scored: Option<NotScored>,
    /// Part of the last stretch that was speech.
    pub speech_ratio: f32,
    /// Alerts that are not over, by id.
    pub alerts: BTreeMap<String, OpenAlert>,
    /// Consent was withdrawn.
    pub withdrawn: bool,
}

/// An alert that is not over.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OpenAlert {
    /// The rule's name.
    pub rule: String,
    /// Where it stands.
    pub state: State,
    /// How pressing it is.
    pub severity: Severity,
}

/// How many entries of the journal were deleted, once they are.
pub(super) type Purged = oneshot::Receiver<u64>;

/// What a live call is told from outside.
pub(super) enum Command {
    /// Consent is withdrawn, of one leg or all. Answered with what will tell how many entries were deleted; `None` where consent was
    /// withdrawn before.
    Withdraw {
        leg: Option<usize>,
        actor: String,
        reason: String,
        answer: oneshot::Sender<Option<Purged>>,
    },
    Acknowledge {
        alert_id: String,
        by: Attribution,
        answer: oneshot::Sender<Result<(), NotOpen>>,
    },
    Snooze {
        alert_id: String,
        snooze: Snooze,
        answer: oneshot::Sender<Result<(), NotOpen>>,
    },
    /// The same call comes on another stream. Never answered by a session that ends first.
    Rejoin {
        request: Box<Request>,
        answer: oneshot::Sender<Rejoined>,
    },
}

/// A call on the board, while it is held.
pub(super) struct Posted {
    board: Arc<Board>,
    live: Arc<LiveCall>,
}

impl Board {
    /// Puts a call up, and gives what it is told from outside.
    pub(super) fn post(self: &Arc<Self>, call: Arc<Acknowledgement>) -> (Posted, mpsc::Receiver<Command>) {
        let (commands, told) = mpsc::channel(COMMANDS);
        let legs = call.legs.iter().map(|_| ArcSwap::default()).collect();
        let live = Arc::new(LiveCall { call, began_at: SystemTime::now(), legs, commands });
        self.calls.insert(live.call.session_id, Arc::clone(&live));
        (Posted { board: Arc::clone(self), live }, told)
    }

    /// All of them, in no order.
    pub(super) fn calls(&self) -> Vec<Arc<LiveCall>> {
        self.calls.iter().map(|call| Arc::clone(&call)).collect()
    }

    pub(super) fn get(&self, session_id: Uuid) -> Option<Arc<LiveCall>> {
        self.calls.get(&session_id).map(|call| Arc::clone(&call))
    }
}

impl Posted {
    /// As the others see it.
    pub(super) fn live(&self) -> &LiveCall {
        &self.live
    }

    /// Shows a decision.
    pub(super) fn event(&self, event: &Event) {
        self.change(event.leg, |leg| {
            leg.position_samples = event.end_samples;
            if !leg.withdrawn {
                leg.smoothed.clone_from(&event.smoothed);
            }
            leg.not_scored = event.outcome.as_ref().err().copied();
            leg.speech_ratio = event.speech_ratio;
        });
    }

    /// Shows a change of an alert.
    pub(super) fn alert(&self, alert: &Alert) {
        let Alert { leg, alert_id, change } = alert;
        self.change(*leg, |leg| {
            if change.state == State::Resolved {
                leg.alerts.remove(alert_id);
            } else {
                let open = OpenAlert { rule: change.rule.name.clone(), state: change.state, severity: change.severity };
                leg.alerts.insert(alert_id.clone(), open);
            }
        });
    }

    /// Shows that consent was withdrawn, and nothing that was heard.
    pub(super) fn withdraw(&self, leg: Option<usize>) {
        let legs = leg.map_or(0..self.live.legs.len(), |leg| leg..leg + 1);
        for index in legs {
            self.change(index, |leg| (leg.smoothed, leg.withdrawn) = (None, true));
        }
    }

    /// Only the call's own task changes it.
    fn change(&self, index: usize, change: impl FnOnce(&mut LiveLeg)) {
        let mut leg = LiveLeg::clone(&self.live.legs[index].load());
        change(&mut leg);
        self.live.legs[index].store(Arc::new(leg));
    }
}

impl Drop for Posted {
    fn drop(&mut self) {
        self.board.calls.remove(&self.live.call.session_id);
    }
}

impl LiveCall {
    /// How its legs stand now, in channel order.
    pub fn legs(&self) -> Vec<Arc<LiveLeg>> {
        self.legs.iter().map(ArcSwap::load_full).collect()
    }

    /// The index of a leg.
    pub(super) fn leg(&self, leg_id: &str) -> Option<usize> {
        self.call.legs.iter().position(|leg| leg.leg_id == leg_id)
    }

    /// Tells it; `None` when it has ended.
    pub(super) async fn tell<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.ok()?;
        answered.await.ok()
    }
}
