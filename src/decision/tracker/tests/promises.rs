//! What an alert must do, whatever is heard: rise when its rule says so and nothing is in the way, and be resolved once.

use super::*;

/// The rule once more, as it is written down rather than as it runs: what it says after every step.
struct Expected {
    rule: Arc<Rule>,
    average: Average,
    usual: Usual,
    /// Windows and speech at `enter` or above, since the last that was not, or was in the way of grace, cool-down or snooze.
    held: (u32, f64),
    /// What they have added up to, and when, by a rule that adds up.
    excess: (f64, Duration),
    open: bool,
    calm_since: Option<Duration>,
    cool_until: Duration,
    snoozed_until: Option<Duration>,
}

impl Expected {
    fn new(rule: Arc<Rule>) -> Self {
        let average = Average::new(1, rule.half_life_seconds);
        let (cool_until, usual, excess) = (Duration::ZERO, Usual::new(&rule), (0.0, Duration::ZERO));
        let held = (0, 0.0);
        Self { rule, average, usual, held, excess, open: false, calm_since: None, cool_until, snoozed_until: None }
    }

    /// Whether an alert must rise, or be resolved, at this beat, and otherwise must not.
    fn beat(&mut self, at: Duration, heard: Option<(f32, f64)>) -> Option<Reason> {
        let heard = heard.filter(|(_, spoken_seconds)| *spoken_seconds > 0.0);
        if let Some((angry, spoken_seconds)) = heard {
            self.average.add(&[angry], spoken_seconds);
        }
        let (usual, held_before) = (self.usual.level, self.held.0 > 0);
        let level = self.average.sum_of(&[0]) - usual;
        if self.open {
            if level >= self.rule.leave() {
                self.calm_since = None;
                return None;
            }
            let calm = at - *self.calm_since.get_or_insert(at);
            if calm < seconds(self.rule.keep_firing_seconds) {
                return None;
            }
            (self.open, self.calm_since) = (false, None);
            (self.held, self.cool_until) = ((0, 0.0), at + seconds(self.rule.cool_down_seconds));
            return Some(Reason::Calmed);
        }
        let (angry, spoken_seconds) = heard?;
        let quiet = at < self.cool_until || self.snoozed_until.is_some();
        if !quiet {
            self.usual.learn(angry, spoken_seconds);
        }
        let blocked = quiet || at < seconds(self.rule.grace_seconds);
        let mut is_high = level >= self.rule.enter;
        if self.rule.min_excess_seconds.is_some() {
            let (sum, since) = if held_before { self.excess } else { (0.0, at) };
            let half_lives = (at - since).as_secs_f64() / self.rule.excess_half_life_seconds();
            if half_lives >= 7.0 {
                self.held = (0, 0.0);
            }
            let kept = if half_lives < 7.0 { sum * 0.5_f64.powf(half_lives) } else { 0.0 };
            self.excess = (kept + (f64::from(angry) - usual - self.rule.enter) * spoken_seconds, at);
            is_high = self.excess.0 > 0.0;
        }
        if blocked || !is_high {
            self.held = (0, 0.0);
            return None;
        }
        self.held = (self.held.0 + 1, self.held.1 + spoken_seconds);
        self.open = self.held.0 >= self.rule.min_windows
            && self.held.1 + 1e-6 >= self.rule.min_speech_seconds
            && self.rule.min_excess_seconds.is_none_or(|enough| self.excess.0 + 1e-6 >= enough);
        self.open.then_some(Reason::Rose)
    }

    fn tick(&mut self, at: Duration) {
        self.snoozed_until = self.snoozed_until.filter(|until| at < *until);
    }
}

/// Whether this is the begin or the end of an alert.
fn is_turn(alert: &Alert) -> bool {
    matches!(alert.reason, Reason::Rose | Reason::Calmed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Not only never too early, never twice: at that very beat, neither before nor after it. Wall time is media time here.
    #[test]
    fn an_alert_rises_and_is_resolved_at_the_very_beat_that_its_rule_names(rule in any_rule(), steps in steps()) {
        let begin = Instant::now();
        let mut stream = Stream::new(Tracker::new(Arc::clone(&rule), vec![0], 1));
        let mut expected = Expected::new(rule);
        let (mut rose, mut ended) = (Vec::new(), Vec::new());
        for step in steps {
            expected.tick(stream.at);
            let ticked = stream.tracker.tick(stream.at, begin + stream.at);
            prop_assert!(ticked.is_none_or(|alert| !is_turn(&alert)));
            let turn = match step {
                Step::Acknowledge => {
                    if stream.tracker.acknowledge(by(), stream.at).is_some() {
                        expected.snoozed_until = None;
                    }
                    continue;
                }
                Step::Snooze { seconds } => {
                    let told = stream.tracker.snooze(snooze(seconds), stream.at, begin + stream.at);
                    prop_assert_eq!(told.is_some(), expected.open, "whoever may snooze it is told");
                    if expected.open {
                        expected.snoozed_until = Some(stream.at + Duration::from_secs(seconds));
                    }
                    continue;
                }
                Step::Silence { seconds } => {
                    stream.beat(Duration::from_secs_f64(seconds), None);
                    expected.beat(stream.at, None)
                }
                Step::Window { angry, spoken_seconds } => {
                    stream.beat(STRIDE, Some((angry, spoken_seconds)));
                    expected.beat(stream.at, Some((angry, spoken_seconds)))
                }
            };
            let told: Vec<Alert> = stream.told.drain(..).filter(is_turn).collect();
            prop_assert_eq!(told.iter().map(|alert| alert.reason).collect::<Vec<_>>(), Vec::from_iter(turn), "at {:?}", stream.at);
            rose.extend(told.iter().filter(|alert| alert.reason == Reason::Rose).map(|alert| alert.number));
            ended.extend(told.iter().filter(|alert| alert.state == State::Resolved).map(|alert| alert.number));
        }
        // The call's end resolves what is open, and nothing else.
        let last = stream.tracker.resolve(Reason::CallEnded, stream.at);
        prop_assert_eq!(last.is_some(), expected.open);
        ended.extend(last.map(|alert| alert.number));
        prop_assert_eq!(&ended, &rose, "each that fired is resolved once, in turn");
        prop_assert!(rose.iter().copied().eq(1..=rose.len() as u64), "{:?}", rose);
    }
}

#[test]
fn streams_of_the_property_tests_make_alerts_rise_and_calm() {
    use proptest::{strategy::ValueTree as _, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let (mut rose, mut calmed) = (0, 0);
    for _ in 0..200 {
        let rule = any_rule().new_tree(&mut runner).unwrap().current();
        let mut stream = Stream::new(Tracker::new(rule, vec![0], 1));
        for step in steps().new_tree(&mut runner).unwrap().current() {
            match step {
                Step::Silence { seconds } => stream.beat(Duration::from_secs_f64(seconds), None),
                Step::Window { angry, spoken_seconds } => stream.beat(STRIDE, Some((angry, spoken_seconds))),
                Step::Acknowledge | Step::Snooze { .. } => {}
            }
        }
        rose += stream.told.iter().filter(|alert| alert.reason == Reason::Rose).count();
        calmed += stream.told.iter().filter(|alert| alert.reason == Reason::Calmed).count();
    }
    assert!(
        rose >= 200 && calmed >= 100,
        "{rose} rose and {calmed} calmed in 200 streams: the properties hold of nothing"
    );
}
