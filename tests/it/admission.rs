//! Calls are taken by what they need.

use std::fs;

use tonic::Code;
use tonic_types::StatusExt as _;
use undertone::{
    config::{Flags, Source},
    server::{
        Server, Trigger,
        proto::{AnalyzeConfig, analyze_response::Message as Response},
    },
    session::calibrate::WINDOWS_PER_CORE,
};

use crate::harness::{Call, Harness, config, customer, tiny};

fn with_stride(call_id: &str, millis: i32) -> AnalyzeConfig {
    let stride = prost_types::Duration { seconds: (millis / 1000).into(), nanos: millis % 1000 * 1_000_000 };
    AnalyzeConfig { stride: Some(stride), ..customer(call_id) }
}

async fn admitted(harness: &Harness, config: AnalyzeConfig) -> Call {
    let mut call = harness.call(config).await;
    let first = call.next().await;
    assert!(matches!(first, Some(Ok(Response::Acknowledgement(_)))), "{first:?}");
    call
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_with_a_short_stride_needs_more_room() {
    let harness = Harness::with(|config| config.session.max_windows_per_second = Some(5)).await;
    assert_eq!(harness.metric("undertone_load_limit_windows_per_second"), "5");
    let two = admitted(&harness, with_stride("two", 500)).await;
    assert_eq!(harness.metric("undertone_load_windows_per_second"), "2");

    let status = harness.call(with_stride("four", 250)).await.closed().await.refused(Code::ResourceExhausted);
    assert!(status.get_details_retry_info().is_some(), "{status:?}");
    assert!(status.message().contains("5 windows a second"), "{status:?}");
    eventually!(harness.metric("undertone_calls_refused_total{reason=\"full\"}"), "1");

    let one = admitted(&harness, with_stride("one", 1000)).await;
    let other_two = admitted(&harness, with_stride("other-two", 500)).await;
    harness.call(with_stride("a-fifth", 5000)).await.closed().await.refused(Code::ResourceExhausted);
    for call in [two, other_two, one] {
        assert!(call.end().await.status.is_ok());
    }
    eventually!(harness.metric("undertone_load_windows_per_second"), "0");
    assert!(admitted(&harness, with_stride("four", 250)).await.end().await.status.is_ok());
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_begin_together_are_told_where_they_decide() {
    let harness = Harness::start().await;
    let mut calls = Vec::new();
    let mut put_off = 0;
    // More than decide together in any one of a stride's slots, however slowly they are opened.
    for number in 0..600 {
        let mut call = harness.call(customer(&format!("c{number}"))).await;
        let Some(Ok(Response::Acknowledgement(told))) = call.next().await else { panic!("not acknowledged") };
        if let Some(first) = told.first_decision_samples {
            assert!((1..4000).contains(&first), "{first} samples is no less than a stride");
            put_off += 1;
        }
        calls.push(call);
    }
    assert!(put_off > 0, "600 calls in 50 slots of 8 cannot all decide where they began");
    harness.stop().await;
}

/// The limit, as it is told.
fn limit(harness: &Harness) -> f64 {
    harness.metric("undertone_load_limit_windows_per_second").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_limit_measures_what_it_can_carry() {
    let harness = Harness::with(|config| config.session.max_windows_per_second = None).await;
    let limit = limit(&harness);
    let cores = std::thread::available_parallelism().unwrap().get() as f64;
    // A window takes 150 µs of messages a second at the least, and no build of this network takes 10 s for one.
    assert!(limit > 0.1 && limit < cores * 0.75 / 75e-6, "{limit} windows a second");
    assert_eq!(Some(limit), harness.server.sessions().engines().measured());
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_told_to_measures_in_spite_of_a_limit() {
    let harness = Harness::with(|config| {
        config.session.calibrate = true;
        config.session.max_windows_per_second = Some(u32::MAX);
    })
    .await;
    assert_eq!(Some(limit(&harness)), harness.server.sessions().engines().measured());
    assert!(limit(&harness) < f64::from(u32::MAX));
    harness.stop().await;
}

/// A server whose file says this, and what a reload says of another.
async fn reloaded(first: &str, second: &str) -> (Harness, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("undertone.toml");
    fs::write(&file, first).unwrap();
    let of_test = config();
    let flags = Flags { listen: Some(of_test.listen), admin: Some(of_test.admin), ..Flags::default() };
    let source = Source::new(Some(file.clone()), flags, vec![tiny()]);
    let harness = Harness::of(Server::launch_from(&source.read().unwrap(), source).await.unwrap()).await;
    fs::write(&file, second).unwrap();
    let told = harness.server.reload(Trigger::Admin).await.unwrap();
    (harness, told.warnings)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_says_what_its_limit_rests_on() {
    let with = |limit: u32| format!("[session]\nmax_windows_per_second = {limit}\n");
    let (harness, warnings) = reloaded(&with(9), &with(8)).await;
    assert_eq!((limit(&harness), warnings), (8.0, vec![]));
    harness.stop().await;

    let (harness, warnings) = reloaded(&with(9), "").await;
    assert!(warnings.len() == 1 && warnings[0].contains("not measured"), "{warnings:?}");
    let cores = std::thread::available_parallelism().unwrap().get() as f64;
    assert_eq!(limit(&harness), cores * WINDOWS_PER_CORE);
    harness.stop().await;

    let (harness, warnings) = reloaded("", &with(8)).await;
    assert_eq!((limit(&harness), warnings), (8.0, vec![]));
    harness.stop().await;

    let calibrate = "calibrate = true\n";
    let (harness, warnings) = reloaded(&(with(9) + calibrate), &(with(8) + calibrate)).await;
    assert!(warnings.len() == 1 && warnings[0].contains("no effect"), "{warnings:?}");
    assert_eq!(Some(limit(&harness)), harness.server.sessions().engines().measured());
    harness.stop().await;
}
