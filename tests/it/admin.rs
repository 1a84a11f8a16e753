//! The admin port.

use undertone::server::proto::{AnalyzeConfig, Leg, Role};

use crate::harness::{Harness, customer, leg, voice};

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_alive_and_ready() {
    let harness = Harness::start().await;
    assert_eq!(harness.get("/livez"), (200, "alive\n".to_owned()));
    assert_eq!(harness.get("/readyz"), (200, "ready\n".to_owned()));
    assert_eq!(harness.get("/nothing").0, 404);
    let admin = harness.server.admin();
    harness.stop().await;
    assert!(std::net::TcpStream::connect(admin).is_err(), "the admin port closes with the server");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_what_happens_and_name_no_call() {
    let harness = Harness::start().await;
    let secret = "call-4711-secret";
    let subject = "subject-0815";
    let leg = Leg { leg_id: Some("leg-secret".to_owned()), subject: Some(subject.to_owned()), ..leg(Role::Customer) };
    let call = harness
        .call(AnalyzeConfig { legs: vec![leg], tags: [("queue".into(), "q-secret".into())].into(), ..customer(secret) })
        .await;
    call.speak(&voice(3.0)).await;
    eventually!(harness.metric("undertone_legs_live"), "1");
    eventually!(harness.metric("undertone_audio_received_seconds_total"), "3");
    assert!(call.end().await.status.is_ok());
    eventually!(harness.metric("undertone_calls_ended_total{reason=\"completed\"}"), "1");
    eventually!(harness.metric("undertone_legs_live"), "0");
    let windows: u64 = harness.metric("undertone_windows_total{model=\"tiny\",outcome=\"scored\"}").parse().unwrap();
    assert!(windows >= 3);
    assert_eq!(harness.metric("undertone_processing_latency_seconds_count"), windows.to_string());
    assert_ne!(harness.metric("undertone_not_scored_total{reason=\"TOO_SHORT\"}"), "0");
    let (status, text) = harness.get("/metrics");
    assert_eq!(status, 200);
    for word in [secret, subject, "secret"] {
        assert!(!text.contains(word), "{word} in\n{text}");
    }
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let name = line.split(['{', ' ']).next().unwrap();
        assert!(name.starts_with("undertone_") || name.starts_with("process_"), "{line}");
        let base = name.trim_end_matches("_bucket").trim_end_matches("_sum").trim_end_matches("_count");
        assert!(text.contains(&format!("# HELP {base} ")), "{name} has no help");
    }
    harness.stop().await;
}
