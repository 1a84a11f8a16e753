//! No sample of a leg that may not be analysed reaches the features, whatever is said on it.

use super::*;
use crate::features::listen::HEARD_SAMPLES;

/// What comes out of a customer's call with an agent who sounds so, and how many samples the features took in meanwhile.
fn heard_beside(agent: &[f32]) -> (u64, Vec<String>) {
    let (now, before) = (Instant::now(), HEARD_SAMPLES.get());
    let legs = vec![leg(Ok(permit())), leg(Err(NotScored::NotPermitted))];
    let mut call = Call::new(options(Encoding::Linear16, legs), now).unwrap();
    let both: Vec<f32> = speech(6.0).iter().zip(agent).flat_map(|(customer, agent)| [*customer, *agent]).collect();
    let mut told = Vec::new();
    for chunk in bytes(&both).chunks(640) {
        call.push(plain(chunk), now);
        told.extend(drain(&mut call).iter().map(|output| format!("{output:?}")));
    }
    call.close(EndReason::Completed, now);
    told.extend(drain(&mut call).iter().map(|output| format!("{output:?}")));
    (HEARD_SAMPLES.get() - before, told)
}

#[test]
fn what_a_forbidden_leg_says_changes_nothing_and_is_not_heard() {
    let of_customer = speech(6.0);
    let silent = vec![0.0; of_customer.len()];
    let shouting: Vec<f32> = of_customer.iter().rev().map(|sample| (sample * 4.0).clamp(-1.0, 1.0)).collect();
    let (heard, told) = heard_beside(&silent);
    assert!(told.iter().any(|output| output.starts_with("Infer")), "the customer is analysed");
    assert_eq!(heard, of_customer.len() as u64, "the customer's samples alone");
    assert_eq!(heard_beside(&shouting), (heard, told));
}

#[test]
fn nothing_is_heard_after_consent_was_withdrawn() {
    let now = Instant::now();
    let mut call = customer(now);
    let audio = bytes(&speech(2.0));
    call.push(plain(&audio), now);
    call.control(Control::WithdrawConsent, None, now);
    drain(&mut call);
    let before = HEARD_SAMPLES.get();
    call.push(plain(&audio), now);
    call.close(EndReason::Completed, now);
    assert_eq!(HEARD_SAMPLES.get(), before);
    assert!(!drain(&mut call).iter().any(|output| matches!(output, Output::Infer { .. })));
}

#[test]
fn what_was_scored_and_not_told_yet_goes_with_the_consent() {
    let now = Instant::now();
    let mut call = customer(now);
    call.push(plain(&bytes(&speech(6.0))), now);
    let ids: Vec<WindowId> = drain(&mut call)
        .iter()
        .filter_map(|output| if let Output::Infer { id, .. } = output { Some(*id) } else { None })
        .collect();
    assert!(ids.len() >= 4, "{ids:?}");
    // All are back but the first, for which the others' decisions wait.
    for id in &ids[1..] {
        call.apply(*id, Outcome::Logits(vec![0.0, 5.0].into()), now);
    }
    assert!(events(&drain(&mut call)).iter().all(|event| event.outcome.is_err()));
    call.control(Control::WithdrawConsent, None, now);
    call.apply(ids[0], Outcome::Logits(vec![0.0, 5.0].into()), now);
    call.close(EndReason::Completed, now);
    let outputs = drain(&mut call);
    assert!(events(&outputs).iter().all(|event| event.outcome.is_err() && event.smoothed.is_none()), "{outputs:?}");
    let summary =
        outputs.iter().find_map(|output| if let Output::Summary(summary) = output { Some(summary) } else { None });
    let summary = summary.unwrap();
    assert_eq!((summary.scored_windows, &summary.mean, summary.shares.len()), (0, &None, 0));
    assert_eq!((summary.end_reason, summary.speech), (EndReason::ConsentWithdrawn, Duration::ZERO));
}
