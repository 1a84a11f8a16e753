//! What the journal is told of one call: that its legs began, how they went, their alerts, and how they ended.
//!
//! Nothing here waits for the journal. What is told of a leg whose consent is withdrawn is forgotten, here and there.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use zeroize::Zeroizing;

use super::{Acknowledgement, board::Purged};
use crate::{
    call::{self, EndReason, Event, Summary},
    decision::{alert::Reason, position},
    features::NotScored,
    journal::{
        Alert, Audit, Began, Draft, EmotionShare, Ended, Evidence, Feed, Record, Scope, Timeline, TimelinePoint,
    },
    policy::Role,
};

/// Time that one point of a timeline stands for. Ten decisions at the default stride; an eye follows a call of an hour by it.
const STEP_SECONDS: u64 = 5;

/// Points in one entry: a minute, which is what a death of the server costs at most.
const POINTS: usize = 12;

/// Points kept of one leg, eight hours. What is longer is a line that nobody hung up.
const MOST_POINTS: usize = 8 * 3600 / STEP_SECONDS as usize;

/// One call's way into the journal.
pub(super) struct Chronicle {
    feed: Feed,
    call: Arc<Acknowledgement>,
    began_at: SystemTime,
    legs: Vec<Leg>,
}

#[derive(Default)]
struct Leg {
    point: Option<Point>,
    /// End of the stretch of the last decision.
    reached_samples: Option<u64>,
    points: Vec<TimelinePoint>,
    points_told: usize,
    alerts: u64,
    withdrawn: bool,
    ended: bool,
}

/// A point that is not whole yet. What was heard is wiped when it is dropped.
struct Point {
    start_samples: u64,
    end_samples: u64,
    events: u32,
    scored: u32,
    speech_ratios: f32,
    smoothed: Zeroizing<Vec<f32>>,
    not_scored: BTreeMap<NotScored, u32>,
}

impl Chronicle {
    /// Tells that the legs began.
    pub(super) fn begin(feed: Feed, call: Arc<Acknowledgement>) -> Self {
        let legs = call.legs.iter().map(|_| Leg::default()).collect();
        let chronicle = Self { feed, call, began_at: SystemTime::now(), legs };
        for (index, leg) in chronicle.call.legs.iter().enumerate() {
            let began = Began {
                session_id: chronicle.call.session_id,
                role: leg.role,
                analysed: leg.analysed,
                tags: chronicle.call.tags.clone(),
                sample_rate_hz: chronicle.call.sample_rate_hz,
                model: chronicle.call.model.manifest.name.clone(),
                sha256: chronicle.call.model.sha256().to_owned(),
            };
            chronicle.record(index, chronicle.began_at, Record::Began(began));
        }
        chronicle
    }

    /// Takes a decision into the leg's timeline.
    pub(super) fn event(&mut self, event: &Event) {
        let step_samples = STEP_SECONDS * u64::from(self.call.sample_rate_hz);
        let leg = &mut self.legs[event.leg];
        if leg.withdrawn || leg.points_told + leg.points.len() >= MOST_POINTS {
            return;
        }
        // Windows overlap: a point begins where the last decision's stretch ended.
        let start_samples = leg.reached_samples.unwrap_or(event.start_samples);
        leg.reached_samples = Some(event.end_samples);
        let point = leg.point.get_or_insert_with(|| Point::beginning(start_samples));
        point.add(event);
        if point.end_samples.saturating_sub(point.start_samples) >= step_samples {
            leg.points.extend(leg.point.take().map(Point::whole));
            if leg.points.len() >= POINTS {
                self.tell_points(event.leg);
            }
        }
    }

    /// Tells a change of an alert.
    pub(super) fn alert(&mut self, told: &call::Alert, changed_at: SystemTime) {
        let (call, change) = (&self.call, &told.change);
        self.legs[told.leg].alerts += u64::from(change.reason == Reason::Rose);
        let samples = |at| position::to_samples(at, call.sample_rate_hz);
        let labels = call.model.manifest.labels.iter();
        let mut heard = change.evidence.clone();
        if self.legs[told.leg].withdrawn {
            heard.forget();
        }
        let evidence = Evidence {
            start_samples: samples(heard.start),
            end_samples: samples(heard.end),
            windows: heard.windows,
            speech_seconds: heard.speech.as_secs_f64(),
            speech_ratio: heard.speech_ratio,
            level: heard.level,
            usual: heard.usual,
            peak: heard.peak,
            peak_end_samples: samples(heard.peak_at),
            scores: labels.cloned().zip(heard.scores.iter().copied()).collect(),
            snr_db: heard.snr_db,
            model: call.model.manifest.name.clone(),
            sha256: call.model.sha256().to_owned(),
        };
        let alert = Alert {
            alert_id: told.alert_id.clone(),
            revision: change.revision,
            rule: change.rule.name.clone(),
            rule_version: change.rule.version,
            role: call.legs[told.leg].role,
            tags: call.tags.clone(),
            state: change.state,
            severity: change.severity,
            reason: change.reason,
            sample_rate_hz: call.sample_rate_hz,
            fired_samples: samples(change.fired_at),
            changed_samples: samples(change.at),
            actor: change.by.as_ref().map(|by| by.actor.clone()),
            actor_reason: change.by.as_ref().map(|by| by.reason.clone()),
            snoozed_until: change.snoozed_for.and_then(|lasts| changed_at.checked_add(lasts)),
            evidence,
        };
        self.record(told.leg, changed_at, Record::Alert(Box::new(alert)));
    }

    /// Tells how a leg ended.
    pub(super) fn summary(&mut self, summary: &Summary) {
        let index = summary.leg;
        let leg = &mut self.legs[index];
        leg.ended = true;
        leg.points.extend(leg.point.take().map(Point::whole));
        // Windows that were out when consent was withdrawn at the very end may have come back since.
        if leg.withdrawn || summary.end_reason == EndReason::ConsentWithdrawn {
            leg.forget();
            let ended = self.nothing_heard(index, EndReason::ConsentWithdrawn);
            return self.record(index, SystemTime::now(), Record::Ended(ended));
        }
        self.tell_points(index);
        let call = &self.call;
        let share = |(label, share): (&String, &crate::decision::Share)| EmotionShare {
            label: label.clone(),
            share: share.share,
            peak: share.peak,
            peak_end_samples: position::to_samples(share.peak_at, call.sample_rate_hz),
            trend: share.trend,
        };
        let ended = Ended {
            reason: summary.end_reason,
            received_samples: summary.received_samples,
            dropped_samples: summary.dropped_samples,
            filled_samples: summary.filled_samples,
            speech_seconds: summary.speech.as_secs_f64(),
            scored_windows: summary.scored_windows,
            shed_windows: summary.shed_windows,
            not_scored: summary.not_scored.iter().copied().collect(),
            shares: call.model.manifest.labels.iter().zip(&summary.shares).map(share).collect(),
            warnings: summary.warnings.clone(),
            ..self.nothing_heard(index, summary.end_reason)
        };
        if self.subject(index).is_some() && !ended.shares.is_empty() {
            self.record(index, SystemTime::now(), Record::Subject(ended.clone()));
        }
        self.record(index, SystemTime::now(), Record::Ended(ended));
    }

    /// Forgets what was told of a leg, or of all; what is told afterwards stays. `None` where that was done before.
    pub(super) fn withdraw(&mut self, leg: Option<usize>, actor: &str, reason: &str) -> Option<Purged> {
        let call_id = self.call.call_id.clone();
        let legs = &mut self.legs[leg.map_or(0..self.call.legs.len(), |leg| leg..leg + 1)];
        if legs.iter().all(|leg| leg.withdrawn) {
            return None;
        }
        for leg in legs {
            leg.forget();
            leg.withdrawn = true;
        }
        let leg_id = leg.map(|leg| self.call.legs[leg].leg_id.clone());
        let scope = Scope::of_call(&call_id, leg_id.as_deref());
        let audit =
            Audit::ConsentWithdrawn { call_id, leg_id, actor: actor.to_owned(), reason: reason.to_owned(), entries: 0 };
        Some(self.feed.forget(scope, Draft::new(SystemTime::now(), Record::Audit(audit))))
    }

    fn tell_points(&mut self, index: usize) {
        let leg = &mut self.legs[index];
        let points = std::mem::take(&mut leg.points);
        if points.is_empty() {
            return;
        }
        leg.points_told += points.len();
        let labels = self.call.model.manifest.labels.clone();
        let timeline = Timeline { sample_rate_hz: self.call.sample_rate_hz, labels, points };
        self.record(index, SystemTime::now(), Record::Timeline(timeline));
    }

    fn record(&self, index: usize, at: SystemTime, record: Record) {
        let subject = self.subject(index);
        self.feed.record(Draft::new(at, record).of_leg(&self.call.call_id, &self.call.legs[index].leg_id, subject));
    }

    /// Whose summaries are kept over time. Nobody's at work, and nobody's who withdrew.
    fn subject(&self, index: usize) -> Option<&str> {
        let leg = &self.call.legs[index];
        let permitted = leg.role == Role::Customer && !self.legs[index].withdrawn;
        leg.subject.as_deref().filter(|_| permitted)
    }

    fn nothing_heard(&self, index: usize, reason: EndReason) -> Ended {
        Ended {
            session_id: self.call.session_id,
            role: self.call.legs[index].role,
            began_at: self.began_at,
            reason,
            sample_rate_hz: self.call.sample_rate_hz,
            received_samples: 0,
            dropped_samples: 0,
            filled_samples: 0,
            speech_seconds: 0.0,
            scored_windows: 0,
            shed_windows: 0,
            not_scored: BTreeMap::new(),
            shares: Vec::new(),
            alerts: self.legs[index].alerts,
            model: self.call.model.manifest.name.clone(),
            warnings: Vec::new(),
            tags: self.call.tags.clone(),
        }
    }
}

impl Drop for Chronicle {
    /// A leg that gave no summary ended all the same: its task panicked or was cut off.
    fn drop(&mut self) {
        for index in 0..self.legs.len() {
            if !self.legs[index].ended {
                let ended = self.nothing_heard(index, EndReason::Failed);
                self.record(index, SystemTime::now(), Record::Ended(ended));
            }
        }
    }
}

impl Leg {
    /// Points are wiped when they are dropped.
    fn forget(&mut self) {
        self.points.clear();
        self.point = None;
        self.alerts = 0;
    }
}

impl Point {
    fn beginning(start_samples: u64) -> Self {
        Self {
            start_samples,
            end_samples: start_samples,
            events: 0,
            scored: 0,
            speech_ratios: 0.0,
            smoothed: Zeroizing::default(),
            not_scored: BTreeMap::new(),
        }
    }

    fn add(&mut self, event: &Event) {
        self.end_samples = event.end_samples;
        self.events += 1;
        self.speech_ratios += event.speech_ratio;
        match &event.outcome {
            Ok(_) => self.scored += 1,
            Err(reason) => *self.not_scored.entry(*reason).or_default() += 1,
        }
        if let Some(smoothed) = &event.smoothed {
            // As many as before: a vector that grew would leave a copy behind.
            Vec::clone_from(&mut self.smoothed, &smoothed.probabilities);
        }
    }

    fn whole(self) -> TimelinePoint {
        let most = self.not_scored.iter().max_by_key(|(_, events)| **events);
        TimelinePoint {
            start_samples: self.start_samples,
            end_samples: self.end_samples,
            speech_ratio: to_thousandths(self.speech_ratios / self.events.max(1) as f32),
            scored_windows: self.scored,
            probabilities: self.smoothed.iter().copied().map(to_thousandths).collect(),
            not_scored: most.filter(|(_, events)| **events > self.scored).map(|(reason, _)| *reason),
        }
    }
}

/// No more digits than the value has meaning.
fn to_thousandths(value: f32) -> f32 {
    (value * 1000.0).round() / 1000.0
}
