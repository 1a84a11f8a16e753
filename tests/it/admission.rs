//! Calls are taken by what they need.

use tonic::Code;
use tonic_types::StatusExt as _;
use undertone::server::proto::{AnalyzeConfig, analyze_response::Message as Response};

use crate::harness::{Call, Harness, customer};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_measured_itself_takes_calls_by_that() {
    let harness = Harness::with(|config| config.session.calibrate = true).await;
    let limit: f64 = harness.metric("undertone_load_limit_windows_per_second").parse().unwrap();
    assert!(limit > 2.0 && limit.is_finite(), "{limit} windows a second");
    assert!(admitted(&harness, customer("c")).await.end().await.status.is_ok());
    harness.stop().await;
}
