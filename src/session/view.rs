//! The calls that live as those who watch see them, wherever they live.
//!
//! One picture is put together for all watchers, at most [`FRESH`] old, and what has not changed in it is the same [`Arc`] as before:
//! a thousand watchers cost little more than one.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{LiveCall, LiveLeg, Sessions};
use crate::policy::Role;

/// How old a picture may be for who watches: less than the shortest interval that can be asked for is told twice.
const FRESH: Duration = Duration::from_millis(50);

/// Calls that are looked at before others are let on the executor: about 100 µs.
const AT_ONCE: usize = 64;

/// One call that lives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallView {
    /// The stream, as its acknowledgement named it.
    pub session_id: String,
    /// The call, by the client's own id.
    pub call_id: String,
    /// The server on which it lives.
    pub node: String,
    /// What it is tagged with.
    pub tags: BTreeMap<String, String>,
    /// When it began.
    pub began_at: SystemTime,
    /// The model that scores it.
    pub model: String,
    /// That model's labels, in the order of its probabilities.
    pub labels: Vec<String>,
    /// Samples a second and channel.
    pub sample_rate_hz: u32,
    /// In channel order.
    pub legs: Vec<LegView>,
}

/// One leg of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LegView {
    /// Names it.
    pub leg_id: String,
    /// Who speaks.
    pub role: Role,
    /// The speaker, by the client's pseudonymous id; nobody once consent is withdrawn.
    pub subject: Option<String>,
    /// Whether it is analysed; not once consent is withdrawn.
    pub analysed: bool,
    /// How it stands.
    pub state: LiveLeg,
}

/// All calls that live.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The oldest first.
    pub calls: Vec<Arc<CallView>>,
    /// The servers whose calls are known, this one first.
    pub nodes: Vec<String>,
}

/// The picture that was put together last.
#[derive(Default)]
pub(super) struct Picture {
    taken: Option<(Instant, Arc<View>)>,
    own: HashMap<Uuid, Seen>,
}

/// A call of this server, and what its view was made of.
struct Seen {
    legs: Vec<Arc<LiveLeg>>,
    view: Arc<CallView>,
}

impl Sessions {
    /// All calls that live, a moment ago at worst: for who asks again and again.
    pub async fn view(&self) -> Arc<View> {
        self.view_not_older_than(FRESH).await
    }

    /// All calls that live, now.
    pub async fn view_now(&self) -> Arc<View> {
        self.view_not_older_than(Duration::ZERO).await
    }

    async fn view_not_older_than(&self, age: Duration) -> Arc<View> {
        let mut picture = self.shared.picture.lock().await;
        if let Some((taken_at, view)) = &picture.taken
            && taken_at.elapsed() < age
        {
            return Arc::clone(view);
        }
        let mut calls = self.own_calls(&mut picture).await;
        let mut nodes = vec![self.journal().node().to_owned()];
        let others = self.shared.peers.others(Instant::now());
        nodes.extend(others.nodes);
        for part in others.parts {
            calls.extend(part.calls().iter().cloned());
            tokio::task::yield_now().await;
        }
        calls.sort_by(|a, b| (a.began_at, &a.session_id).cmp(&(b.began_at, &b.session_id)));
        let view = Arc::new(View { calls, nodes });
        picture.taken = Some((Instant::now(), Arc::clone(&view)));
        view
    }

    /// Forgets the picture where nobody has looked of late: what was heard in calls that ended, or were withdrawn, must not stay in it.
    pub(super) async fn forget_picture(&self) {
        let mut picture = self.shared.picture.lock().await;
        if picture.taken.as_ref().is_none_or(|(taken_at, _)| taken_at.elapsed() > FRESH) {
            *picture = Picture::default();
        }
    }

    /// The calls of this server.
    pub(super) async fn own_view(&self) -> Vec<Arc<CallView>> {
        let mut picture = self.shared.picture.lock().await;
        self.own_calls(&mut picture).await
    }

    async fn own_calls(&self, picture: &mut Picture) -> Vec<Arc<CallView>> {
        let live = self.shared.board.calls();
        let mut seen = HashMap::with_capacity(live.len());
        for (index, call) in live.iter().enumerate() {
            if index % AT_ONCE == AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            let session_id = call.call.session_id;
            let legs = call.legs();
            let unchanged = |before: &Seen| before.legs.iter().zip(&legs).all(|(a, b)| Arc::ptr_eq(a, b));
            let now = match picture.own.remove(&session_id).filter(unchanged) {
                Some(before) => before,
                None => Seen { view: Arc::new(CallView::of(call, &legs, self.journal().node())), legs },
            };
            seen.insert(session_id, now);
        }
        picture.own = seen;
        picture.own.values().map(|seen| Arc::clone(&seen.view)).collect()
    }
}

impl CallView {
    /// Tells whether a call has changed, by all that changes in one, without keeping what was heard.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for LegView { state, .. } in &self.legs {
            let LiveLeg { position_samples, smoothed, not_scored, speech_ratio, alerts, withdrawn } = state;
            (position_samples, not_scored, speech_ratio.to_bits(), alerts, withdrawn).hash(&mut hasher);
            let Some(smoothed) = smoothed else { continue };
            smoothed.label.hash(&mut hasher);
            smoothed.probabilities.iter().for_each(|probability| probability.to_bits().hash(&mut hasher));
        }
        hasher.finish()
    }

    fn of(live: &LiveCall, legs: &[Arc<LiveLeg>], node: &str) -> Self {
        let call = &live.call;
        let leg = |(leg, state): (&super::AcknowledgedLeg, &Arc<LiveLeg>)| LegView {
            leg_id: leg.leg_id.clone(),
            role: leg.role,
            subject: leg.subject.clone().filter(|_| !state.withdrawn),
            analysed: leg.analysed && !state.withdrawn,
            state: LiveLeg::clone(state),
        };
        Self {
            session_id: call.session_id.to_string(),
            call_id: call.call_id.clone(),
            node: node.to_owned(),
            tags: call.tags.clone(),
            began_at: live.began_at,
            model: call.model.manifest.name.clone(),
            labels: call.model.manifest.labels.clone(),
            sample_rate_hz: call.sample_rate_hz,
            legs: call.legs.iter().zip(legs).map(leg).collect(),
        }
    }
}
