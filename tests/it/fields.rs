//! Every field of a configuration and of a recording that has a range, one step outside it.

use std::time::{Duration as StdDuration, SystemTime};

use prost_types::{Duration, Timestamp};
use tonic::Code;
use tonic_types::StatusExt as _;
use undertone::server::proto::{
    AnalyzeConfig, ClassifyRequest, Consent, Encoding, Leg, Notice, Role, analyze_request::Message,
};

use crate::harness::{Harness, customer, leg, notice, telephone};

/// 2000-01-01, before which nobody in a call was told of this.
const FIRST_SECONDS: i64 = 946_684_800;

/// Farther ahead than any clock that is set, however long the calls before take.
const HOUR_SECONDS: u64 = 3600;

/// So many seconds from now.
fn ahead(seconds: u64) -> Timestamp {
    (SystemTime::now() + StdDuration::from_secs(seconds)).into()
}

fn changed(change: impl FnOnce(&mut AnalyzeConfig)) -> AnalyzeConfig {
    let mut config = customer("c");
    change(&mut config);
    config
}

fn configs() -> Vec<(AnalyzeConfig, &'static str)> {
    let time = Some(Timestamp { seconds: 1_700_000_000, nanos: 0 });
    let with_rate = |rate| changed(|config| config.audio.as_mut().unwrap().sample_rate_hertz = rate);
    let with_stride = |seconds, nanos| changed(|config| config.stride = Some(Duration { seconds, nanos }));
    let with_notice =
        |given_at| changed(|config| config.notice = Some(Notice { given_at: Some(given_at), ..notice() }));
    let with_leg = |leg| changed(|config| config.legs = vec![leg]);
    let stereo = |legs| {
        changed(|config| {
            config.audio.as_mut().unwrap().channels = Some(2);
            config.legs = legs;
        })
    };
    let named = |leg_id: &str| Leg { leg_id: Some(leg_id.to_owned()), ..leg(Role::Customer) };
    vec![
        (changed(|config| config.call_id.clear()), "config.call_id"),
        (changed(|config| config.call_id = "x".repeat(129)), "config.call_id"),
        (changed(|config| config.call_id = "+49 30".to_owned()), "config.call_id"),
        (changed(|config| config.audio = None), "config.audio"),
        (changed(|config| config.audio.as_mut().unwrap().encoding = 0), "config.audio.encoding"),
        (with_rate(7_999), "config.audio.sample_rate_hertz"),
        (with_rate(48_001), "config.audio.sample_rate_hertz"),
        (with_rate(-8_000), "config.audio.sample_rate_hertz"),
        (changed(|config| config.audio.as_mut().unwrap().channels = Some(0)), "config.audio.channels"),
        (changed(|config| config.audio.as_mut().unwrap().channels = Some(3)), "config.audio.channels"),
        (changed(|config| config.legs.clear()), "config.legs"),
        (stereo(vec![leg(Role::Customer); 3]), "config.legs"),
        (stereo(vec![leg(Role::Customer); 2]), "config.legs[1].leg_id"),
        (with_leg(named("")), "config.legs[0].leg_id"),
        (with_leg(named(&"x".repeat(65))), "config.legs[0].leg_id"),
        (with_leg(named("ü")), "config.legs[0].leg_id"),
        (with_leg(Leg { role: 99, ..leg(Role::Customer) }), "config.legs[0].role"),
        (with_leg(Leg { subject: Some("s".repeat(129)), ..leg(Role::Customer) }), "config.legs[0].subject"),
        (with_leg(Leg { subject: Some("s".to_owned()), ..leg(Role::Agent) }), "config.legs[0].subject"),
        (with_leg(Leg { subject: Some("s".to_owned()), ..leg(Role::Unspecified) }), "config.legs[0].subject"),
        (changed(|config| config.tags = (0..17).map(|n| (n.to_string(), String::new())).collect()), "config.tags"),
        (changed(|config| config.tags = [(String::new(), String::new())].into()), "config.tags, a key"),
        (changed(|config| config.tags = [("k".repeat(65), String::new())].into()), "config.tags, a key"),
        (changed(|config| config.tags = [("+49 30 1234567".to_owned(), String::new())].into()), "config.tags, a key"),
        (changed(|config| config.language = Some("l".repeat(36))), "config.language"),
        (changed(|config| config.language = Some("+491701234567".to_owned())), "config.language"),
        (changed(|config| config.tags = [("k".to_owned(), "v".repeat(257))].into()), "config.tags, a value"),
        (changed(|config| config.notice = Some(Notice { given_at: None, ..notice() })), "config.notice.given_at"),
        (changed(|config| config.notice = Some(Notice { method: String::new(), ..notice() })), "config.notice.method"),
        (changed(|config| config.notice = Some(Notice { method: "m".repeat(65), ..notice() })), "config.notice.method"),
        (with_notice(ahead(HOUR_SECONDS)), "config.notice.given_at"),
        (with_notice(Timestamp { seconds: FIRST_SECONDS - 1, nanos: 999_999_999 }), "config.notice.given_at"),
        (with_notice(Timestamp { seconds: -62_135_596_800, nanos: 0 }), "config.notice.given_at"),
        (
            changed(|config| config.notice = Some(Notice { method: "+49 170 1234567".to_owned(), ..notice() })),
            "config.notice.method",
        ),
        (changed(|config| config.consent = Some(Consent { status: 0, recorded_at: time })), "config.consent.status"),
        (
            changed(|config| {
                config.consent = Some(Consent { status: 1, recorded_at: Some(Timestamp { seconds: 0, nanos: -1 }) });
            }),
            "config.consent.recorded_at",
        ),
        (
            changed(|config| config.consent = Some(Consent { status: 1, recorded_at: Some(ahead(HOUR_SECONDS)) })),
            "config.consent.recorded_at",
        ),
        (with_stride(0, 249_999_999), "config.stride"),
        (with_stride(5, 1), "config.stride"),
        (with_stride(-1, 0), "config.stride"),
        (with_stride(1, -1), "config.stride"),
        (with_stride(0, 1_000_000_000), "config.stride"),
    ]
}

fn recordings() -> Vec<(ClassifyRequest, &'static str)> {
    let good = ClassifyRequest {
        audio: Some(telephone()),
        data: vec![0xff; 8000].into(),
        role: Role::Customer.into(),
        notice: Some(notice()),
        ..ClassifyRequest::default()
    };
    let linear = |rate| {
        let mut audio = telephone();
        (audio.encoding, audio.sample_rate_hertz) = (Encoding::Linear16.into(), rate);
        Some(audio)
    };
    let mut stereo = telephone();
    stereo.channels = Some(2);
    vec![
        (ClassifyRequest { audio: None, ..good.clone() }, "audio"),
        (ClassifyRequest { audio: Some(stereo), ..good.clone() }, "audio.channels"),
        (ClassifyRequest { data: vec![0xff; 60 * 8000 + 1].into(), ..good.clone() }, "data"),
        (ClassifyRequest { audio: linear(48_000), data: vec![0; 4 * 1024 * 1024 + 1].into(), ..good.clone() }, "data"),
        (ClassifyRequest { role: 99, ..good.clone() }, "role"),
        (ClassifyRequest { notice: Some(Notice::default()), ..good.clone() }, "notice.given_at"),
        (ClassifyRequest { consent: Some(Consent::default()), ..good }, "consent.status"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn one_step_outside_its_range_every_field_is_refused_by_name() {
    let harness = Harness::start().await;
    let mut refusals = 0;
    for (config, field) in configs() {
        let shown = format!("{config:?}");
        let call = harness.silent_call().await;
        call.send(Message::Config(config)).await;
        let closed = call.closed().await;
        assert!(closed.responses.is_empty(), "{field}: {shown}");
        let status = closed.refused(Code::InvalidArgument);
        let details = status.get_details_bad_request().unwrap_or_else(|| panic!("{field}: {status:?}"));
        assert_eq!(details.field_violations[0].field, field, "{shown}");
        refusals += 1;
    }
    for (recording, field) in recordings() {
        let status = harness.client.clone().classify(recording).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{field}: {status:?}");
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, field);
        refusals += 1;
    }
    assert_eq!(harness.metric("undertone_calls_refused_total{reason=\"invalid\"}"), refusals.to_string());
    harness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_edges_of_its_ranges_a_configuration_is_taken() {
    let harness = Harness::start().await;
    let edges = [
        changed(|config| {
            config.call_id = "x".repeat(128);
            config.audio.as_mut().unwrap().sample_rate_hertz = 48_000;
            config.tags = (0..16).map(|n| (format!("{n:0>64}"), "v".repeat(256))).collect();
            config.stride = Some(Duration { seconds: 5, nanos: 0 });
        }),
        changed(|config| {
            config.stride = Some(Duration { seconds: 0, nanos: 250_000_000 });
            config.legs[0].leg_id = Some("A.b_c:d@e-9".repeat(5));
            config.legs[0].subject = Some("s".repeat(128));
            config.language = Some("en-GB".to_owned());
            config.consent = Some(Consent { status: 1, recorded_at: None });
        }),
        changed(|config| {
            // A clock that goes ahead, and a recording that is old.
            config.notice = Some(Notice { given_at: Some(ahead(290)), ..notice() });
            config.consent =
                Some(Consent { status: 1, recorded_at: Some(Timestamp { seconds: FIRST_SECONDS, nanos: 0 }) });
        }),
    ];
    for config in edges {
        let closed = harness.call(config).await.end().await;
        assert!(closed.status.is_ok(), "{closed:?}");
        assert_eq!(closed.responses.len(), 2, "{closed:?}");
    }
    harness.stop().await;
}
