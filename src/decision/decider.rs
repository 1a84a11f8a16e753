//! What is thought of one leg: windows in media order → the smoothed emotion, the summary, and alerts.
//!
//! A [`Decider`] is all that stands between a call's scores and what people are told, and the same one runs over recorded scores: what
//! it tells depends on the observations alone, in their order, and on what people do to alerts.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Calibration, Judgement, Share, Tally,
    alert::{Alert, Attribution, Reason, Snooze, State},
    rules::{Rule, Rules},
    smooth::{Average, Spoken},
    tracker::{Beat, Heard, Tracker},
};
use crate::{features::NotScored, policy::Role};

#[cfg(test)]
mod tests;

/// Whose leg it is, and by which model it is heard.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the model tells apart.
    pub labels: Vec<String>,
    /// How sure it may be said to be.
    pub calibration: Calibration,
    /// Who speaks.
    pub role: Role,
    /// What the call is tagged with.
    pub tags: BTreeMap<String, String>,
}

/// One stride. Positions are counted from the leg's first sample, holds included.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// Where the stretch begins that was looked at.
    pub start: Duration,
    /// Where it ends.
    pub end: Duration,
    /// How long the leg has been on hold so far.
    pub held: Duration,
    /// Speech since the last stride.
    pub speech_seconds: f32,
    /// Part of the stretch that was speech.
    pub speech_ratio: f32,
    /// Signal to noise, where it was measured. dB.
    pub snr_db: Option<f32>,
    /// The calibrated probabilities, one a label, or why nothing was scored.
    pub outcome: Result<&'a [f32], NotScored>,
}

/// What is thought of one leg.
#[derive(Debug)]
pub struct Decider {
    options: Options,
    rules: Arc<Rules>,
    average: Average,
    spoken: Spoken,
    tally: Tally,
    trackers: Vec<Tracker>,
    alerts: VecDeque<Alert>,
    last_number: u64,
    /// Media time of the first observation's begin.
    origin: Option<Duration>,
    /// Where the last observation ended.
    position: Duration,
}

/// There is no such alert to do anything to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotOpen {
    /// It never was.
    #[error("there is no such alert")]
    Unknown,
    /// It is over.
    #[error("the alert is resolved already")]
    Resolved,
}

impl Decider {
    /// Nothing heard yet.
    pub fn new(options: Options, rules: &Arc<Rules>) -> Self {
        let labels = options.labels.len();
        let mut decider = Self {
            average: Average::new(labels, rules.half_life_seconds),
            spoken: Spoken::default(),
            tally: Tally::new(labels),
            trackers: Vec::new(),
            alerts: VecDeque::new(),
            last_number: 0,
            origin: None,
            position: Duration::ZERO,
            rules: Arc::clone(rules),
            options,
        };
        decider.trackers = rules.rules.iter().filter_map(|rule| decider.tracker(rule)).collect();
        decider
    }

    /// Takes the next stride in.
    pub fn observe(&mut self, observation: &Observation<'_>) {
        let Observation { start, end, held, snr_db, speech_ratio, outcome, .. } = *observation;
        let origin = *self.origin.get_or_insert(start.saturating_sub(held));
        self.position = end;
        let speech_seconds = f64::from(observation.speech_seconds);
        let heard = match outcome {
            Ok(probabilities) => {
                let spoken_seconds = self.spoken.take(speech_seconds, end.saturating_sub(start).as_secs_f64());
                self.average.add(probabilities, spoken_seconds);
                Some(Heard { probabilities, spoken_seconds, speech_ratio, snr_db })
            }
            // The next window looks at the same speech.
            Err(NotScored::TooShort | NotScored::Overloaded | NotScored::Failed) => {
                self.spoken.wait(speech_seconds);
                None
            }
            Err(_) => None,
        };
        let media = end.saturating_sub(held).saturating_sub(origin);
        let beat = Beat { media, start, end, heard };
        for tracker in &mut self.trackers {
            let number = || {
                self.last_number += 1;
                self.last_number
            };
            self.alerts.extend(tracker.beat(&beat, number));
        }
        if let Some(heard) = heard {
            self.tally.add(heard.probabilities, heard.spoken_seconds, end);
        }
    }

    /// What is thought of the party now; `None` before anything was heard.
    #[expect(clippy::cast_possible_truncation, reason = "told with the precision of a score")]
    pub fn smoothed(&self) -> Option<Judgement> {
        let values = self.average.values()?.map(|value| value as f32).collect();
        Some(self.options.calibration.judge_probabilities(values))
    }

    /// The next change of an alert, in order.
    pub fn poll_alert(&mut self) -> Option<Alert> {
        self.alerts.pop_front()
    }

    /// Windows that were scored.
    pub fn windows(&self) -> u64 {
        self.tally.windows()
    }

    /// The mean probability of each label over the windows; `None` before the first.
    pub fn mean(&self) -> Option<Vec<f32>> {
        self.tally.mean()
    }

    /// Where every rule that applies to this leg stands.
    pub fn states(&self) -> impl Iterator<Item = (&Arc<Rule>, State)> {
        self.trackers.iter().map(|tracker| (tracker.rule(), tracker.state()))
    }

    /// What was heard in all, a row a label.
    pub fn shares(&self) -> Vec<Share> {
        self.tally.shares()
    }

    /// Goes on under other rules. One of the same name that looks at the same emotions goes on where it stands, by its new values; the
    /// alert of one that is gone is resolved.
    pub fn set_rules(&mut self, rules: &Arc<Rules>) {
        if Arc::ptr_eq(&self.rules, rules) {
            return;
        }
        self.rules = Arc::clone(rules);
        self.average.set_half_life(rules.half_life_seconds);
        let mut earlier = std::mem::take(&mut self.trackers);
        for rule in &rules.rules {
            let kept = earlier.iter().position(|tracker| {
                let before = tracker.rule();
                before.name == rule.name && before.emotions == rule.emotions
            });
            match kept.filter(|_| rule.applies_to(self.options.role, &self.options.tags)) {
                Some(kept) => {
                    let mut tracker = earlier.swap_remove(kept);
                    tracker.set_rule(Arc::clone(rule));
                    self.trackers.push(tracker);
                }
                None => self.trackers.extend(self.tracker(rule)),
            }
        }
        for mut tracker in earlier {
            self.alerts.extend(tracker.resolve(Reason::RuleChanged, self.position));
        }
    }

    /// Somebody takes an alert over.
    ///
    /// # Errors
    /// [`NotOpen`] when there is no such alert, or it is over.
    pub fn acknowledge(&mut self, number: u64, by: Attribution) -> Result<(), NotOpen> {
        let position = self.position;
        let alert = self.open(number)?.acknowledge(by, position);
        self.alerts.extend(alert);
        Ok(())
    }

    /// Somebody wants to hear no more of an alert, nor of another one of its rule, for a while of wall time.
    ///
    /// # Errors
    /// [`NotOpen`] when there is no such alert, or it is over.
    pub fn snooze(&mut self, number: u64, snooze: Snooze, now: Instant) -> Result<(), NotOpen> {
        let position = self.position;
        let alert = self.open(number)?.snooze(snooze, position, now);
        self.alerts.extend(alert);
        Ok(())
    }

    /// Lets snoozes end.
    pub fn tick(&mut self, now: Instant) {
        for tracker in &mut self.trackers {
            self.alerts.extend(tracker.tick(self.position, now));
        }
    }

    /// When [`Decider::tick`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.trackers.iter().filter_map(Tracker::deadline).min()
    }

    /// Ends every alert that is open.
    pub fn end(&mut self, reason: Reason) {
        for tracker in &mut self.trackers {
            self.alerts.extend(tracker.resolve(reason, self.position));
        }
    }

    /// Forgets what was heard, and ends every alert that is open without its scores.
    pub fn purge(&mut self) {
        self.average.purge();
        self.tally.purge();
        for tracker in &mut self.trackers {
            tracker.purge();
        }
        self.end(Reason::ConsentWithdrawn);
        self.trackers.clear();
    }

    fn open(&mut self, number: u64) -> Result<&mut Tracker, NotOpen> {
        let missing = if (1..=self.last_number).contains(&number) { NotOpen::Resolved } else { NotOpen::Unknown };
        self.trackers.iter_mut().find(|tracker| tracker.open_number() == Some(number)).ok_or(missing)
    }

    /// What follows a rule on this leg; `None` where it does not apply, or the model knows none of its emotions.
    fn tracker(&self, rule: &Arc<Rule>) -> Option<Tracker> {
        if !rule.applies_to(self.options.role, &self.options.tags) {
            return None;
        }
        let labels = &self.options.labels;
        let emotions: Vec<usize> =
            rule.emotions.iter().filter_map(|emotion| labels.iter().position(|label| label == emotion)).collect();
        (!emotions.is_empty()).then(|| Tracker::new(Arc::clone(rule), emotions, labels.len()))
    }
}
