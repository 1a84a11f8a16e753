//! What is asked while the journal cannot be used: it is remembered, told honestly, and done once it can be.

use tonic::Status;

use super::*;

fn is_not_deleted_yet(status: &Status, told: &str) {
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.message().contains("not deleted yet") && status.message().contains(told), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_whose_entries_wait_for_room_are_withdrawn_and_deleted_all_the_same() {
    let harness = Harness::with(|config| config.journal.max_bytes = Some(64 * 4096)).await;
    let journal = harness.server.sessions().journal().clone();
    fill_up(&journal).await;
    for call_id in ["withdrawn", "deleted", "spoken", "kept"] {
        let subject = if call_id == "spoken" { "caller-7" } else { "caller-8" };
        let closed = harness.spoken(of_subject(call_id, subject), 6.0).await;
        closed.summaries(EndReason::Completed);
        assert_eq!(harness.kept(call_id).await, [], "{call_id} is written, so that nothing waits");
    }
    let (mut first, mut second, mut third) =
        (harness.supervisor().await, harness.supervisor().await, harness.supervisor().await);
    let (withdrawn, deleted, spoken) = tokio::join!(
        first.withdraw_consent(withdraw("withdrawn", None)),
        second.delete_call(delete("deleted")),
        third.delete_subject(delete_subject("caller-7"))
    );
    let answers = [withdrawn.map(drop), deleted.map(drop), spoken.map(drop)];
    answers.into_iter().for_each(|answer| is_not_deleted_yet(&answer.unwrap_err(), "has stopped"));
    harness.refuses(customer("withdrawn")).await;
    // Asked again it is still known, though what waited of it is dropped.
    let (again, gone) = tokio::join!(
        first.withdraw_consent(withdraw("withdrawn", None)),
        third.delete_subject(delete_subject("caller-7"))
    );
    [again.map(drop), gone.map(drop)]
        .into_iter()
        .for_each(|answer| is_not_deleted_yet(&answer.unwrap_err(), "has stopped"));
    assert_eq!(first.withdraw_consent(withdraw("nobody", None)).await.unwrap_err().code(), Code::NotFound);
    // Room is made by a deletion, though three stand before it.
    first.delete_call(delete("fill")).await.unwrap();
    eventually!(harness.kept("kept").await.is_empty(), false);
    for call_id in ["withdrawn", "deleted", "spoken"] {
        assert_eq!(harness.kept(call_id).await, [], "{call_id}");
    }
    let subject = pb::GetSubjectRequest { subject: "caller-7".to_owned() };
    assert_eq!(first.get_subject(subject).await.unwrap_err().code(), Code::NotFound);
    let told = harness.audits().await;
    let is = |audit: &&Audit| match audit {
        Audit::ConsentWithdrawn { call_id, .. } => call_id == "withdrawn",
        Audit::CallDeleted { call_id, .. } => call_id == "deleted",
        Audit::SubjectDeleted { subject, .. } => subject == "caller-7",
        _ => false,
    };
    assert_eq!(told.iter().filter(is).count(), 3, "{told:?}");
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_journal_is_full_starts_and_takes_deletions() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    let start = || {
        Harness::with(|config| {
            config.journal.path = Some(path.clone());
            config.journal.max_bytes = Some(64 * 4096);
        })
    };
    let harness = start().await;
    fill_up(harness.server.sessions().journal()).await;
    harness.stop().await;
    let harness = start().await;
    eventually!(harness.get("/readyz").0, 503);
    harness.spoken(customer("c"), 2.0).await.summaries(EndReason::Completed);
    let starts = async || harness.audits().await.iter().filter(|audit| matches!(audit, Audit::Started { .. })).count();
    assert_eq!(starts().await, 1);
    harness.supervisor().await.delete_call(delete("fill")).await.unwrap();
    eventually!(starts().await, 2);
    harness.ended("c").await;
    eventually!(harness.get("/readyz").0, 200);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_by_somebody_who_does_not_wait_is_done_all_the_same() {
    let Some(mut nats) = Nats::start() else { return };
    let harness = on(&nats, "a").await;
    heard(&harness, customer("c")).await.end().await.summaries(EndReason::Completed);
    harness.ended("c").await;
    nats.kill();
    eventually!(harness.get("/readyz").0, 503);
    let mut asked = tonic::Request::new(withdraw("c", None));
    asked.set_timeout(Duration::from_millis(200));
    let status = harness.supervisor().await.withdraw_consent(asked).await.unwrap_err();
    assert!(matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded), "{status:?}");
    nats.start_again();
    let refused = async || harness.call(customer("c")).await.end().await.status.map_err(|status| status.code());
    eventually!(refused().await, Err(Code::FailedPrecondition));
    let journal = harness.server.sessions().journal();
    eventually!(
        journal.call("c").await.is_ok_and(|kept| kept.iter().all(|entry| !entry.draft.record.tells_what_was_heard())),
        true
    );
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn that_another_server_has_stopped_is_not_said_while_it_cannot_be_known() {
    let Some(mut nats) = Nats::start() else { return };
    let (a, b) = (on(&nats, "a").await, on(&nats, "b").await);
    let mut on_b = b.supervisor().await;
    let soon = heard(&a, customer("soon")).await;
    let later = heard(&a, customer("later")).await;
    eventually!(live(&mut on_b).await, 2);
    nats.kill();
    // At once, and when a is not heard of any more.
    for call_id in ["soon", "later"] {
        let status = within("an answer", on_b.withdraw_consent(withdraw(call_id, None))).await.unwrap_err();
        is_not_deleted_yet(&status, "may not have heard");
        b.refuses(customer(call_id)).await;
        eventually!(live(&mut on_b).await, 0);
    }
    assert!(!a.hears_nobody());
    nats.start_again();
    // Nobody asks again.
    eventually!(a.hears_nobody(), true);
    for call in [soon, later] {
        call.end().await.summaries(EndReason::ConsentWithdrawn);
    }
    for call_id in ["soon", "later"] {
        eventually!(
            a.server
                .sessions()
                .journal()
                .call(call_id)
                .await
                .is_ok_and(|kept| { kept.iter().all(|entry| !entry.draft.record.tells_what_was_heard()) }),
            true
        );
    }
    drop(on_b);
    b.stop().await;
    a.stop().await;
}
