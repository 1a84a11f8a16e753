//! More windows than are scored: what calls, and those who watch the server, are told of it.

use std::time::Duration;

use undertone::server::proto::{
    EmotionEvent, EndReason, NotScoredReason, StreamStatus, analyze_response::Message as Response,
    emotion_event::Outcome,
};

use crate::{
    gated::Gate,
    harness::{Call, Harness, config, voice},
};

fn windows(harness: &Harness, outcome: &str) -> i64 {
    harness.metric(&format!("undertone_windows_total{{model=\"tiny\",outcome=\"{outcome}\"}}")).parse().unwrap()
}

fn is_overloaded(event: &EmotionEvent) -> bool {
    matches!(event.outcome, Some(Outcome::NotScored(reason)) if reason == NotScoredReason::Overloaded as i32)
}

/// Reads a call's responses until a status tells of windows that were shed, keeping the events before it.
async fn until_told(call: &mut Call, events: &mut Vec<EmotionEvent>) -> StreamStatus {
    loop {
        match call.next().await {
            Some(Ok(Response::Event(event))) => events.push(event),
            Some(Ok(Response::Status(status))) if status.legs[0].shed_windows > 0 => return status,
            Some(Ok(_)) => {}
            closed => panic!("no status, but {closed:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leg_is_told_what_was_shed_and_the_server_counts_it() {
    let mut config = config();
    (config.inference.threads, config.inference.max_batch) = (Some(1), Some(1));
    config.inference.queue_capacity = Some(2);
    config.session.status_interval = Duration::from_millis(50);
    let gate = Gate::default();
    let harness = gate.serve(&config).await;
    let (mut busy, mut other) = (harness.acknowledged("busy").await, harness.acknowledged("other").await);
    // A dozen windows: one is being run, two may wait.
    busy.speak(&voice(7.0)).await;
    eventually!(windows(&harness, "shed") >= 8, true);
    assert_eq!(windows(&harness, "scored"), 0);
    other.speak(&voice(7.0)).await;
    // More than all of the first call's.
    eventually!(windows(&harness, "shed") >= 15, true);
    gate.open();

    let (mut of_busy, mut of_other) = (Vec::new(), Vec::new());
    let status = until_told(&mut busy, &mut of_busy).await;
    let told = status.legs[0].shed_windows;
    until_told(&mut other, &mut of_other).await;
    let (busy, other) = (busy.end().await, other.end().await);
    of_busy.extend(busy.events().into_iter().cloned());
    of_other.extend(other.events().into_iter().cloned());
    let mut shed = 0;
    for (closed, events) in [(&busy, &of_busy), (&other, &of_other)] {
        assert!(closed.status.is_ok(), "{closed:?}");
        let summary = closed.summaries(EndReason::Completed)[0];
        let overloaded = events.iter().filter(|event| is_overloaded(event)).count() as i64;
        assert!(overloaded > 0, "{events:?}");
        assert_eq!(summary.shed_windows, overloaded);
        let counted = summary.not_scored.iter().find(|count| count.reason() == NotScoredReason::Overloaded);
        assert_eq!(counted.map(|count| count.strides), Some(overloaded), "{summary:?}");
        shed += overloaded;
    }
    assert!((1..=of_busy.iter().filter(|event| is_overloaded(event)).count() as i64).contains(&told), "{status:?}");
    assert_eq!(windows(&harness, "shed"), shed);
    // Freshness wins: what was heard last was scored.
    let last = of_busy.iter().rev().find(|event| !is_overloaded(event)).expect("something was scored");
    assert!(of_busy.iter().filter(|event| is_overloaded(event)).all(|event| event.sequence < last.sequence));
    assert_eq!(harness.metric("undertone_not_scored_total{reason=\"OVERLOADED\"}"), shed.to_string());
    harness.stop().await;
}
