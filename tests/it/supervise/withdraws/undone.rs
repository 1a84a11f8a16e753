//! What cannot be deleted at once is told so, and deleted later.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_deleted_now_is_told_so_and_deleted_once_it_can_be() {
    let Some(mut nats) = Nats::start() else { return };
    let harness = on(&nats, "a").await;
    let mut client = harness.supervisor().await;
    let call = heard(&harness, customer("c")).await;
    eventually!(harness.kept("c").await.is_empty(), false);
    nats.kill();
    // Asked again it is as far as before.
    for _ in 0..2 {
        let asked = client.withdraw_consent(withdraw("c", None));
        let status = within("an answer", asked).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(status.message().contains("not deleted yet"), "{status:?}");
        assert!(harness.hears_nobody());
    }
    nats.start_again();
    let journal = harness.server.sessions().journal().clone();
    let begins = async || match journal.call("c").await {
        Ok(kept) => kept.iter().filter(|entry| matches!(entry.draft.record, Record::Began(_))).count(),
        Err(_) => 1,
    };
    eventually!(begins().await, 0);
    within("the withdrawal", client.withdraw_consent(withdraw("c", None))).await.unwrap();
    call.end().await.summaries(EndReason::ConsentWithdrawn);
    drop(client);
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_before_it_could_delete_names_the_call_and_fails() {
    let Some(mut nats) = Nats::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (log, url) = (dir.path().join("log"), nats.url());
    let variables = [
        ("UNDERTONE_JOURNAL__ENGINE", "jetstream"),
        ("UNDERTONE_JOURNAL__URL", url.as_str()),
        ("UNDERTONE_JOURNAL__NODE", "a"),
    ];
    let (program, grpc, _) = Program::start_logging(&variables, &log);
    let mut call = Call::open(EmotionServiceClient::new(connect(grpc).await)).await;
    call.send(Request::Config(of_leg("withdrawn-too-late", "left"))).await;
    call.speak(&voice(4.0)).await;
    call.event().await;
    nats.kill();
    call.send(Request::Control(pb::Control {
        action: ControlAction::WithdrawConsent.into(),
        leg_id: Some("left".to_owned()),
    }))
    .await;
    call.end().await.summaries(EndReason::ConsentWithdrawn);
    program.signal("-TERM");
    assert_eq!(program.ended().await.code(), Some(1));
    let told = fs::read_to_string(log).unwrap();
    let line = told.lines().find(|line| line.contains("what was to be deleted is still in the journal"));
    let line = line.unwrap_or_else(|| panic!("nothing of it in\n{told}"));
    assert!(line.contains("ERROR") && line.contains("leg \"left\" of call \"withdrawn-too-late\""), "{line}");
}

/// One that died before it had deleted, or wrote what it had heard before it was told.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_left_undone_is_deleted_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { path: Some(dir.path().join("journal.db")), ..Options::default() };
    let journal = open(&options).await;
    let audit = Audit::ConsentWithdrawn {
        call_id: "withdrawn".to_owned(),
        leg_id: None,
        actor: "client".to_owned(),
        reason: "he asked".to_owned(),
        entries: 0,
    };
    let audit = Draft::new(SystemTime::now(), Record::Audit(audit));
    journal.append(vec![audit, timeline("withdrawn"), timeline("another")]).await.unwrap();
    journal.close().await;
    drop(journal);
    let harness = Harness::with(|config| config.journal = options).await;
    eventually!(harness.kept("withdrawn").await, []);
    assert_eq!(harness.kept("another").await.len(), 1);
    harness.stop().await;
}
