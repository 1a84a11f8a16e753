//! Every row of the table of statuses, each with its details: which status a client gets for what.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use undertone::server::proto::{
    AnalyzeConfig, AnalyzeRequest, AudioChunk, Control, ControlAction, EndReason, Leg, Role, analyze_request::Message,
};

use crate::harness::{Harness, audio_chunk, customer, leg};

/// The status of a call that sends this first.
async fn refused(harness: &Harness, first: Message, code: Code) -> Status {
    let call = harness.silent_call().await;
    call.send(first).await;
    let closed = call.closed().await;
    assert!(closed.responses.is_empty(), "{closed:?}");
    closed.refused(code)
}

async fn config_refused(harness: &Harness, config: AnalyzeConfig, code: Code) -> Status {
    refused(harness, Message::Config(config), code).await
}

/// What the precondition's failure is about.
fn precondition(status: &Status) -> (String, String) {
    let details = status.get_details_precondition_failure().expect("PreconditionFailure");
    let violation = details.violations[0].clone();
    assert_eq!(violation.description, status.message());
    (violation.r#type, violation.subject)
}

fn bad_field(status: &Status) -> String {
    let details = status.get_details_bad_request().expect("BadRequest");
    assert!(!details.field_violations[0].description.is_empty());
    details.field_violations[0].field.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_out_of_order_fail_a_precondition() {
    let harness = Harness::start().await;
    let order = ("ORDER".to_owned(), "config".to_owned());
    let status = refused(&harness, audio_chunk(&[0xff; 160]), Code::FailedPrecondition).await;
    assert_eq!(precondition(&status), order);
    let control = Message::Control(Control { action: ControlAction::End.into(), leg_id: None });
    assert_eq!(precondition(&refused(&harness, control, Code::FailedPrecondition).await), order);
    let nothing = harness.silent_call().await.end().await.refused(Code::FailedPrecondition);
    assert_eq!(precondition(&nothing), order);

    let call = harness.acknowledged("c").await;
    call.send(Message::Config(customer("c"))).await;
    let closed = call.closed().await;
    assert_eq!(closed.summaries(EndReason::Invalid).len(), 1);
    assert_eq!(precondition(&closed.refused(Code::FailedPrecondition)), order);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_out_of_range_are_invalid_arguments() {
    let harness = Harness::start().await;
    let stereo_with_one_role = {
        let mut config = customer("c");
        config.audio.as_mut().unwrap().channels = Some(2);
        config
    };
    let encoding = {
        let mut config = customer("c");
        config.audio.as_mut().unwrap().encoding = 9;
        config
    };
    for (config, field) in [(stereo_with_one_role, "config.legs"), (encoding, "config.audio.encoding")] {
        let status = config_refused(&harness, config, Code::InvalidArgument).await;
        assert_eq!(bad_field(&status), field);
    }

    let call = harness.silent_call().await;
    call.requests.send(AnalyzeRequest { message: None }).await.unwrap();
    assert_eq!(bad_field(&call.closed().await.refused(Code::InvalidArgument)), "message");

    let over = 256 * 1024 + 1;
    // The second is more than the transport takes.
    for (bytes, field) in [(over, "audio.data"), (512 * 1024, "message")] {
        let call = harness.acknowledged("c").await;
        call.send(audio_chunk(&vec![0xff; bytes])).await;
        let closed = call.closed().await;
        assert_eq!(closed.summaries(EndReason::Invalid).len(), 1);
        let status = closed.refused(Code::InvalidArgument);
        assert_eq!(bad_field(&status), field);
        assert!(status.message().contains("262144") || status.message().contains("256 KiB"), "{status:?}");
        eventually!(harness.live_legs(), 0);
    }

    let chunk = AudioChunk { sequence: Some(-1), ..AudioChunk::default() };
    let unknown_leg = Control { action: ControlAction::Hold.into(), leg_id: Some("agent".to_owned()) };
    let unknown_action = Control { action: 77, leg_id: None };
    let messages = [
        (Message::Audio(chunk), "audio.sequence"),
        (Message::Control(unknown_leg), "control.leg_id"),
        (Message::Control(unknown_action), "control.action"),
    ];
    for (message, field) in messages {
        let call = harness.acknowledged(&field.replace('.', "-")).await;
        call.send(message).await;
        assert_eq!(bad_field(&call.closed().await.refused(Code::InvalidArgument)), field);
    }
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_model_is_not_found_and_the_names_are_listed() {
    let harness = Harness::start().await;
    let config = AnalyzeConfig { model: Some("huge".to_owned()), ..customer("c") };
    let status = config_refused(&harness, config, Code::NotFound).await;
    let info = status.get_details_resource_info().expect("ResourceInfo");
    assert_eq!((info.resource_type.as_str(), info.resource_name.as_str()), ("undertone.v1.Model", "huge"));
    assert!(status.message().contains("tiny") && info.description.contains("tiny"), "{status:?}");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_policy_forbids_fails_a_precondition_that_says_what_to_set() {
    let harness = Harness::start().await;
    let with_role = |role| AnalyzeConfig { legs: vec![leg(role)], ..customer("c") };
    let cases = [
        (AnalyzeConfig { notice: None, ..customer("c") }, "notice", "require_notice"),
        (with_role(Role::Unspecified), "role", "set it to CUSTOMER"),
        (with_role(Role::Mixed), "role", "admit_mixed"),
        (with_role(Role::Agent), "role", "policy.mode"),
    ];
    for (config, subject, text) in cases {
        let status = config_refused(&harness, config, Code::FailedPrecondition).await;
        assert_eq!(precondition(&status), ("POLICY".to_owned(), subject.to_owned()));
        assert!(status.message().contains(text), "{status:?}");
    }
    assert_eq!(harness.live_legs(), 0);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_leg_of_the_same_call_already_exists() {
    let harness = Harness::start().await;
    let first = harness.acknowledged("c").await;
    let status = config_refused(&harness, customer("c"), Code::AlreadyExists).await;
    let info = status.get_details_resource_info().expect("ResourceInfo");
    assert_eq!((info.resource_type.as_str(), info.resource_name.as_str()), ("undertone.v1.Leg", "c/customer"));
    // Another leg of it, and another call, are welcome.
    let other = Leg { leg_id: Some("second".to_owned()), ..leg(Role::Customer) };
    let mut other = harness.call(AnalyzeConfig { legs: vec![other], ..customer("c") }).await;
    assert!(other.next().await.unwrap().is_ok());
    assert!(first.end().await.status.is_ok());
    let again = harness.acknowledged("c").await;
    drop((other, again));
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_admission_limit_resources_are_exhausted() {
    let harness = Harness::with(|config| config.session.max_legs = 1).await;
    let first = harness.acknowledged("a").await;
    let status = config_refused(&harness, customer("b"), Code::ResourceExhausted).await;
    let retry = status.get_details_retry_info().expect("RetryInfo").retry_delay.expect("a delay");
    assert!(!retry.is_zero());
    assert_eq!(status.get_details_quota_failure().expect("QuotaFailure").violations[0].subject, "legs");
    assert!(first.end().await.status.is_ok());
    eventually!(harness.live_legs(), 0);
    assert!(harness.acknowledged("b").await.end().await.status.is_ok());
    assert_eq!(harness.metric("undertone_calls_refused_total{reason=\"full\"}"), "1");
    harness.stop().await;
}
