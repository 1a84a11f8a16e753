//! Alerts of one call: told with events, answered by people, resolved at the end.

use super::*;
use crate::{
    call::Alert,
    decision::{
        self, NotOpen,
        alert::{Attribution, Reason, Snooze, State},
    },
    policy::Mode,
};

/// Logits by which the second label, "angry", is all but sure.
const ANGRY: [f32; 2] = [0.0, 5.0];
const CALM: [f32; 2] = [5.0, 0.0];

const ANGER: &str = "[[rule]]\nname = 'anger'\nemotions = ['angry']\nenter = 0.6\nhalf_life_seconds = 0.5\nmin_windows = 2\n\
                     grace_seconds = 0.0\nkeep_firing_seconds = 1.0\ncool_down_seconds = 1.0\n";

/// The same as it adds up, counted from what is usual: as the shipped rule does, but sooner.
const ADDS_UP: &str =
    "usual_half_life_seconds = 20.0\nmin_excess_seconds = 0.5\nexcess_half_life_seconds = 10.0\nleave = 0.61\n";

fn ruled(now: Instant) -> Call {
    ruled_by(ANGER, now)
}

fn ruled_by(rules: &str, now: Instant) -> Call {
    let legs = vec![leg(Ok(permit()))];
    let rules = Arc::new(Rules::parse(rules).unwrap());
    Call::new(Options { rules, ..options(Encoding::Linear16, legs) }, now).unwrap()
}

fn alerts(outputs: &[Output]) -> Vec<&Alert> {
    outputs.iter().filter_map(|output| if let Output::Alert(alert) = output { Some(alert) } else { None }).collect()
}

fn told(outputs: &[Output]) -> Vec<(State, Reason)> {
    alerts(outputs).into_iter().map(|alert| (alert.change.state, alert.change.reason)).collect()
}

/// Speaks for so long, and gives all that comes out when every window hears this.
fn speak(call: &mut Call, seconds: f32, logits: &[f32], now: Instant) -> Vec<Output> {
    call.push(plain(&bytes(&speech(seconds))), now);
    answered(call, logits, now)
}

fn by() -> Attribution {
    Attribution { actor: "lead".into(), reason: "on it".into() }
}

#[test]
fn an_alert_follows_the_event_that_made_it_and_is_resolved_before_the_summary() {
    let now = Instant::now();
    let mut call = ruled(now);
    let outputs = speak(&mut call, 5.0, &ANGRY, now);
    let place = outputs.iter().position(|output| matches!(output, Output::Alert(_))).expect("an alert");
    let (Output::Event(event), Output::Alert(alert)) = (&outputs[place - 1], &outputs[place]) else {
        panic!("{:?} before an alert", outputs[place - 1])
    };
    assert_eq!(alert.alert_id, "session-0-1");
    assert_eq!(decision::position::to_samples(alert.change.at, RATE), event.end_samples);
    assert_eq!(event.smoothed.as_ref().unwrap().label, Some(1));
    call.close(EndReason::Completed, now);
    let outputs = answered(&mut call, &ANGRY, now);
    assert_eq!(told(&outputs), [(State::Resolved, Reason::CallEnded)]);
    assert!(matches!(outputs[outputs.len() - 3..], [Output::Alert(_), Output::Summary(_), Output::Closed(_)]));
}

#[test]
fn an_alert_calms_and_another_may_follow() {
    let now = Instant::now();
    let mut call = ruled(now);
    let mut outputs = speak(&mut call, 5.0, &ANGRY, now);
    outputs.extend(speak(&mut call, 6.0, &CALM, now));
    outputs.extend(speak(&mut call, 5.0, &ANGRY, now));
    let ids: Vec<_> = alerts(&outputs).into_iter().map(|alert| (&alert.alert_id[..], alert.change.reason)).collect();
    assert_eq!(ids, [("session-0-1", Reason::Rose), ("session-0-1", Reason::Calmed), ("session-0-2", Reason::Rose)]);
}

#[test]
fn what_adds_up_above_the_usual_rises_and_calms() {
    let now = Instant::now();
    let mut call = ruled_by(&format!("{ANGER}{ADDS_UP}"), now);
    let mut outputs = speak(&mut call, 5.0, &ANGRY, now);
    outputs.extend(speak(&mut call, 6.0, &CALM, now));
    assert_eq!(told(&outputs), [(State::Firing, Reason::Rose), (State::Resolved, Reason::Calmed)]);
    let evidence = &alerts(&outputs)[0].change.evidence;
    assert!(evidence.usual > 0.0 && evidence.level > 0.9, "{evidence:?}");
}

#[test]
fn a_hold_begins_and_ends_nothing() {
    let now = Instant::now();
    let mut call = ruled(now);
    speak(&mut call, 5.0, &ANGRY, now);
    // Calm for less than the second that it takes, then a minute on hold.
    assert_eq!(told(&speak(&mut call, 1.6, &CALM, now)), []);
    call.control(Control::Hold, None, now);
    assert_eq!(told(&speak(&mut call, 60.0, &CALM, now)), []);
    call.control(Control::Resume, None, now);
    let outputs = speak(&mut call, 4.0, &CALM, now);
    let [alert] = alerts(&outputs)[..] else { panic!("{outputs:?}") };
    assert_eq!(alert.change.reason, Reason::Calmed);
    assert!(alert.change.at > Duration::from_secs(66), "{alert:?}");
}

#[test]
fn withdrawn_consent_resolves_without_scores() {
    let now = Instant::now();
    let mut call = ruled(now);
    speak(&mut call, 5.0, &ANGRY, now);
    call.control(Control::WithdrawConsent, None, now);
    let outputs = drain(&mut call);
    let [alert] = alerts(&outputs)[..] else { panic!("{outputs:?}") };
    assert_eq!((alert.change.state, alert.change.reason), (State::Resolved, Reason::ConsentWithdrawn));
    assert!(alert.change.evidence.scores.is_empty());
    assert_eq!(events(&outputs).last().unwrap().smoothed, None);
    call.close(EndReason::Completed, now);
    assert_eq!(told(&drain(&mut call)), []);
}

#[test]
fn consent_withdrawn_while_the_call_closes_lets_no_late_window_be_judged() {
    let now = Instant::now();
    let mut call = ruled(now);
    speak(&mut call, 5.0, &ANGRY, now);
    call.push(plain(&bytes(&speech(2.0))), now);
    call.close(EndReason::Completed, now);
    let late = windows(&drain(&mut call));
    assert!(!late.is_empty());
    // Nothing else is taken any more.
    call.control(Control::Hold, None, now);
    assert!(drain(&mut call).is_empty());
    call.control(Control::WithdrawConsent, None, now);
    for id in late {
        call.apply(id, Outcome::Logits(ANGRY.to_vec().into()), now);
    }
    let outputs = drain(&mut call);
    assert_eq!(told(&outputs), [(State::Resolved, Reason::ConsentWithdrawn)]);
    let evidence = &alerts(&outputs)[0].change.evidence;
    assert_eq!((evidence.scores.len(), evidence.level, evidence.peak), (0, 0.0, 0.0));
    let [event] = events(&outputs)[..] else { panic!("{outputs:?}") };
    assert_eq!((&event.outcome, &event.smoothed), (&Err(NotScored::ConsentWithdrawn), &None));
    let summary = summary(&outputs);
    assert_eq!((summary.end_reason, summary.scored_windows), (EndReason::ConsentWithdrawn, 0));
    assert!(summary.mean.is_none() && summary.shares.is_empty(), "{summary:?}");
    assert!(matches!(outputs.last(), Some(Output::Closed(EndReason::Completed))));
}

#[test]
fn consent_withdrawn_for_one_leg_while_the_call_closes_leaves_the_other_to_its_end() {
    let now = Instant::now();
    let legs = vec![leg(Ok(permit())), leg(Ok(permit()))];
    let mut call = Call::new(options(Encoding::Linear16, legs), now).unwrap();
    let both: Vec<f32> = speech(2.0).into_iter().flat_map(|sample| [sample, sample]).collect();
    call.push(plain(&bytes(&both)), now);
    call.close(EndReason::Completed, now);
    let late = windows(&drain(&mut call));
    call.control(Control::WithdrawConsent, Some(0), now);
    assert!(!drain(&mut call).iter().any(|output| matches!(output, Output::Closed(_))));
    for id in late {
        call.apply(id, Outcome::Logits(ANGRY.to_vec().into()), now);
    }
    let outputs = drain(&mut call);
    let scored = events(&outputs).into_iter().filter(|event| event.outcome.is_ok());
    assert!(scored.map(|event| event.leg).all(|leg| leg == 1));
    let summaries = outputs.iter().filter_map(|output| match output {
        Output::Summary(summary) => Some((summary.end_reason, summary.scored_windows > 0)),
        _ => None,
    });
    let expected = [(EndReason::ConsentWithdrawn, false), (EndReason::Completed, true)];
    assert_eq!(summaries.collect::<Vec<_>>(), expected);
}

#[test]
fn people_answer_an_alert_by_its_id() {
    let now = Instant::now();
    let second = Duration::from_secs(1);
    let mut call = ruled(now);
    let snooze = Snooze { duration: 60 * second, by: by() };
    assert_eq!(call.acknowledge("session-0-1", &by()), Err(NotOpen::Unknown));
    speak(&mut call, 5.0, &ANGRY, now);
    call.acknowledge("session-0-1", &by()).unwrap();
    call.snooze("session-0-1", &snooze, now).unwrap();
    for unknown in ["session-0-2", "session-1-1", "other-0-1", "session-0-x", ""] {
        assert_eq!(call.acknowledge(unknown, &by()), Err(NotOpen::Unknown), "{unknown}");
    }
    let outputs = drain(&mut call);
    assert_eq!(told(&outputs), [(State::Acknowledged, Reason::Acknowledged), (State::Snoozed, Reason::Snoozed)]);
    // A snooze runs on wall time: it is due although no audio comes.
    call.push(plain(&[]), now + 59 * second);
    assert_eq!(call.deadline(), Some(now + 10 * second), "a status is due first");
    call.tick(now + 59 * second);
    assert_eq!(told(&drain(&mut call)), []);
    assert_eq!(call.deadline(), Some(now + 60 * second));
    call.tick(now + 60 * second);
    assert_eq!(told(&drain(&mut call)), [(State::Acknowledged, Reason::SnoozeEnded)]);
    call.close(EndReason::Completed, now);
    answered(&mut call, &ANGRY, now);
    assert_eq!(call.snooze("session-0-1", &snooze, now), Err(NotOpen::Resolved));
}

#[test]
fn a_call_goes_on_under_newer_rules() {
    let now = Instant::now();
    let mut call = ruled(now);
    speak(&mut call, 5.0, &ANGRY, now);
    call.set_rules(&Arc::new(Rules::none()));
    assert_eq!(told(&drain(&mut call)), [(State::Resolved, Reason::RuleChanged)]);
    assert_eq!(told(&speak(&mut call, 5.0, &ANGRY, now)), []);
}

#[test]
fn a_leg_that_is_not_analysed_has_no_alerts() {
    let now = Instant::now();
    let legs = vec![leg(Ok(permit())), leg(Err(NotScored::NotPermitted))];
    let rules = Arc::new(Rules::parse(&format!("{ANGER}roles = ['CUSTOMER', 'AGENT']")).unwrap());
    let mut call = Call::new(Options { rules, ..options(Encoding::Linear16, legs) }, now).unwrap();
    let interleaved: Vec<f32> = speech(5.0).into_iter().flat_map(|sample| [sample, sample]).collect();
    call.push(plain(&bytes(&interleaved)), now);
    let outputs = answered(&mut call, &ANGRY, now);
    assert!(alerts(&outputs).iter().all(|alert| alert.leg == 0) && !alerts(&outputs).is_empty());
}

/// No way in can have somebody heard as another than he may be heard as.
#[test]
fn a_leg_has_the_role_that_its_permit_is_for() {
    let now = Instant::now();
    let policy = Policy { mode: Mode::AgentTraining, attestation: "agreement 7".to_owned(), ..Policy::default() };
    for (permitted, expected) in [(Role::Agent, 1), (Role::Customer, 0)] {
        let legs = vec![leg(Ok(permit_for(permitted, &policy)))];
        let rules = Arc::new(Rules::parse(&format!("{ANGER}roles = ['AGENT']")).unwrap());
        let mut call = Call::new(Options { rules, ..options(Encoding::Linear16, legs) }, now).unwrap();
        assert_eq!(alerts(&speak(&mut call, 5.0, &ANGRY, now)).len(), expected, "{permitted}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn however_audio_is_split_the_alerts_are_the_same(sizes in prop::collection::vec(1usize..9000, 1..40)) {
        let now = Instant::now();
        let mut audio = speech(4.0);
        audio.extend(vec![0.0; 30_000]);
        audio.extend(speech(5.0));
        let data = bytes(&audio);
        // Angry at first, calm from the tenth window on.
        let answer = |call: &mut Call| {
            let mut outputs = Vec::new();
            while let Some(output) = call.poll() {
                if let Output::Infer { id, .. } = &output {
                    let logits = if id.number < 9 { ANGRY } else { CALM };
                    call.apply(*id, Outcome::Logits(logits.to_vec().into()), now);
                }
                outputs.push(output);
            }
            outputs
        };
        for rules in [ANGER.to_owned(), format!("{ANGER}{ADDS_UP}")] {
            let mut whole = ruled_by(&rules, now);
            whole.push(plain(&data), now);
            whole.close(EndReason::Completed, now);
            let outputs = answer(&mut whole);
            let expected = alerts(&outputs);
            prop_assert!(expected.len() >= 2, "{}: {:?}", rules, expected);

            let mut split = ruled_by(&rules, now);
            let (mut rest, mut outputs) = (&data[..], Vec::new());
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (chunk, behind) = rest.split_at((*size).min(rest.len()));
                split.push(plain(chunk), now);
                outputs.extend(answer(&mut split));
                rest = behind;
            }
            split.close(EndReason::Completed, now);
            outputs.extend(answer(&mut split));
            prop_assert_eq!(alerts(&outputs), expected);
        }
    }
}
