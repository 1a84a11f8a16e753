//! Small scenarios, then what holds for every stream.

use proptest::prelude::*;

use super::*;
use crate::decision::rules::Rules;
use any::{Step, any_rule, parsed, steps};

mod any;
mod promises;
mod steady;

fn rule(values: &str) -> Arc<Rule> {
    parsed(&format!("enter = 0.5\nleave = 0.3\n{values}"))
}

/// A rule that all but forgets what was before, so that the level is the last window's.
fn prompt(values: &str) -> Tracker {
    Tracker::new(rule(&format!("half_life_seconds = 0.1\ngrace_seconds = 0.0\n{values}")), vec![0], 1)
}

/// What is usual, as its definition says it: learnt from 0 on while nothing is open, by the rules that count from it.
struct Usual {
    half_life_seconds: Option<f64>,
    level: f64,
}

impl Usual {
    fn new(rule: &Rule) -> Self {
        Self { half_life_seconds: rule.usual_half_life_seconds, level: 0.0 }
    }

    fn learn(&mut self, angry: f32, spoken_seconds: f64) {
        if let Some(half_life_seconds) = self.half_life_seconds {
            self.level += (f64::from(angry) - self.level) * (1.0 - (-spoken_seconds / half_life_seconds).exp2());
        }
    }
}

/// Windows of half a second of speech, one after another, from `start` on.
struct Stream {
    tracker: Tracker,
    at: Duration,
    last_number: u64,
    told: Vec<Alert>,
}

const STRIDE: Duration = Duration::from_millis(500);

impl Stream {
    fn new(tracker: Tracker) -> Self {
        Self { tracker, at: Duration::ZERO, last_number: 0, told: Vec::new() }
    }

    fn hear(&mut self, angry: f32, strides: u32) -> &mut Self {
        for _ in 0..strides {
            self.beat(STRIDE, Some((angry, 0.5)));
        }
        self
    }

    fn silence(&mut self, strides: u32) -> &mut Self {
        for _ in 0..strides {
            self.beat(STRIDE, None);
        }
        self
    }

    fn beat(&mut self, passed: Duration, heard: Option<(f32, f64)>) {
        let start = self.at;
        self.at += passed;
        let probabilities = heard.map(|(angry, _)| [angry]);
        let heard = heard.zip(probabilities.as_ref()).map(|((_, spoken_seconds), probabilities)| Heard {
            probabilities: &probabilities[..],
            spoken_seconds,
            speech_ratio: 1.0,
            snr_db: Some(20.0),
        });
        let beat = Beat { media: self.at, start, end: self.at, heard };
        let number = || {
            self.last_number += 1;
            self.last_number
        };
        self.told.extend(self.tracker.beat(&beat, number));
    }

    /// What was told since the last time: reason and seconds.
    fn told(&mut self) -> Vec<(Reason, f64)> {
        self.told.drain(..).map(|alert| (alert.reason, alert.at.as_secs_f64())).collect()
    }
}

fn by() -> Attribution {
    Attribution { actor: "lead".into(), reason: "on it".into() }
}

fn snooze(seconds: u64) -> Snooze {
    Snooze { duration: Duration::from_secs(seconds), by: by() }
}

#[test]
fn fires_after_enough_speech_and_windows_and_calms_after_enough_quiet() {
    let mut stream = Stream::new(prompt("min_speech_seconds = 2.0\nkeep_firing_seconds = 3.0"));
    stream.hear(0.9, 3);
    assert_eq!((stream.tracker.state(), stream.told().len()), (State::Pending, 0));
    stream.hear(0.9, 1);
    let alert = stream.told[0].clone();
    assert_eq!((alert.number, alert.revision, alert.state, alert.severity), (1, 1, State::Firing, Severity::Warning));
    let evidence = &alert.evidence;
    assert_eq!((evidence.start, evidence.end, evidence.windows), (Duration::ZERO, 4 * STRIDE, 4));
    assert_eq!((evidence.speech, evidence.speech_ratio), (4 * STRIDE, 1.0));
    assert!((evidence.level - 0.9).abs() < 1e-3 && (evidence.peak - 0.9).abs() < 1e-3, "{evidence:?}");
    assert_eq!((evidence.snr_db, evidence.scores.len()), (Some(20.0), 1));
    assert_eq!(stream.told(), [(Reason::Rose, 2.0)]);
    stream.hear(0.1, 7);
    assert_eq!(stream.told(), [(Reason::Calmed, 5.5)]);
    assert_eq!(stream.tracker.state(), State::Inactive);
}

#[test]
fn a_burst_is_forgotten() {
    let mut stream = Stream::new(prompt("min_speech_seconds = 2.0"));
    stream.hear(0.9, 3).hear(0.45, 1).hear(0.9, 3).hear(0.45, 1);
    assert_eq!((stream.tracker.state(), stream.told()), (State::Inactive, vec![]));
}

#[test]
fn between_leave_and_enter_it_goes_on() {
    let mut stream = Stream::new(prompt("keep_firing_seconds = 2.0\ncritical_after_seconds = 10.0"));
    stream.hear(0.9, 3).hear(0.4, 200);
    assert_eq!(stream.told(), [(Reason::Rose, 1.5)]);
    stream.hear(0.9, 1);
    assert_eq!(stream.told(), [(Reason::Lasted, 102.0)]);
    stream.hear(0.1, 3).hear(0.4, 1).hear(0.1, 4);
    assert_eq!(stream.told(), [], "a window at leave begins the quiet anew");
    stream.hear(0.1, 1);
    assert_eq!(stream.told(), [(Reason::Calmed, 106.5)]);
}

#[test]
fn levels_are_counted_from_what_is_usual_for_the_party() {
    let counts = "usual_half_life_seconds = 30.0\nkeep_firing_seconds = 2.0\ncool_down_seconds = 0.0";
    // Always at 0.55: high against nothing known, so it fires at the begin; never calm, so it goes on.
    let mut always = Stream::new(prompt(counts));
    always.hear(0.55, 400);
    assert_eq!(always.told(), [(Reason::Rose, 1.5), (Reason::Lasted, 31.5)]);
    // At 0.4 for minutes, then at 0.8: not 0.5 above what is usual by now. At 0.95 it is.
    let mut livelier = Stream::new(prompt(counts));
    livelier.hear(0.4, 400).hear(0.8, 3);
    assert_eq!(livelier.told(), []);
    livelier.hear(0.4, 100).hear(0.95, 3);
    let evidence = livelier.told[0].evidence.clone();
    assert!((evidence.level - 0.95).abs() < 0.01 && (evidence.usual - 0.4).abs() < 0.05, "{evidence:?}");
    assert_eq!(livelier.told(), [(Reason::Rose, 254.5 - 1.5)]);
    // Back to what is usual: calm, though above `leave` counted from 0. What was heard meanwhile is not usual.
    let usual = livelier.tracker.usual();
    livelier.hear(0.95, 100).hear(0.4, 5);
    assert_eq!(livelier.told().last().unwrap().0, Reason::Calmed);
    assert_eq!(livelier.tracker.usual(), usual);
}

#[test]
fn anger_that_goes_on_through_cool_down_and_snooze_does_not_become_usual() {
    let counts = "usual_half_life_seconds = 30.0\nkeep_firing_seconds = 2.0\ncool_down_seconds = 60.0";
    let mut stream = Stream::new(prompt(counts));
    stream.hear(0.6, 3).hear(0.1, 6).hear(0.6, 300);
    let reasons: Vec<Reason> = stream.told().into_iter().map(|(reason, _)| reason).collect();
    assert_eq!(reasons, [Reason::Rose, Reason::Calmed, Reason::Rose, Reason::Lasted]);
    let mut snoozed = Stream::new(prompt(counts));
    let now = Instant::now();
    snoozed.hear(0.6, 3);
    snoozed.tracker.snooze(snooze(300), snoozed.at, now).unwrap();
    snoozed.hear(0.1, 6).hear(0.6, 600);
    assert_eq!(snoozed.told().last().unwrap().0, Reason::Calmed);
    snoozed.tracker.tick(snoozed.at, now + Duration::from_secs(300));
    snoozed.hear(0.6, 3);
    assert_eq!(snoozed.told()[0].0, Reason::Rose);
}

#[test]
fn what_was_usual_under_another_form_of_the_rule_is_not_gone_on_with() {
    let counts = "usual_half_life_seconds = 30.0\ngrace_seconds = 0.0\nhalf_life_seconds = 0.1";
    let mut stream = Stream::new(Tracker::new(rule(counts), vec![0], 1));
    stream.hear(0.4, 200);
    assert!(stream.tracker.usual() > 0.3);
    stream.tracker.set_rule(rule("grace_seconds = 0.0\nhalf_life_seconds = 0.1"));
    assert_eq!(stream.tracker.usual(), 0.0);
    stream.hear(0.1, 200);
    stream.tracker.set_rule(rule(counts));
    assert_eq!(stream.tracker.usual(), 0.0);
}

#[test]
fn what_exceeds_enter_adds_up_and_what_lacks_is_taken_away() {
    // 0.4 above `enter`, in half a second: 0.2 a window.
    let adds_up = "min_excess_seconds = 1.0\nkeep_firing_seconds = 1.0\ncool_down_seconds = 0.0\nexcess_half_life_seconds = 1000.0";
    let mut sure = Stream::new(prompt(adds_up));
    sure.hear(0.9, 6);
    assert_eq!(sure.told(), [(Reason::Rose, 3.0)], "five come to a little less than one: they fade");
    let evidence = sure.tracker.resolve(Reason::CallEnded, sure.at).unwrap().evidence.clone();
    assert_eq!((evidence.start, evidence.windows), (Duration::ZERO, 6));
    // A window at 0.1 takes away what one at 0.9 added, and the level's fall alone ends nothing.
    let mut mixed = Stream::new(prompt(adds_up));
    mixed.hear(0.9, 4).hear(0.1, 1);
    assert_eq!(mixed.tracker.state(), State::Pending);
    mixed.hear(0.9, 4);
    assert_eq!(mixed.told(), [(Reason::Rose, 4.0)]);
    mixed.hear(0.1, 3);
    assert_eq!(mixed.told().last().unwrap().0, Reason::Calmed);
    // As lively as often: never.
    let mut lively = Stream::new(prompt(adds_up));
    for _ in 0..100 {
        lively.hear(0.9, 2).hear(0.1, 2);
    }
    assert_eq!((lively.told(), lively.tracker.state()), (vec![], State::Inactive));
}

#[test]
fn what_was_added_up_fades_with_time_and_is_counted_from_what_is_usual() {
    let adds_up = "min_excess_seconds = 1.0\nexcess_half_life_seconds = 5.0\nmin_windows = 1";
    let mut sparse = Stream::new(prompt(adds_up));
    for _ in 0..50 {
        sparse.hear(1.0, 1).silence(9);
    }
    assert_eq!(sparse.told(), [], "a quarter of a second each five seconds");
    sparse.hear(1.0, 4);
    assert_eq!(sparse.told().len(), 1);
    // At 0.6 for minutes that is usual, and 0.9 no more than it.
    let mut livelier = Stream::new(prompt(&format!("{adds_up}\nusual_half_life_seconds = 30.0")));
    livelier.hear(0.5, 400).hear(0.9, 40);
    assert_eq!(livelier.told(), []);
}

#[test]
fn silence_neither_fires_nor_makes_critical_but_lets_the_quiet_pass() {
    let mut stream = Stream::new(prompt("min_speech_seconds = 2.0\nkeep_firing_seconds = 3.0"));
    stream.hear(0.9, 3).silence(100);
    assert_eq!(stream.tracker.state(), State::Pending);
    stream.hear(0.9, 1).silence(200);
    assert_eq!(stream.told(), [(Reason::Rose, 52.0)]);
    stream.hear(0.1, 1).silence(6);
    assert_eq!(stream.told(), [(Reason::Calmed, 155.5)]);
}

#[test]
fn a_window_that_adds_no_speech_says_nothing_new() {
    let mut stream = Stream::new(prompt(""));
    for _ in 0..50 {
        stream.beat(STRIDE, Some((0.9, 0.0)));
    }
    assert_eq!((stream.tracker.state(), stream.told()), (State::Inactive, vec![]));
}

#[test]
fn an_acknowledged_alert_is_not_critical_and_still_resolved() {
    let mut stream = Stream::new(prompt("critical_after_seconds = 5.0\nkeep_firing_seconds = 1.0"));
    stream.hear(0.9, 3);
    let alert = stream.tracker.acknowledge(by(), stream.at).unwrap();
    assert_eq!((alert.state, alert.revision, alert.by), (State::Acknowledged, 2, Some(by())));
    stream.hear(0.9, 40).hear(0.1, 3);
    let told: Vec<_> = stream.told.iter().map(|alert| (alert.reason, alert.revision, alert.severity)).collect();
    assert_eq!(told, [(Reason::Rose, 1, Severity::Warning), (Reason::Calmed, 3, Severity::Warning)]);
}

#[test]
fn a_snooze_ends_where_the_alert_stands() {
    let now = Instant::now();
    let mut stream = Stream::new(prompt("critical_after_seconds = 5.0"));
    stream.hear(0.9, 3);
    let alert = stream.tracker.snooze(snooze(60), stream.at, now).unwrap();
    assert_eq!((alert.state, alert.snoozed_for), (State::Snoozed, Some(Duration::from_secs(60))));
    stream.hear(0.9, 40);
    assert_eq!(stream.told().len(), 1, "nothing is critical while snoozed");
    assert_eq!(stream.tracker.tick(stream.at, now + Duration::from_secs(59)), None);
    assert_eq!(stream.tracker.deadline(), Some(now + Duration::from_secs(60)));
    let ended = stream.tracker.tick(stream.at, now + Duration::from_secs(60)).unwrap();
    assert_eq!((ended.state, ended.reason), (State::Firing, Reason::SnoozeEnded));
    stream.hear(0.9, 1);
    assert_eq!(stream.told()[0].0, Reason::Lasted);
}

#[test]
fn a_snooze_outlives_its_alert() {
    let now = Instant::now();
    let mut stream = Stream::new(prompt("keep_firing_seconds = 0.0\ncool_down_seconds = 0.0"));
    stream.hear(0.9, 3);
    stream.tracker.snooze(snooze(60), stream.at, now).unwrap();
    stream.hear(0.1, 1).hear(0.9, 50);
    assert_eq!(stream.told().last().unwrap().0, Reason::Calmed);
    assert_eq!(stream.tracker.tick(stream.at, now + Duration::from_secs(60)), None, "nothing is open");
    stream.hear(0.9, 3);
    assert_eq!(stream.told()[0].0, Reason::Rose);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Wall time is media time here. The levels are known from an average of the test's own.
    #[test]
    fn whatever_is_heard_alerts_keep_their_rules(rule in any_rule(), steps in steps()) {
        let begin = Instant::now();
        let mut stream = Stream::new(Tracker::new(Arc::clone(&rule), vec![0], 1));
        let (mut average, mut usual) = (Average::new(1, rule.half_life_seconds), Usual::new(&rule));
        // Levels since the last below `enter`, and since when the level was below `leave`.
        let (mut high, mut calm_since): ((u32, f64), Option<Duration>) = ((0, 0.0), None);
        let mut snoozed_until = Duration::ZERO;
        let mut calmed_at: Option<Duration> = None;
        let mut all: Vec<Alert> = Vec::new();
        for step in steps {
            all.extend(stream.tracker.tick(stream.at, begin + stream.at));
            let before = all.len();
            match step {
                Step::Acknowledge => {
                    let acknowledged = stream.tracker.acknowledge(by(), stream.at);
                    if acknowledged.is_some() {
                        snoozed_until = Duration::ZERO;
                    }
                    all.extend(acknowledged);
                }
                Step::Snooze { seconds } => {
                    let told = stream.tracker.snooze(snooze(seconds), stream.at, begin + stream.at);
                    if told.is_some() {
                        snoozed_until = stream.at + Duration::from_secs(seconds);
                    }
                    all.extend(told);
                }
                Step::Silence { seconds } => stream.beat(Duration::from_secs_f64(seconds), None),
                Step::Window { angry, spoken_seconds } => {
                    average.add(&[angry], spoken_seconds);
                    let open = stream.tracker.open_number().is_some();
                    let cooling = calmed_at.is_some_and(|at| stream.at + STRIDE - at < seconds(rule.cool_down_seconds));
                    let snoozed = stream.at < snoozed_until;
                    stream.beat(STRIDE, Some((angry, spoken_seconds)));
                    if spoken_seconds > 0.0 {
                        let level = average.sum_of(&[0]) - usual.level;
                        let quiet = level < rule.enter || stream.at < seconds(rule.grace_seconds);
                        high = if quiet { (0, 0.0) } else { (high.0 + 1, high.1 + spoken_seconds) };
                        if !(open || cooling || snoozed) {
                            usual.learn(angry, spoken_seconds);
                        }
                    }
                }
            }
            if average.sum_of(&[0]) - usual.level >= rule.leave() {
                calm_since = None;
            } else {
                calm_since.get_or_insert(stream.at);
            }
            all.append(&mut stream.told);
            for alert in &all[before..] {
                match alert.reason {
                    Reason::Rose => {
                        // What a rule that adds up needs is promised in [`promises`].
                        if rule.min_excess_seconds.is_none() {
                            prop_assert!(high.0 >= rule.min_windows, "{alert:?} after {high:?}");
                            prop_assert!(high.1 + 1e-6 >= rule.min_speech_seconds, "{alert:?} after {high:?}");
                        }
                        prop_assert!(stream.at >= seconds(rule.grace_seconds), "{alert:?} in grace");
                        prop_assert!(stream.at >= snoozed_until, "{alert:?} while snoozed");
                        let cool = calmed_at.map(|at| stream.at - at);
                        prop_assert!(cool.is_none_or(|cool| cool >= seconds(rule.cool_down_seconds)), "{alert:?} while cooling down");
                    }
                    Reason::Lasted => {
                        prop_assert!(stream.at - alert.fired_at >= seconds(rule.critical_after_seconds));
                        prop_assert!(high.0 > 0 || f64::from(alert.evidence.level - alert.evidence.usual) >= rule.enter - 1e-6);
                        prop_assert!(stream.at >= snoozed_until, "{alert:?} while snoozed");
                    }
                    Reason::Calmed => {
                        let calm = stream.at - calm_since.expect("the level is below leave");
                        prop_assert!(calm >= seconds(rule.keep_firing_seconds), "{alert:?} after {calm:?}");
                        calmed_at = Some(stream.at);
                    }
                    _ => {}
                }
            }
        }
        all.extend(stream.tracker.resolve(Reason::CallEnded, stream.at));
        prop_assert_eq!(stream.tracker.resolve(Reason::CallEnded, stream.at), None);
        // Alerts follow each other; each fires first, ends last, and counts its changes.
        let mut open: Option<(u64, u32)> = None;
        for alert in &all {
            match open {
                None => {
                    prop_assert_eq!((alert.reason, alert.revision), (Reason::Rose, 1));
                    open = Some((alert.number, 1));
                }
                Some((number, revision)) => {
                    prop_assert_eq!((alert.number, alert.revision), (number, revision + 1));
                    prop_assert!(alert.reason != Reason::Rose);
                    open = (alert.state != State::Resolved).then_some((number, revision + 1));
                }
            }
        }
        prop_assert_eq!(open, None);
    }
}
