//! Who is analysed in a call of two.

use tonic::Code;
use tonic_types::StatusExt as _;
use undertone::{
    policy,
    server::proto::{
        AnalyzeConfig, EndReason, Leg, NotScoredReason, RegisterCallRequest, Role,
        analyze_response::Message as Response, emotion_event::Outcome,
    },
    session::LegRequest,
};

use crate::harness::{Call, Harness, customer, leg, notice, request, silence, voice};

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

async fn attested() -> Harness {
    Harness::with(|config| {
        config.policy.mode = policy::Mode::AgentTraining;
        config.policy.attestation = "works council agreement 7".to_owned();
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attested_policy_hears_the_agent() {
    let harness = attested().await;
    let call = harness.call(stereo(Role::Agent, Role::Customer)).await;
    speak_both(&call, &voice(3.0), &voice(3.0)).await;
    let closed = call.end().await;
    assert!(closed.summaries(EndReason::Completed).iter().all(|leg| leg.scored_windows >= 3), "{closed:?}");
    harness.stop().await;
}

/// Who may be heard at work may not be followed over his calls.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_a_customer_has_a_subject_though_the_policy_hears_the_agent() {
    let harness = attested().await;
    let of_subject = |role| Leg { subject: Some("s-9".to_owned()), ..leg(role) };
    for role in [Role::Agent, Role::Supervisor, Role::Bot, Role::Mixed] {
        let config = AnalyzeConfig { legs: vec![of_subject(role)], ..customer("c") };
        let status = harness.call(config).await.closed().await.refused(Code::InvalidArgument);
        let fields = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(fields[0].field, "config.legs[0].subject");
        assert!(status.message().contains("leave the subject out"), "{status:?}");
        let call_id = "c".to_owned();
        let register = RegisterCallRequest { call_id, legs: vec![of_subject(role)], ..RegisterCallRequest::default() };
        let status = harness.supervisor().await.register_call(register).await.unwrap_err();
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "legs[0].subject");
    }
    // Registered of a leg of which nobody said whose it is: it is the customer's, or nobody's.
    let legs = vec![of_subject(Role::Unspecified); 2];
    for (call_id, role, expected) in [("agents", Role::Agent, None), ("customers", Role::Customer, Some("s-9"))] {
        let register = RegisterCallRequest {
            call_id: call_id.to_owned(),
            legs: legs.clone(),
            notice: Some(notice()),
            ..RegisterCallRequest::default()
        };
        harness.supervisor().await.register_call(register).await.unwrap();
        let call = harness.call(AnalyzeConfig { legs: vec![leg(role)], ..customer(call_id) }).await;
        call.speak(&voice(6.0)).await;
        call.end().await.summaries(EndReason::Completed);
        harness.ended(call_id).await;
        let of_calls = harness.kept(call_id).await;
        let of_leg = of_calls.iter().filter(|entry| entry.draft.leg_id.is_some());
        assert!(of_leg.clone().count() >= 3, "{of_calls:?}");
        assert!(of_leg.clone().all(|entry| entry.draft.subject.as_deref() == expected), "{of_calls:?}");
    }
    harness.stop().await;
}

/// The same for a way in that forgets to look.
#[tokio::test(flavor = "multi_thread")]
async fn the_journal_is_told_of_no_subject_but_a_customers() {
    let harness = attested().await;
    let leg = |leg_id: &str, role| LegRequest { leg_id: leg_id.to_owned(), role, subject: Some("s-9".to_owned()) };
    let request = request(vec![leg("agent", policy::Role::Agent), leg("customer", policy::Role::Customer)]);
    drop(harness.server.sessions().open(&request).await.unwrap());
    // Each began and ended.
    eventually!(harness.kept("c").await.len(), 4);
    for entry in harness.kept("c").await {
        let expected = (entry.draft.leg_id.as_deref() == Some("customer")).then_some("s-9");
        assert_eq!(entry.draft.subject.as_deref(), expected, "{entry:?}");
    }
    harness.stop().await;
}
