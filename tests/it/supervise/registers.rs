//! What is said of a call before its audio comes.

use prost_types::Duration;
use tonic::Code;
use undertone::server::proto::{
    self as pb, AnalyzeConfig, Consent, ConsentStatus, EndReason, Leg, Role, analyze_response::Message as Response,
};

use super::tags;
use crate::harness::{Harness, customer, leg, notice, telephone};

fn registration(call_id: &str) -> pb::RegisterCallRequest {
    let subject = Some("caller-7".to_owned());
    pb::RegisterCallRequest {
        call_id: call_id.to_owned(),
        tags: tags("sales"),
        legs: vec![Leg { subject, ..leg(Role::Customer) }],
        notice: Some(notice()),
        ..Default::default()
    }
}

/// What a platform sends that knows the call's id alone.
fn bare(call_id: &str) -> AnalyzeConfig {
    AnalyzeConfig { call_id: call_id.to_owned(), audio: Some(telephone()), ..AnalyzeConfig::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_leaves_out_is_taken_from_what_was_registered() {
    let harness = Harness::start().await;
    let mut client = harness.supervisor().await;
    let refused = harness.call(bare("c")).await.closed().await;
    refused.refused(Code::InvalidArgument);
    let expires = client.register_call(registration("c")).await.unwrap().into_inner().expires_at.unwrap();
    let lasts = expires.seconds - prost_types::Timestamp::from(std::time::SystemTime::now()).seconds;
    assert!((3590..=3600).contains(&lasts), "{lasts}");
    let get = || pb::GetCallRequest { call_id: "c".to_owned() };
    let told = client.get_call(get()).await.unwrap().into_inner();
    let known = told.registration.unwrap();
    assert_eq!((known.legs[0].subject(), known.notice.unwrap().method.as_str()), ("caller-7", "announcement"));
    assert!(told.legs.is_empty() && told.live.is_empty());

    let mut call = harness.call(bare("c")).await;
    let Some(Ok(Response::Acknowledgement(told))) = call.next().await else { panic!("not acknowledged") };
    assert_eq!(
        (told.legs[0].leg_id.as_str(), told.legs[0].role(), told.legs[0].analysed),
        ("customer", Role::Customer, true)
    );
    let live = client.list_calls(pb::ListCallsRequest::default()).await.unwrap().into_inner().live;
    assert_eq!((live[0].tags["queue"].as_str(), live[0].legs[0].subject()), ("sales", "caller-7"));
    call.end().await.summaries(EndReason::Completed);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_says_itself_stands_but_no_consent_outweighs_a_refusal() {
    let harness = Harness::start().await;
    let mut client = harness.supervisor().await;
    client.register_call(registration("c")).await.unwrap();
    let mut config = customer("c");
    config.tags = [("queue".to_owned(), "claims".to_owned()), ("tenant".to_owned(), "t".to_owned())].into();
    config.legs[0].leg_id = Some("left".to_owned());
    let call = harness.call(config).await;
    let live = async |client: &mut super::Client| {
        client.list_calls(pb::ListCallsRequest::default()).await.unwrap().into_inner().live
    };
    eventually!(live(&mut client).await.len(), 1);
    let told = live(&mut client).await;
    assert_eq!((told[0].tags["queue"].as_str(), told[0].tags["tenant"].as_str()), ("claims", "t"));
    assert_eq!((told[0].legs[0].leg_id.as_str(), told[0].legs[0].subject()), ("left", "caller-7"));
    call.end().await;

    let consent = |status: ConsentStatus| Some(Consent { status: status.into(), recorded_at: None });
    let refused = pb::RegisterCallRequest { consent: consent(ConsentStatus::Refused), ..registration("d") };
    client.register_call(refused).await.unwrap();
    let given = AnalyzeConfig { consent: consent(ConsentStatus::Given), ..customer("d") };
    harness.call(given).await.closed().await.refused(Code::FailedPrecondition);
    // Registered anew.
    client.register_call(registration("d")).await.unwrap();
    harness.call(customer("d")).await.end().await.summaries(EndReason::Completed);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_goes_with_consent_with_the_call_and_with_the_subject() {
    let harness = Harness::start().await;
    let mut client = harness.supervisor().await;
    let (actor, reason) = ("officer".to_owned(), "he asked".to_owned());
    client.register_call(registration("c")).await.unwrap();
    let call_id = "c".to_owned();
    let withdraw = pb::WithdrawConsentRequest { call_id, leg_id: None, actor: actor.clone(), reason: reason.clone() };
    client.withdraw_consent(withdraw).await.unwrap();
    harness.call(customer("c")).await.closed().await.refused(Code::FailedPrecondition);
    let get = |call_id: &str| pb::GetCallRequest { call_id: call_id.to_owned() };
    let known = client.get_call(get("c")).await.unwrap().into_inner().registration.unwrap();
    assert!(known.tags.is_empty() && known.legs.is_empty(), "{known:?}");
    assert_eq!(known.consent.unwrap().status(), ConsentStatus::Refused);
    let call_id = "c".to_owned();
    let delete = pb::DeleteCallRequest { call_id, actor: actor.clone(), reason: reason.clone() };
    client.delete_call(delete).await.unwrap();
    assert_eq!(client.get_call(get("c")).await.unwrap_err().code(), Code::NotFound);

    client.register_call(registration("d")).await.unwrap();
    let delete = pb::DeleteSubjectRequest { subject: "caller-7".to_owned(), actor, reason };
    client.delete_subject(delete).await.unwrap();
    assert_eq!(client.get_call(get("d")).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(harness.server.sessions().journal().call("d").await.unwrap(), []);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_outlives_the_server_and_no_more_are_taken_than_there_is_room_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    let start = || {
        Harness::with(|config| {
            config.journal.path = Some(path.clone());
            config.session.max_registrations = 1;
        })
    };
    let harness = start().await;
    let mut client = harness.supervisor().await;
    client.register_call(registration("c")).await.unwrap();
    client.register_call(registration("c")).await.unwrap();
    let status = client.register_call(registration("d")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    for (seconds, nanos) in [(59, 0), (24 * 3600 + 1, 0), (90, -1)] {
        let time_to_live = Some(Duration { seconds, nanos });
        let request = pb::RegisterCallRequest { time_to_live, ..registration("c") };
        assert_eq!(client.register_call(request).await.unwrap_err().code(), Code::InvalidArgument);
    }
    drop(client);
    harness.stop().await;
    let harness = start().await;
    eventually!(harness.server.sessions().registration("c").is_some(), true);
    harness.call(bare("c")).await.end().await.summaries(EndReason::Completed);
    harness.stop().await;
}
