//! Who is analysed in a call of two.

use undertone::server::proto::{
    AnalyzeConfig, EndReason, NotScoredReason, Role, analyze_response::Message as Response, emotion_event::Outcome,
};

use crate::harness::{Call, Harness, customer, leg, silence, voice};

fn stereo(left: Role, right: Role) -> AnalyzeConfig {
    let mut config = AnalyzeConfig { legs: vec![leg(left), leg(right)], ..customer("c") };
    config.audio.as_mut().unwrap().channels = Some(2);
    config
}

async fn speak_both(call: &Call, left: &[u8], right: &[u8]) {
    let interleaved: Vec<u8> = left.iter().zip(right).flat_map(|(left, right)| [*left, *right]).collect();
    call.speak(&interleaved).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agents_leg_is_dropped_before_any_feature() {
    let harness = Harness::start().await;
    let mut call = harness.call(stereo(Role::Customer, Role::Agent)).await;
    let Some(Ok(Response::Acknowledgement(acknowledgement))) = call.next().await else { panic!("no acknowledgement") };
    let legs: Vec<_> = acknowledgement.legs.iter().map(|leg| (leg.leg_id.as_str(), leg.analysed)).collect();
    assert_eq!(legs, [("customer", true), ("agent", false)]);
    assert!(acknowledgement.warnings.iter().any(|warning| warning.contains("\"agent\"")), "{acknowledgement:?}");
    // The agent speaks, the customer is silent: nothing may be scored.
    speak_both(&call, &silence(3.0), &voice(3.0)).await;
    let closed = call.end().await;
    assert!(closed.status.is_ok(), "{closed:?}");
    for event in closed.events() {
        let reason = match event.outcome {
            Some(Outcome::NotScored(reason)) => NotScoredReason::try_from(reason).unwrap(),
            _ => panic!("scored: {event:?}"),
        };
        let expected = if event.leg_id == "agent" { NotScoredReason::NotPermitted } else { NotScoredReason::Silence };
        // Until there is a stretch to look at, silence is as good as too short.
        assert!(reason == expected || reason == NotScoredReason::TooShort && event.leg_id == "customer", "{event:?}");
    }
    let summaries = closed.summaries(EndReason::Completed);
    let [customer, agent] = summaries.as_slice() else { panic!("{summaries:?}") };
    assert_eq!((agent.leg_id.as_str(), agent.received_samples, agent.dropped_samples), ("agent", 24_000, 24_000));
    assert!(agent.shares.is_empty() && agent.scored_windows == 0, "{agent:?}");
    assert_eq!((customer.received_samples, customer.dropped_samples), (24_000, 0));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_customer_is_heard_beside_the_agent() {
    let harness = Harness::start().await;
    let call = harness.call(stereo(Role::Agent, Role::Customer)).await;
    speak_both(&call, &voice(3.0), &voice(3.0)).await;
    let closed = call.end().await;
    let summaries = closed.summaries(EndReason::Completed);
    let [agent, customer] = summaries.as_slice() else { panic!("{summaries:?}") };
    assert_eq!((agent.leg_id.as_str(), agent.scored_windows), ("agent", 0));
    assert!(customer.leg_id == "customer" && customer.scored_windows >= 3, "{customer:?}");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attested_policy_hears_the_agent() {
    let harness = Harness::with(|config| {
        config.policy.mode = undertone::policy::Mode::AgentTraining;
        config.policy.attestation = "works council agreement 7".to_owned();
    })
    .await;
    let call = harness.call(stereo(Role::Agent, Role::Customer)).await;
    speak_both(&call, &voice(3.0), &voice(3.0)).await;
    let closed = call.end().await;
    assert!(closed.summaries(EndReason::Completed).iter().all(|leg| leg.scored_windows >= 3), "{closed:?}");
    harness.stop().await;
}
