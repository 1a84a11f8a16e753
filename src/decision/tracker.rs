//! The state machine of one rule on one leg.
//!
//! | state | what happens | next | told |
//! |---|---|---|---|
//! | INACTIVE | a window at `enter` or above, after grace, cool-down and snooze | PENDING | |
//! | PENDING | a window below `enter` | INACTIVE | |
//! | PENDING | enough speech and windows at `enter` or above | FIRING, warning | ROSE |
//! | INACTIVE, PENDING | by a rule with `min_excess_seconds`, as [`pending`] has it | the same | the same |
//! | FIRING | a window at `enter` or above, and at `leave`, `critical_after_seconds` later | FIRING, critical | LASTED |
//! | FIRING, SNOOZED | acknowledge | ACKNOWLEDGED | ACKNOWLEDGED |
//! | FIRING, ACKNOWLEDGED | snooze | SNOOZED | SNOOZED |
//! | SNOOZED | the snooze is over | FIRING, or ACKNOWLEDGED if it was before | SNOOZE_ENDED |
//! | FIRING, ACKNOWLEDGED, SNOOZED | below `leave` for `keep_firing_seconds` | INACTIVE, cooling down | RESOLVED, CALMED |
//! | FIRING, ACKNOWLEDGED, SNOOZED | call's end, withdrawal, rule changed | INACTIVE | RESOLVED, with the reason |
//!
//! A rule may count its levels from the party's usual one (`usual_half_life_seconds`): what is at `enter` above it fires, what is below
//! `leave` above it calms. The usual level begins at 0, is learnt slowly, and stands still while an alert is open, cooling down or
//! snoozed: anger that goes on is not to become usual.
//!
//! Whatever fires is resolved exactly once. Media time comes with every stride, scored or not, and stands still in a hold, so that
//! nothing begins or ends there. Only a snooze runs on wall time; it goes on when its alert is resolved, and as long as it lasts
//! nothing fires.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use zeroize::Zeroize as _;

use super::{
    alert::{Alert, Attribution, Reason, Severity, Snooze, State},
    rules::Rule,
    smooth::Average,
};
use pending::Pending;
use run::Run;

mod pending;
mod run;
#[cfg(test)]
mod tests;

/// One stride, as a tracker sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beat<'a> {
    /// Media time since the leg's first sample, holds left out.
    pub(super) media: Duration,
    /// Where the stretch begins that was looked at.
    pub(super) start: Duration,
    /// Where it ends.
    pub(super) end: Duration,
    /// What was heard in it, where something was.
    pub(super) heard: Option<Heard<'a>>,
}

/// A scored window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard<'a> {
    /// Calibrated, one a label.
    pub(super) probabilities: &'a [f32],
    /// Speech that the window adds to those before.
    pub(super) spoken_seconds: f64,
    /// Part of the stretch that was speech.
    pub(super) speech_ratio: f32,
    /// Signal to noise, where it was measured. dB.
    pub(super) snr_db: Option<f32>,
}

/// One rule on one leg.
#[derive(Debug)]
pub(super) struct Tracker {
    rule: Arc<Rule>,
    /// The rule's emotions, as indices into the model's labels.
    emotions: Vec<usize>,
    average: Average,
    /// The level that is usual for the party; 0 at the begin.
    usual: f64,
    phase: Phase,
    /// Media time before which nothing may begin.
    not_before: Duration,
    /// Wall time until which nothing may be told.
    snoozed_until: Option<Instant>,
}

#[derive(Debug)]
enum Phase {
    Inactive,
    Pending(Pending),
    Open(Box<Open>),
}

/// An alert that was told and is not resolved.
#[derive(Debug)]
struct Open {
    number: u64,
    revision: u32,
    run: Run,
    severity: Severity,
    acknowledged: bool,
    fired_at: Duration,
    /// Media time at which it fired.
    fired: Duration,
    /// Media time since which the level has been below `leave`; `None` while it is not.
    calm_since: Option<Duration>,
}

/// What a change of an alert says beside what is known of it anyway.
struct Change {
    state: State,
    reason: Reason,
    at: Duration,
    by: Option<Attribution>,
    snoozed_for: Option<Duration>,
}

impl Tracker {
    /// `emotions` are the indices of the rule's emotions among `labels` labels.
    pub(super) fn new(rule: Arc<Rule>, emotions: Vec<usize>, labels: usize) -> Self {
        let average = Average::new(labels, rule.half_life_seconds);
        let (phase, not_before) = (Phase::Inactive, Duration::ZERO);
        Self { average, usual: 0.0, emotions, phase, not_before, snoozed_until: None, rule }
    }

    pub(super) fn rule(&self) -> &Arc<Rule> {
        &self.rule
    }

    /// Goes on under a newer form of its rule that looks at the same emotions.
    pub(super) fn set_rule(&mut self, rule: Arc<Rule>) {
        self.average.set_half_life(rule.half_life_seconds);
        if self.rule.usual_half_life_seconds.is_none() {
            // It was not learnt meanwhile.
            self.usual = 0.0;
        }
        self.rule = rule;
    }

    /// Where the rule stands now.
    pub(super) fn state(&self) -> State {
        match &self.phase {
            Phase::Inactive => State::Inactive,
            Phase::Pending(_) => State::Pending,
            Phase::Open(open) => self.open_state(open),
        }
    }

    /// The number of the alert that is open.
    pub(super) fn open_number(&self) -> Option<u64> {
        match &self.phase {
            Phase::Open(open) => Some(open.number),
            Phase::Inactive | Phase::Pending(_) => None,
        }
    }

    /// The rule's level now.
    pub(super) fn level(&self) -> f64 {
        self.average.sum_of(&self.emotions)
    }

    /// The level from which the rule counts; 0 where it counts from none.
    fn usual(&self) -> f64 {
        if self.rule.usual_half_life_seconds.is_some() { self.usual } else { 0.0 }
    }

    /// The probability of the rule's emotions in a window, summed.
    fn probability(&self, heard: &Heard<'_>) -> f64 {
        self.emotions.iter().map(|&emotion| f64::from(heard.probabilities[emotion])).sum()
    }

    /// Learns from a window what is usual.
    fn learn(&mut self, heard: &Heard<'_>) {
        let Some(half_life_seconds) = self.rule.usual_half_life_seconds else { return };
        let kept = (-heard.spoken_seconds / half_life_seconds).exp2();
        self.usual = kept * self.usual + (1.0 - kept) * self.probability(heard);
    }

    /// Takes the next stride in. `number` gives an alert that begins its number.
    pub(super) fn beat(&mut self, beat: &Beat<'_>, number: impl FnOnce() -> u64) -> Option<Alert> {
        // A window that adds no speech says nothing new.
        let heard = beat.heard.filter(|heard| heard.spoken_seconds > 0.0);
        if let Some(heard) = heard {
            self.average.add(heard.probabilities, heard.spoken_seconds);
        }
        let level = self.level();
        let excess = level - self.usual();
        match &mut self.phase {
            Phase::Inactive | Phase::Pending(_) => {
                let heard = heard?;
                self.rise(beat, &heard, level);
                if self.snoozed_until.is_none() && beat.media >= self.not_before {
                    self.learn(&heard);
                }
                self.fire(beat, number)
            }
            Phase::Open(open) => {
                if let Some(heard) = heard {
                    open.run.add(beat, &heard, level);
                }
                if excess >= self.rule.leave() {
                    open.calm_since = None;
                } else if beat.media.saturating_sub(*open.calm_since.get_or_insert(beat.media))
                    >= seconds(self.rule.keep_firing_seconds)
                {
                    self.not_before = beat.media + seconds(self.rule.cool_down_seconds);
                    return self.resolve(Reason::Calmed, beat.end);
                }
                let lasts = beat.media.saturating_sub(open.fired) >= seconds(self.rule.critical_after_seconds);
                let loud = heard.is_some() && excess >= self.rule.enter.max(self.rule.leave());
                if loud
                    && lasts
                    && open.severity == Severity::Warning
                    && !open.acknowledged
                    && self.snoozed_until.is_none()
                {
                    open.severity = Severity::Critical;
                    return self.change(State::Firing, Reason::Lasted, beat.end);
                }
                None
            }
        }
    }

    /// Begins, goes on with or ends what is pending.
    fn rise(&mut self, beat: &Beat<'_>, heard: &Heard<'_>, level: f64) {
        let before = match std::mem::replace(&mut self.phase, Phase::Inactive) {
            Phase::Pending(pending) => Some(pending),
            _ => None,
        };
        let quiet = self.snoozed_until.is_some()
            || beat.media < self.not_before
            || beat.media < seconds(self.rule.grace_seconds);
        if !quiet {
            let usual = self.usual();
            let levels = (level, level - usual, self.probability(heard) - usual);
            self.phase =
                Pending::after(before, &self.rule, beat, heard, levels).map_or(Phase::Inactive, Phase::Pending);
        }
    }

    /// Fires if what is pending lasts for long enough.
    fn fire(&mut self, beat: &Beat<'_>, number: impl FnOnce() -> u64) -> Option<Alert> {
        let Phase::Pending(pending) = &self.phase else { return None };
        if !pending.is_enough(&self.rule) {
            return None;
        }
        self.phase = Phase::Open(Box::new(Open {
            number: number(),
            revision: 0,
            run: pending.run.clone(),
            severity: Severity::Warning,
            acknowledged: false,
            fired_at: beat.end,
            fired: beat.media,
            calm_since: None,
        }));
        self.change(State::Firing, Reason::Rose, beat.end)
    }

    /// Somebody takes the open alert over.
    pub(super) fn acknowledge(&mut self, by: Attribution, at: Duration) -> Option<Alert> {
        let Phase::Open(open) = &mut self.phase else { return None };
        open.acknowledged = true;
        self.snoozed_until = None;
        let change = Change { by: Some(by), ..Change::new(State::Acknowledged, Reason::Acknowledged, at) };
        self.tell(change)
    }

    /// Somebody wants to hear no more of the open alert, nor of another one of this rule, until then.
    pub(super) fn snooze(&mut self, snooze: Snooze, at: Duration, now: Instant) -> Option<Alert> {
        self.open_number()?;
        self.snoozed_until = Some(now + snooze.duration);
        let change = Change::new(State::Snoozed, Reason::Snoozed, at);
        self.tell(Change { by: Some(snooze.by), snoozed_for: Some(snooze.duration), ..change })
    }

    /// Lets a snooze end.
    pub(super) fn tick(&mut self, at: Duration, now: Instant) -> Option<Alert> {
        if self.snoozed_until.is_none_or(|until| now < until) {
            return None;
        }
        self.snoozed_until = None;
        let Phase::Open(open) = &self.phase else { return None };
        self.change(self.open_state(open), Reason::SnoozeEnded, at)
    }

    /// When [`Tracker::tick`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.snoozed_until
    }

    /// Ends the open alert.
    pub(super) fn resolve(&mut self, reason: Reason, at: Duration) -> Option<Alert> {
        let resolved = self.change(State::Resolved, reason, at);
        self.phase = Phase::Inactive;
        resolved
    }

    /// Forgets what was heard, what is pending included; an alert that is open stays so, without scores.
    pub(super) fn purge(&mut self) {
        self.average.purge();
        self.usual.zeroize();
        match &mut self.phase {
            Phase::Inactive => {}
            Phase::Pending(pending) => {
                pending.forget();
                self.phase = Phase::Inactive;
            }
            Phase::Open(open) => open.run.forget(),
        }
    }

    fn open_state(&self, open: &Open) -> State {
        if self.snoozed_until.is_some() {
            State::Snoozed
        } else if open.acknowledged {
            State::Acknowledged
        } else {
            State::Firing
        }
    }

    fn change(&mut self, state: State, reason: Reason, at: Duration) -> Option<Alert> {
        self.tell(Change::new(state, reason, at))
    }

    /// The next change of the open alert.
    fn tell(&mut self, change: Change) -> Option<Alert> {
        let (level, usual) = (single(self.level()), single(self.usual()));
        let Phase::Open(open) = &mut self.phase else { return None };
        open.revision += 1;
        let Change { state, reason, at, by, snoozed_for } = change;
        let scores = self.average.values().map(|values| values.map(single).collect()).unwrap_or_default();
        Some(Alert {
            number: open.number,
            revision: open.revision,
            rule: Arc::clone(&self.rule),
            state,
            severity: open.severity,
            reason,
            fired_at: open.fired_at,
            at,
            by,
            snoozed_for,
            evidence: open.run.evidence(level, usual, scores),
        })
    }
}

/// What was heard is wiped.
impl Drop for Tracker {
    fn drop(&mut self) {
        self.purge();
    }
}

impl Change {
    fn new(state: State, reason: Reason, at: Duration) -> Self {
        Self { state, reason, at, by: None, snoozed_for: None }
    }
}

/// Not negative, and no longer than a call: rules are validated.
fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[expect(clippy::cast_possible_truncation, reason = "told with the precision of a score")]
fn single(value: f64) -> f32 {
    value as f32
}
