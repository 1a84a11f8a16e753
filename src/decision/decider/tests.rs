//! Small scenarios of one leg.

use super::*;

mod promises;

fn rules(text: &str) -> Arc<Rules> {
    Arc::new(Rules::parse(text).unwrap())
}

fn anger(values: &str) -> Arc<Rules> {
    rules(&format!("[[rule]]\nname = 'anger'\nemotions = ['angry']\nenter = 0.5\nhalf_life_seconds = 0.5\n{values}"))
}

fn decider(rules: &Arc<Rules>) -> Decider {
    let options = Options {
        labels: ["angry", "calm"].map(String::from).to_vec(),
        calibration: Calibration { temperature: 1.0, uncertain_below: 0.6 },
        role: Role::Customer,
        tags: BTreeMap::from([("queue".into(), "complaints".into())]),
    };
    Decider::new(options, rules)
}

/// Windows of two seconds, every half second, that end after `from` up to `to` seconds.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few seconds of strides, forwards")]
fn hear(decider: &mut Decider, from: f64, to: f64, angry: f32) {
    let strides = ((to - from) * 2.0).round() as u32;
    for stride in 1..=strides {
        let end = Duration::from_secs_f64(from + f64::from(stride) * 0.5);
        decider.observe(&observation(end, Ok(&[angry, 1.0 - angry])));
    }
}

fn observation<'a>(end: Duration, outcome: Result<&'a [f32], NotScored>) -> Observation<'a> {
    let start = end.saturating_sub(Duration::from_secs(2));
    Observation { start, end, held: Duration::ZERO, speech_seconds: 0.5, speech_ratio: 1.0, snr_db: None, outcome }
}

fn told(decider: &mut Decider) -> Vec<(&'static str, &'static str)> {
    std::iter::from_fn(|| decider.poll_alert()).map(|alert| (alert.state.name(), alert.reason.name())).collect()
}

#[test]
fn what_is_thought_is_smoothed_and_uncertain_between() {
    let mut decider = decider(&rules("half_life_seconds = 1.0"));
    assert_eq!(decider.smoothed(), None);
    hear(&mut decider, 0.0, 10.0, 1.0);
    assert_eq!(decider.smoothed().unwrap().label, Some(0));
    hear(&mut decider, 10.0, 11.0, 0.0);
    let between = decider.smoothed().unwrap();
    assert!(between.label.is_none() && (between.confidence - 0.5).abs() < 0.01, "{between:?}");
    hear(&mut decider, 11.0, 20.0, 0.0);
    assert_eq!(decider.smoothed().unwrap().label, Some(1));
    assert_eq!((decider.windows(), decider.shares().len()), (40, 2));
}

#[test]
fn speech_that_was_shed_counts_with_the_next_window() {
    let mut decider = decider(&anger("min_speech_seconds = 1.5\nmin_windows = 2\ngrace_seconds = 0.0"));
    let at = Duration::from_secs_f64;
    decider.observe(&observation(at(3.0), Ok(&[0.9, 0.1])));
    decider.observe(&observation(at(3.5), Err(NotScored::Overloaded)));
    decider.observe(&observation(at(4.0), Ok(&[0.9, 0.1])));
    assert_eq!(told(&mut decider), [("FIRING", "ROSE")]);
}

#[test]
fn rules_apply_by_role_tags_and_labels() {
    let rules = rules(
        "[[rule]]\nname = 'a'\nemotions = ['angry', 'calm']\nenter = 0.5\n\
         [[rule]]\nname = 'b'\nemotions = ['angry']\nenter = 0.5\ntags = { queue = 'sales' }\n\
         [[rule]]\nname = 'c'\nemotions = ['angry']\nenter = 0.5\nroles = ['AGENT']\n\
         [[rule]]\nname = 'd'\nemotions = ['afraid']\nenter = 0.5\n\
         [[rule]]\nname = 'e'\nemotions = ['angry']\nenter = 0.5\ntags = { queue = 'complaints' }\n",
    );
    let names: Vec<String> = decider(&rules).states().map(|(rule, _)| rule.name.clone()).collect();
    assert_eq!(names, ["a", "e"]);
}

#[test]
fn newer_rules_go_on_where_the_earlier_stood() {
    let mut decider = decider(&anger(""));
    hear(&mut decider, 0.0, 10.0, 0.9);
    assert_eq!(told(&mut decider), [("FIRING", "ROSE")]);
    // The same emotions: the alert stays, and calms by the new values.
    decider.set_rules(&anger("leave = 0.5\nkeep_firing_seconds = 1.0"));
    assert_eq!(told(&mut decider), []);
    hear(&mut decider, 10.0, 14.0, 0.0);
    assert_eq!(told(&mut decider), [("RESOLVED", "CALMED")]);
}

#[test]
fn a_rule_that_is_gone_or_looks_elsewhere_resolves_its_alert() {
    for gone in [
        "",
        "[[rule]]\nname = 'anger'\nemotions = ['calm']\nenter = 0.5",
        "[[rule]]\nname = 'x'\nemotions = ['angry']\nenter = 0.5",
    ] {
        let mut decider = decider(&anger(""));
        hear(&mut decider, 0.0, 10.0, 0.9);
        decider.set_rules(&rules(gone));
        assert_eq!(told(&mut decider), [("FIRING", "ROSE"), ("RESOLVED", "RULE_CHANGED")], "{gone}");
        decider.end(Reason::CallEnded);
        assert_eq!(told(&mut decider), []);
    }
}

#[test]
fn an_alert_that_does_not_match_its_new_tags_is_resolved() {
    let mut decider = decider(&anger(""));
    hear(&mut decider, 0.0, 10.0, 0.9);
    decider.set_rules(&anger("tags = { queue = 'sales' }"));
    assert_eq!(told(&mut decider), [("FIRING", "ROSE"), ("RESOLVED", "RULE_CHANGED")]);
    assert_eq!(decider.states().count(), 0);
}

#[test]
fn withdrawal_ends_alerts_without_their_scores() {
    let mut decider = decider(&anger(""));
    hear(&mut decider, 0.0, 10.0, 0.9);
    decider.poll_alert().expect("it fired");
    decider.purge();
    let resolved = decider.poll_alert().expect("it is resolved");
    assert_eq!((resolved.state, resolved.reason), (State::Resolved, Reason::ConsentWithdrawn));
    assert_eq!((resolved.evidence.level, resolved.evidence.peak, resolved.evidence.scores.len()), (0.0, 0.0, 0));
    assert_eq!((decider.smoothed(), decider.windows(), decider.states().count()), (None, 0, 0));
}

#[test]
fn only_an_open_alert_can_be_answered() {
    let now = Instant::now();
    let by = Attribution { actor: "lead".into(), reason: "on it".into() };
    let snooze = Snooze { duration: Duration::from_secs(60), by: by.clone() };
    let mut decider = decider(&anger(""));
    assert_eq!(decider.acknowledge(1, by.clone()), Err(NotOpen::Unknown));
    hear(&mut decider, 0.0, 10.0, 0.9);
    decider.acknowledge(1, by.clone()).unwrap();
    decider.snooze(1, snooze.clone(), now).unwrap();
    assert_eq!(decider.snooze(2, snooze.clone(), now), Err(NotOpen::Unknown));
    assert_eq!(decider.deadline(), Some(now + Duration::from_secs(60)));
    decider.tick(now + Duration::from_secs(60));
    assert_eq!(decider.deadline(), None);
    decider.end(Reason::CallEnded);
    assert_eq!(decider.acknowledge(1, by), Err(NotOpen::Resolved));
    assert_eq!(decider.snooze(1, snooze, now), Err(NotOpen::Resolved));
    let states: Vec<&str> = told(&mut decider).into_iter().map(|(state, _)| state).collect();
    assert_eq!(states, ["FIRING", "ACKNOWLEDGED", "SNOOZED", "ACKNOWLEDGED", "RESOLVED"]);
}
