//! Streams that are ended when they are old, and calls that go on by another.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use prost::Message as _;
use serde_json::Value;
use tonic::Code;
use tonic_types::StatusExt as _;
use undertone::server::{
    DRAINING, REASON_DOMAIN, STREAM_AGE,
    proto::{EmotionEvent, EndReason, analyze_request::Message, analyze_response::Message as Response},
};

use crate::harness::{Harness, customer, voice};

async fn server(max_stream_age: Option<Duration>, port: u16) -> Harness {
    Harness::with(|config| {
        config.listen.set_port(port);
        config.session.resume_grace = Duration::from_secs(30);
        config.session.max_stream_age = max_stream_age;
        // In a batch of another size the network rounds its last bit another way.
        config.inference.max_batch = Some(1);
    })
    .await
}

const SECOND: Option<Duration> = Some(Duration::from_secs(1));

/// All of an event but the time it took, and what came of the call meanwhile.
fn bits(event: &EmotionEvent) -> Vec<u8> {
    EmotionEvent { processing_latency: None, received_samples: 0, ..event.clone() }.encode_to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_streams_grow_old_is_the_call_that_had_one() {
    let (whole, aging) = (server(None, 0).await, server(SECOND, 0).await);
    let audio = voice(6.0);
    let call = whole.acknowledged("c").await;
    call.speak(&audio).await;
    let expected = call.end().await;

    let (mut events, mut aged) = (Vec::new(), 0);
    // In the middle of a stride and of a frame; a machine that is slow may be cut elsewhere too.
    let cuts = [17_777, 31_000, audio.len()];
    let closed = loop {
        let mut call = aging.call(customer("c")).await;
        let Some(Ok(Response::Acknowledgement(acknowledgement))) = call.next().await else { panic!("not taken") };
        assert_eq!(acknowledgement.resumption.is_some(), aged > 0);
        let from = acknowledgement.resumption.map_or(0, |at| usize::try_from(at.media_offset_samples).unwrap());
        let to = *cuts.iter().find(|cut| **cut > from).unwrap_or(&audio.len());
        call.speak(&audio[from..to]).await;
        let closed = if to == audio.len() { call.end().await } else { call.closed().await };
        events.extend(closed.events().into_iter().cloned());
        if closed.status.is_ok() {
            break closed;
        }
        assert!(!closed.responses.iter().any(|response| matches!(response, Response::Summary(_))), "{closed:?}");
        let status = closed.refused(Code::Unavailable);
        let info = status.get_details_error_info().expect("a reason");
        assert_eq!((info.domain.as_str(), info.reason.as_str()), (REASON_DOMAIN, STREAM_AGE));
        assert!(status.get_details_retry_info().is_some());
        aged += 1;
    };
    assert!(aged >= 2, "only {aged} streams grew old");
    let bits_of = |events: &[EmotionEvent]| events.iter().map(bits).collect::<Vec<_>>();
    let whole_events: Vec<EmotionEvent> = expected.events().into_iter().cloned().collect();
    assert_eq!(bits_of(&events), bits_of(&whole_events));
    let summary = |closed: &crate::harness::Closed| closed.summaries(EndReason::Completed)[0].encode_to_vec();
    assert_eq!(summary(&closed), summary(&expected));
    assert_eq!(aging.metric("undertone_streams_aged_total"), aged.to_string());
    assert_eq!(aging.metric("undertone_calls_resumed_total"), aged.to_string());
    assert_eq!(aging.metric("undertone_calls_ended_total{reason=\"completed\"}"), "1");
    eventually!(aging.live_legs(), 0);
    whole.stop().await;
    aging.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_server_tells_callers_apart_when_to_come_again() {
    let harness = server(None, 0).await;
    let mut calls = Vec::new();
    for number in 0..8 {
        calls.push(harness.acknowledged(&format!("c{number}")).await);
    }
    let late = harness.silent_call().await;
    harness.server.sessions().draining().cancel();
    late.send(Message::Config(customer("late"))).await;
    calls.push(late);
    let mut waits = Vec::new();
    for call in calls {
        let status = call.closed().await.refused(Code::Unavailable);
        assert_eq!(status.get_details_error_info().expect("a reason").reason, DRAINING);
        waits.push(status.get_details_retry_info().and_then(|info| info.retry_delay).expect("a wait"));
    }
    waits.sort();
    assert!(waits.windows(2).any(|pair| pair[0] < pair[1]), "{waits:?}");
    assert!(waits[0] >= Duration::from_secs(1) && waits[8] <= Duration::from_secs(3), "{waits:?}");
    harness.stop().await;
}

fn undertone(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_undertone"));
    command.args(args).stdin(Stdio::null()).env_remove("RUST_LOG");
    command
}

/// Plays the demo's call, of nearly a minute, 20 times as fast, to its end.
async fn played(server: SocketAddr, call_id: &'static str) -> Output {
    let url = format!("http://{server}");
    let recording: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/demo/call.wav");
    let played = tokio::task::spawn_blocking(move || {
        let mut command = undertone(&["call", "--to", &url, "--speed", "20", "--json", "--call-id", call_id]);
        command.arg(recording).output().unwrap()
    });
    played.await.unwrap()
}

/// The responses, without what differs from call to call.
fn told(output: &Output) -> Vec<Value> {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    let mut lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.retain(|line| line.get("status").is_none() && line.get("alert").is_none());
    for line in &mut lines {
        if let Some(event) = line.get_mut("event").and_then(Value::as_object_mut) {
            event.retain(|name, _| !["processingLatency", "receivedSamples"].contains(&name.as_str()));
        }
        if let Some(acknowledgement) = line.get_mut("acknowledgement").and_then(Value::as_object_mut) {
            acknowledgement.remove("sessionId");
        }
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn undertone_call_goes_on_by_itself_and_prints_nothing_twice() {
    let (whole, aging) = (server(None, 0).await, server(SECOND, 0).await);
    let (whole_call, aging_call) =
        tokio::join!(played(whole.server.grpc(), "whole"), played(aging.server.grpc(), "aging"));
    assert_eq!(told(&aging_call), told(&whole_call));
    let streams: u32 = aging.metric("undertone_streams_aged_total").parse().unwrap();
    assert!(streams >= 2, "only {streams} streams grew old");
    let progress = String::from_utf8_lossy(&aging_call.stderr).into_owned();
    assert_eq!(progress.matches("goes on").count(), streams as usize, "{progress}");
    whole.stop().await;
    aging.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn undertone_call_outlives_a_restart_and_leaves_nothing_out() {
    let first = server(None, 0).await;
    let address = first.server.grpc();
    let call = tokio::spawn(played(address, "restarted"));
    eventually!(first.metric("undertone_audio_received_seconds_total").parse::<u32>().unwrap() > 10, true);
    first.stop().await;
    let second = server(None, address.port()).await;
    let told = told(&call.await.unwrap());
    let of = |name: &str| told.iter().filter_map(|line| line.get(name)).cloned().collect::<Vec<_>>();
    assert_eq!(of("acknowledgement").len(), 2);
    let reasons: Vec<Value> = of("summary").iter().map(|summary| summary["endReason"].clone()).collect();
    assert_eq!(reasons, ["END_REASON_DRAINING", "END_REASON_COMPLETED"]);
    let received: i64 = of("summary").iter().map(|summary| number(&summary["receivedSamples"])).sum();
    let ends: Vec<i64> = of("event").iter().map(|event| number(&event["endSamples"])).collect();
    assert!(ends.is_sorted_by(|a, b| a < b), "a stretch was decided on twice: {ends:?}");
    let whole = undertone::audio::file::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/demo/call.wav"));
    let whole = i64::try_from(whole.unwrap().channels[0].len()).unwrap();
    assert_eq!(received, whole, "every sample came once");
    assert!(whole - ends.last().unwrap() < 4000, "the last stride is missing: {ends:?} of {whole}");
    second.stop().await;
}

/// 64-bit numbers are strings in proto3's JSON.
fn number(value: &Value) -> i64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no number"))
}
