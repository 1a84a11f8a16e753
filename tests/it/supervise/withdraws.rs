//! Withdrawn consent and deletion: wherever the call lives, whether or not the journal can be written, and for as long as they are remembered.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use tonic::Code;
use undertone::{
    journal::{Audit, Draft, Entry, Options, Record, RegisteredLeg, Registration, Scope},
    policy,
    server::proto::{
        self as pb, AnalyzeConfig, ControlAction, EndReason, analyze_request::Message as Request,
        emotion_service_client::EmotionServiceClient,
    },
};

mod cut_off;
mod undone;
mod waiting;

use super::Client;
use crate::{
    harness::{Call, Harness, PATIENCE, connect, customer, voice, within},
    journal::{fill_up, open, timeline},
    nats::Nats,
    startup::Program,
};

fn withdraw(call_id: &str, leg_id: Option<&str>) -> pb::WithdrawConsentRequest {
    pb::WithdrawConsentRequest {
        call_id: call_id.to_owned(),
        leg_id: leg_id.map(str::to_owned),
        actor: "officer".to_owned(),
        reason: "he asked".to_owned(),
    }
}

fn delete(call_id: &str) -> pb::DeleteCallRequest {
    pb::DeleteCallRequest { call_id: call_id.to_owned(), actor: "officer".to_owned(), reason: "request 17".to_owned() }
}

fn delete_subject(subject: &str) -> pb::DeleteSubjectRequest {
    pb::DeleteSubjectRequest {
        subject: subject.to_owned(),
        actor: "officer".to_owned(),
        reason: "request 18".to_owned(),
    }
}

/// A leg of this name, on which a customer speaks.
fn of_leg(call_id: &str, leg_id: &str) -> AnalyzeConfig {
    let mut config = customer(call_id);
    config.legs[0].leg_id = Some(leg_id.to_owned());
    config
}

fn of_subject(call_id: &str, subject: &str) -> AnalyzeConfig {
    let mut config = customer(call_id);
    config.legs[0].subject = Some(subject.to_owned());
    config
}

async fn on(nats: &Nats, node: &str) -> Harness {
    with_journal(Options { node: Some(node.to_owned()), ..nats.options() }).await
}

/// A server whose calls are not over because nothing is sent while NATS is waited for.
async fn with_journal(options: Options) -> Harness {
    Harness::with(|config| {
        config.journal = options;
        config.session.idle_timeout = 10 * PATIENCE;
    })
    .await
}

/// A call that has an event.
async fn heard(harness: &Harness, config: AnalyzeConfig) -> Call {
    let mut call = harness.call(config).await;
    call.speak(&voice(6.0)).await;
    call.event().await;
    call
}

impl Harness {
    /// Whether no leg that lives here is analysed.
    fn hears_nobody(&self) -> bool {
        self.server.sessions().live_calls().iter().all(|call| call.legs().iter().all(|leg| leg.withdrawn))
    }

    /// What the journal holds of what was heard in a call.
    async fn still_told(&self, call_id: &str) -> Vec<Entry> {
        self.kept(call_id).await.into_iter().filter(|entry| entry.draft.record.tells_what_was_heard()).collect()
    }

    async fn refuses(&self, config: AnalyzeConfig) {
        let status = self.call(config).await.closed().await.refused(Code::FailedPrecondition);
        assert!(status.message().contains("was withdrawn"), "{status:?}");
    }
}

/// How many calls live, on any server.
async fn live(client: &mut Client) -> usize {
    client.list_calls(pb::ListCallsRequest::default()).await.unwrap().into_inner().live.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_legs_live_on_two_servers_is_stopped_on_both() {
    let Some(nats) = Nats::start() else { return };
    let (a, b) = (on(&nats, "a").await, on(&nats, "b").await);
    let mut on_a = a.supervisor().await;
    for call_id in ["withdrawn", "deleted", "told"] {
        let left = heard(&a, of_leg(call_id, "left")).await;
        let right = heard(&b, of_leg(call_id, "right")).await;
        eventually!(live(&mut on_a).await, 2);
        match call_id {
            "withdrawn" => drop(on_a.withdraw_consent(withdraw(call_id, None)).await.unwrap()),
            "deleted" => drop(on_a.delete_call(delete(call_id)).await.unwrap()),
            _ => {
                left.control(ControlAction::WithdrawConsent).await;
                eventually!(b.hears_nobody(), true);
            }
        }
        assert!(b.hears_nobody(), "{call_id}: b goes on");
        for call in [left, right] {
            call.speak(&voice(2.0)).await;
            call.end().await.summaries(EndReason::ConsentWithdrawn);
        }
        eventually!(a.still_told(call_id).await, []);
        eventually!(live(&mut on_a).await, 0);
    }
    b.stop().await;
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_lives_elsewhere_is_stopped_though_the_journal_says_nothing_of_it() {
    let Some(nats) = Nats::start() else { return };
    let (a, b) = (on(&nats, "a").await, on(&nats, "b").await);
    let mut on_a = a.supervisor().await;
    let call = b.acknowledged("c").await;
    eventually!(live(&mut on_a).await, 1);
    eventually!(b.kept("c").await.len(), 1);
    let audit = Audit::Reloaded { what: "rules".to_owned(), version: "1".to_owned() };
    let audit = Draft::new(SystemTime::now(), Record::Audit(audit));
    b.server.sessions().journal().purge(Scope::Call("c".to_owned()), audit).await.unwrap();
    on_a.withdraw_consent(withdraw("c", Some("customer"))).await.unwrap();
    assert!(b.hears_nobody());
    // Said again: it is known, and nothing is left to be done.
    on_a.withdraw_consent(withdraw("c", None)).await.unwrap();
    call.end().await.summaries(EndReason::ConsentWithdrawn);
    b.stop().await;
    a.stop().await;
}

/// As by a server that could not write when the calls ended there, and can once they are deleted.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_server_wrote_of_a_call_that_was_deleted_is_deleted_there() {
    let Some(nats) = Nats::start() else { return };
    let (a, b) = (on(&nats, "a").await, on(&nats, "b").await);
    let of_b = b.server.sessions().journal();
    let of_subject = Draft { subject: Some("caller-7".to_owned()), ..timeline("subject") };
    let drafts = ["withdrawn", "deleted", "kept"].map(timeline);
    of_b.append(drafts.into_iter().chain([of_subject]).collect()).await.unwrap();
    let (call_id, actor, reason) = ("withdrawn".to_owned(), "officer".to_owned(), "he asked".to_owned());
    let by = || (actor.clone(), reason.clone());
    let withdrawn = Audit::ConsentWithdrawn { call_id, leg_id: None, actor: by().0, reason: by().1, entries: 0 };
    let deleted = Audit::CallDeleted { call_id: "deleted".to_owned(), actor: by().0, reason: by().1, entries: 0 };
    let forgotten = Audit::SubjectDeleted { subject: "caller-7".to_owned(), actor: by().0, reason: by().1, entries: 0 };
    let audits = [withdrawn, deleted, forgotten].map(|audit| Draft::new(SystemTime::now(), Record::Audit(audit)));
    a.server.sessions().journal().append(audits.into()).await.unwrap();
    for call_id in ["withdrawn", "deleted", "subject"] {
        eventually!(a.kept(call_id).await, []);
    }
    assert_eq!(a.kept("kept").await.len(), 1);
    b.stop().await;
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_is_remembered_by_every_server_and_after_a_restart() {
    let Some(nats) = Nats::start() else { return };
    let (a, b) = (on(&nats, "a").await, on(&nats, "b").await);
    // Told on the call's own stream, and asked of another server of one leg.
    let call = heard(&a, customer("told")).await;
    call.control(ControlAction::WithdrawConsent).await;
    call.end().await.summaries(EndReason::ConsentWithdrawn);
    a.refuses(customer("told")).await;
    let call = heard(&a, of_leg("asked", "left")).await;
    let mut on_b = b.supervisor().await;
    eventually!(live(&mut on_b).await, 1);
    on_b.withdraw_consent(withdraw("asked", Some("left"))).await.unwrap();
    call.end().await.summaries(EndReason::ConsentWithdrawn);
    for config in [customer("told"), of_leg("asked", "left")] {
        eventually!(b.call(config.clone()).await.end().await.status.is_err(), true);
        b.refuses(config).await;
    }
    a.stop().await;
    let a = on(&nats, "a").await;
    for harness in [&a, &b] {
        harness.refuses(customer("told")).await;
        harness.refuses(of_leg("asked", "left")).await;
        // Consent was withdrawn for the other leg alone.
        harness.call(of_leg("asked", "right")).await.end().await.summaries(EndReason::Completed);
    }
    b.stop().await;
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_deleted_while_it_lives_does_not_come_again_wherever_it_lived() {
    let Some(nats) = Nats::start() else { return };
    let (a, b) = (on(&nats, "a").await, on(&nats, "b").await);
    let mut on_a = a.supervisor().await;
    for (call_id, home) in [("here", &a), ("there", &b)] {
        let call = heard(home, customer(call_id)).await;
        eventually!(live(&mut on_a).await, 1);
        on_a.delete_call(delete(call_id)).await.unwrap();
        call.end().await.summaries(EndReason::ConsentWithdrawn);
        for server in [&a, &b] {
            // One that has not read of it yet takes it, and it ends at once.
            let again =
                async || server.call(customer(call_id)).await.end().await.status.map_err(|status| status.code());
            eventually!(again().await, Err(Code::FailedPrecondition));
        }
        eventually!(live(&mut on_a).await, 0);
    }
    // One that was over is deleted, and may come again.
    heard(&b, customer("over")).await.end().await.summaries(EndReason::Completed);
    a.ended("over").await;
    eventually!(live(&mut on_a).await, 0);
    on_a.delete_call(delete("over")).await.unwrap();
    a.call(customer("over")).await.end().await.summaries(EndReason::Completed);
    b.stop().await;
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_withdrawn_or_stopped_by_deletion_does_not_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    let start = || Harness::with(|config| config.journal.path = Some(path.clone()));
    let harness = start().await;
    let mut client = harness.supervisor().await;
    let given = pb::Consent { status: pb::ConsentStatus::Given.into(), recorded_at: None };
    for (call_id, how) in [("live", "withdrawn"), ("deleted", "deleted"), ("over", "withdrawn")] {
        let mut call = Some(harness.acknowledged(call_id).await);
        eventually!(harness.kept(call_id).await.is_empty(), false);
        if call_id == "over" {
            call.take().unwrap().end().await.summaries(EndReason::Completed);
        }
        match how {
            "withdrawn" => drop(client.withdraw_consent(withdraw(call_id, None)).await.unwrap()),
            _ => drop(client.delete_call(delete(call_id)).await.unwrap()),
        }
        if let Some(call) = call {
            call.end().await.summaries(EndReason::ConsentWithdrawn);
        }
        harness.refuses(customer(call_id)).await;
        if how == "withdrawn" {
            let again = client.withdraw_consent(withdraw(call_id, None)).await.unwrap().into_inner();
            assert_eq!(again.live_legs, 0, "it is done, and said so");
        }
        // Nor does another word, or a registration, change that.
        harness.refuses(AnalyzeConfig { consent: Some(given), ..customer(call_id) }).await;
        let register = pb::RegisterCallRequest { call_id: call_id.to_owned(), ..pb::RegisterCallRequest::default() };
        client.register_call(register).await.unwrap();
        harness.refuses(customer(call_id)).await;
    }
    drop(client);
    harness.stop().await;
    let harness = start().await;
    for call_id in ["live", "deleted", "over"] {
        harness.refuses(customer(call_id)).await;
    }
    harness.call(customer("another")).await.end().await.summaries(EndReason::Completed);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_who_speaks_now_is_deleted_and_nothing_tells_of_him_afterwards() {
    let harness = Harness::start().await;
    let mut client = harness.supervisor().await;
    let call = heard(&harness, of_subject("c", "caller-7")).await;
    let answer = client.delete_subject(delete_subject("caller-7")).await.unwrap().into_inner();
    assert_eq!(answer.live_legs, 1);
    let told = client.list_calls(pb::ListCallsRequest::default()).await.unwrap().into_inner().live;
    assert_eq!((told[0].legs[0].consent_withdrawn, told[0].legs[0].subject.as_ref()), (true, None));
    call.speak(&voice(2.0)).await;
    call.end().await.summaries(EndReason::ConsentWithdrawn);
    harness.ended("c").await;
    let kept = harness.kept("c").await;
    assert!(kept.iter().all(|entry| entry.draft.subject.is_none()), "{kept:?}");
    assert_eq!(harness.still_told("c").await, []);
    let again = client.delete_subject(delete_subject("caller-7")).await.unwrap_err();
    assert_eq!(again.code(), Code::NotFound);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_who_speaks_on_another_server_is_deleted_there() {
    let Some(nats) = Nats::start() else { return };
    let (a, b) = (on(&nats, "a").await, on(&nats, "b").await);
    let mut on_a = a.supervisor().await;
    let call = heard(&b, of_subject("c", "caller-7")).await;
    eventually!(live(&mut on_a).await, 1);
    on_a.delete_subject(delete_subject("caller-7")).await.unwrap();
    assert!(b.hears_nobody());
    call.end().await.summaries(EndReason::ConsentWithdrawn);
    b.ended("c").await;
    assert!(b.kept("c").await.iter().all(|entry| entry.draft.subject.is_none()));
    b.stop().await;
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_went_meanwhile_does_not_keep_its_subject_from_being_deleted() {
    let harness = Harness::with(|config| config.journal.engine = undertone::journal::EngineKind::None).await;
    let sessions = harness.server.sessions();
    let leg = RegisteredLeg { leg_id: None, role: policy::Role::Customer, subject: Some("caller-7".to_owned()) };
    let registration = Registration {
        call_id: "a".to_owned(),
        tags: Default::default(),
        legs: vec![leg],
        notice: None,
        consent: None,
        consent_at: None,
        expires_at: SystemTime::now() + Duration::from_millis(50),
    };
    let call = heard(&harness, of_subject("b", "caller-7")).await;
    sessions.register(registration).await.unwrap();
    // It is over, and not looked after yet.
    eventually!(sessions.registration("a").is_some(), false);
    let deleted = harness.supervisor().await.delete_subject(delete_subject("caller-7")).await.unwrap();
    assert_eq!(deleted.into_inner().live_legs, 1);
    call.end().await.summaries(EndReason::ConsentWithdrawn);
    harness.stop().await;
}
